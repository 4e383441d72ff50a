"""The memory of a training step of any torch model, by playing one: forward, backward, and what the optimiser holds.

The step runs with torch's own autograd on fake tensors, which have shapes and no numbers, as a CPU would run it; a model
that looks at numbers runs really. It is the second step, in which the optimiser has its state; gradients are dropped
after a step. The loss is the cross entropy of each output, in which positions count as classes; a single number is the
loss itself. Modules are in training, unless the model itself is and holds some in evaluation, which are left there.

What the optimiser takes is not played but known: its state, and one parameter's temporaries at a time (`foreach=False`).
Left out: what a kernel allocates for itself, and what an allocator rounds up.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from analysis.torch_model.lending import lent, stand_ins_for, weight_places
from analysis.torch_model.recorder import tensors_in
from analysis.torch_model.run import NUMBER_TYPES, Input, as_weight, make_input, reason, stand_in, undisturbed
from analysis.torch_model.storages import LiveStorages
from analysis.training_memory import OPTIMIZERS, TrainingMemory, optimizer_scratch
from search_spaces.errors import UserError


class Untrainable(UserError):
    """The model runs, but a training step of it does not."""


class PlayedStep(NamedTuple):
    """What a step holds, in bytes, but for the optimiser's share."""

    weight_bytes: int
    saved_bytes: int
    peak_bytes: int
    end_bytes: int
    """What is left when the optimiser begins: weights, gradients, inputs and labels."""
    gradients: tuple[Tensor, ...]
    """One for each trained parameter, without numbers."""

    def with_optimizer(self, optimizer: str) -> TrainingMemory:
        """The memory of the step under an optimiser."""
        gradient_bytes = sum(gradient.nbytes for gradient in self.gradients)
        state_bytes = OPTIMIZERS[optimizer] * gradient_bytes
        scratch_bytes = optimizer_scratch(optimizer, [gradient.nbytes for gradient in self.gradients])
        return TrainingMemory(
            peak_bytes=state_bytes + max(self.peak_bytes, self.end_bytes + scratch_bytes),
            weight_bytes=self.weight_bytes,
            gradient_bytes=gradient_bytes,
            optimizer_bytes=state_bytes,
            saved_bytes=self.saved_bytes,
        )


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the storages that operations make."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.storages: LiveStorages[bool] = LiveStorages()

    def count(self, tensors: Any) -> None:
        """Counts the storages of these tensors, unless they are counted."""
        for tensor in tensors_in(tensors):
            memory = tensor.untyped_storage()
            if self.storages.find(memory) is None:
                self.storages.add(memory, True)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.count(result)
        return result


def play_step(
    network: nn.Module, inputs: Sequence[Input], *, batch: int, dtype: str, mixed_precision: bool, is_real: bool
) -> PlayedStep:
    """One training step; `is_real` if the model needs numbers to run.

    Raises:
        Untrainable: it fails; the line has the reason.
    """
    number_type = NUMBER_TYPES[dtype]
    manner: AbstractContextManager[object] = nullcontext() if is_real else _without_numbers()
    try:
        with undisturbed(), manner:
            return _play(network, inputs, batch, number_type, mixed_precision, is_real=is_real)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a user's model may raise anything
        if is_real or any(place.tensor.is_meta for place in weight_places(network)):
            line = f"a training step of {type(network).__name__} fails: {reason(error)}"
            raise Untrainable(f"{line}; its memory in inference is known all the same") from None
    return play_step(network, inputs, batch=batch, dtype=dtype, mixed_precision=mixed_precision, is_real=True)


@contextmanager
def _without_numbers() -> Iterator[None]:
    """Tensors made within are fake; oneDNN, whose recurrent layers keep what no fake tensor shows, is left out."""
    enabled = torch._C._get_mkldnn_enabled()
    torch._C._set_mkldnn_enabled(False)
    try:
        with FakeTensorMode(allow_non_fake_inputs=True):
            yield
    finally:
        torch._C._set_mkldnn_enabled(enabled)


def _play(
    network: nn.Module,
    inputs: Sequence[Input],
    batch: int,
    number_type: torch.dtype,
    mixed_precision: bool,
    *,
    is_real: bool,
) -> PlayedStep:
    def make(tensor: Tensor, is_parameter: bool) -> Tensor:
        if is_real:
            return stand_in(tensor, is_parameter, "cpu", number_type)
        own_type = number_type if tensor.is_floating_point() else tensor.dtype
        made = torch.empty_strided(tensor.shape, tensor.stride(), dtype=own_type, device="cpu")
        return as_weight(made, tensor, is_parameter)

    stand_ins = stand_ins_for(network, make)
    given = [make_input(spec, batch, number_type, "cpu") for spec in inputs]
    labels = torch.zeros(batch, dtype=torch.int64)
    watch = _Watch()
    watch.count(list(stand_ins.values()))
    weight_bytes = watch.storages.live_bytes
    watch.count([*given, labels])
    given_bytes = watch.storages.live_bytes
    training = None if network.training else True
    with lent(network, stand_ins, training=training), watch:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=mixed_precision):
            loss = _loss(network(*given), labels)
        saved_bytes = watch.storages.live_bytes - given_bytes
        if loss is not None:
            saved_bytes -= loss.untyped_storage().nbytes()
            loss.backward()  # type: ignore[no-untyped-call]
            del loss
    gradients = [tensor.grad for tensor in dict.fromkeys(stand_ins.values()) if tensor.grad is not None]
    return PlayedStep(
        weight_bytes=weight_bytes,
        saved_bytes=saved_bytes,
        peak_bytes=watch.storages.peak_bytes,
        end_bytes=watch.storages.live_bytes,
        gradients=tuple(torch.empty_like(gradient, device="meta") for gradient in gradients),
    )


def _loss(outputs: Any, labels: Tensor) -> Tensor | None:
    """The sum of the losses of all outputs that have a gradient; None if none has."""
    losses = []
    for output in tensors_in(outputs):
        if not output.requires_grad or not output.is_floating_point():
            continue
        if output.dim() == 0:
            losses.append(output)
        else:
            count = output.shape[0]
            own = labels if count == len(labels) else torch.zeros(count, dtype=torch.int64)
            losses.append(functional.cross_entropy(output.flatten(1) if output.dim() > 1 else output[:, None], own))
    if not losses:
        return None
    return losses[0] if len(losses) == 1 else torch.stack([loss.float() for loss in losses]).sum()
