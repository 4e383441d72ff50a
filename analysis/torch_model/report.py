"""The report on any torch model, from one run of it in which nothing is computed."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from torch import nn

from analysis.cost import FLOPS_PER_MAC
from analysis.layer import Layer, field_to_dict, last_map_of, receptive_fraction
from analysis.receptive_field import Field
from analysis.torch_model.layers import activation_bytes, module_layers, rows_of
from analysis.torch_model.macs import LOOK_UPS, macs_of
from analysis.torch_model.receptive_field import Following, follow
from analysis.torch_model.run import Input, run_to_tape
from analysis.torch_model.sight import field_of
from analysis.torch_model.tape import Tape
from analysis.torch_model.training import PlayedStep, Untrainable, play_step
from analysis.training_memory import TrainingMemory, check_training
from search_spaces.errors import UserError
from search_spaces.ops import Shape


class Uncounted(NamedTuple):
    """An operation of which it is not known what it takes, and how often it ran."""

    operation: str
    times: int


class Read(NamedTuple):
    """What was read from a tape: the MACs of each operation, and what each value sees."""

    tape: Tape
    macs: tuple[int, ...]
    following: Following


@dataclass(frozen=True)
class ModuleReport:
    """What a torch model costs and sees, for `batch` inputs at once whose real numbers are of the type `dtype`.

    Figures are those of `Report`, for the model in evaluation mode; what differs, or is told besides:

    - `inputs`: the shapes without batch, with the number types of those that are not of the type `dtype`.
    - `uncounted`: the operations whose MACs are not known; the model takes at least `macs`. It should be empty.
    - `params`: also of modules that the run did not call. Tied and shared ones are counted once, their MACs each time.
    - `activation_bytes`: the outputs of all layers (see `layers`).
    - `peak_inference_bytes`: weights, inputs, and the most that lived at one time; `scaled_dot_product_attention` is
      one operation, as it is on a CPU or a GPU, and the fused path of `nn.TransformerEncoderLayer` is not taken.
    - `depth`: the most convolutions, linear layers and matrix products on a path from an input to the first output:
      both products of an attention, each step of a recurrent layer. None if the output cannot be followed to an input.
    - `receptive_field`: on the first input, whose axes are taken as channels, then positions; a vector of whole numbers
      has positions. None if nothing of it arrives, or by ways that cannot be followed, as through numpy.
    - `without_rule`: the operations of which it is not known how they mix positions; all is taken to arrive everywhere.
    - `traced_on`: `meta`, or `cpu` if the model's way depends on numbers: then figures are those of one random input.
    """

    network: nn.Module = field(repr=False)
    inputs: tuple[Input, ...]
    batch: int
    dtype: str
    params: int
    macs: int
    activation_bytes: int
    weight_bytes: int
    peak_inference_bytes: int
    depth: int | None
    receptive_field: Field | None
    uncounted: tuple[Uncounted, ...]
    without_rule: tuple[str, ...]
    traced_on: str
    _read: Read = field(repr=False, compare=False)
    _played: dict[bool, PlayedStep] = field(default_factory=dict, repr=False, compare=False)

    @property
    def flops(self) -> int:
        """Floating point operations: two for each MAC."""
        return FLOPS_PER_MAC * self.macs

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """One row for each call of a leaf module, and for each operation that another module calls itself."""
        tape, macs, following = self._read
        return module_layers(tape, macs, batch=self.batch, sights=following.sights)

    @property
    def unproductive(self) -> tuple[str, ...]:
        """The names of the layers whose windows can bring in nothing new (see `Layer`); the first is the border layer."""
        return tuple(layer.name for layer in self.layers if layer.unproductive)

    @property
    def peak_training_bytes(self) -> int:
        """The most memory of a training step under SGD with momentum; worked out when asked for."""
        return self.training_memory().peak_bytes

    def training_memory(self, *, optimizer: str = "momentum", mixed_precision: bool = False) -> TrainingMemory:
        """The memory of a training step (see `training`).

        Raises:
            UserError: there is no such optimiser, or precision is mixed with other than float32.
            Untrainable: a training step of the model fails.
        """
        check_training(optimizer, self.dtype, mixed_precision=mixed_precision)
        if mixed_precision not in self._played:
            self._played[mixed_precision] = play_step(
                self.network,
                self.inputs,
                batch=self.batch,
                dtype=self.dtype,
                mixed_precision=mixed_precision,
                is_real=self.traced_on == "cpu",
            )
        return self._played[mixed_precision].with_optimizer(optimizer)

    def operation_costs(self) -> Iterator[tuple[int, int]]:
        """The MACs of each operation that is not a view, and the bytes that it reads and gives at least.

        A weight is read once, however often a recurrent layer needs it; of a table no more than what is looked up.
        """
        tape = self._read.tape
        weights = {id(weight.storage) for weight in tape.weights}
        read: set[int] = set()
        for operation, macs in zip(tape.operations, self._read.macs, strict=True):
            if operation.kind.is_view:
                continue
            made_bytes = sum(value.size_bytes for value in operation.outputs)
            read_bytes = 0
            for value in operation.values():
                storage = id(value.storage)
                if storage in read:
                    continue
                if storage in weights:
                    read.add(storage)
                looks_up = operation.kind.name in LOOK_UPS
                read_bytes += min(value.size_bytes, made_bytes) if looks_up else value.size_bytes
            yield macs, read_bytes + made_bytes

    def figures(self) -> dict[str, int | None]:
        """`FIGURES` by name; `receptive_field` is its size along the largest axis, 0 if nothing is seen."""
        sizes = [window.size for window in self.receptive_field or ()]
        return {
            "params": self.params,
            "macs": self.macs,
            "flops": self.flops,
            "activation_bytes": self.activation_bytes,
            "weight_bytes": self.weight_bytes,
            "peak_inference_bytes": self.peak_inference_bytes,
            "depth": self.depth,
            "receptive_field": max(sizes, default=0),
        }

    def to_dict(self) -> dict[str, Any]:
        """The report under its JSON names, layers included; what is not known of a torch model is null."""
        shape = self.inputs[0].shape if self.inputs else ()
        last_map = last_map_of(self.layers)
        try:
            peak_training_bytes: int | None = self.peak_training_bytes
        except Untrainable:
            peak_training_bytes = None
        return {
            "inputs": [{"shape": list(each.shape), "dtype": each.dtype or self.dtype} for each in self.inputs],
            "batch": self.batch,
            "dtype": self.dtype,
            **self.figures(),
            # fvcore counts by the names of modules' operations, which a run does not tell.
            "fvcore_flops": None,
            "peak_training_bytes": peak_training_bytes,
            "receptive_field": field_to_dict(self.receptive_field, receptive_fraction(self.receptive_field, shape)),
            "last_map": None if last_map is None else last_map.name,
            "uncounted": [each._asdict() for each in self.uncounted],
            "without_rule": list(self.without_rule),
            "traced_on": self.traced_on,
            "unproductive": list(self.unproductive),
            "layers": [layer.to_dict() for layer in self.layers],
        }


def analyze_module(
    network: nn.Module,
    shapes: Sequence[Shape],
    *,
    input_dtypes: Sequence[str | None] = (),
    batch: int = 1,
    dtype: str = "float32",
) -> ModuleReport:
    """The report on a torch model; the model is afterwards as it was.

    `shapes` are those of its inputs, by position and without batch. `input_dtypes` names the number types of those that
    are not of the type `dtype`; an input that an embedding reads is taken for whole numbers without.

    Raises:
        UserError: a number type is unknown, or the model fails on such inputs.
    """
    given: object = network
    if not isinstance(given, nn.Module):
        remedy = f"give a model, like {given.__name__}()" if isinstance(given, type) else "give one"
        raise UserError(f"a torch model is an nn.Module, this is of the type {type(given).__name__!r}; {remedy}")
    types = [*input_dtypes, *[None] * (len(shapes) - len(input_dtypes))]
    if len(types) != len(shapes):
        raise UserError(f"{len(types)} number types for {len(shapes)} inputs; give one for each")
    inputs = [Input(shape, name if name != dtype else None) for shape, name in zip(shapes, types, strict=True)]
    ran, known_inputs, tape = run_to_tape(network, inputs, batch=batch, dtype=dtype)
    counts = [macs_of(operation) for operation in tape.operations]
    macs = tuple([count or 0 for count in counts])
    following = follow(tape)
    first = tape.outputs[0] if tape.outputs else None
    return ModuleReport(
        ran,
        known_inputs,
        batch,
        dtype,
        params=sum(weight.elements for weight in tape.weights if weight.is_parameter),
        macs=sum(macs),
        activation_bytes=sum(map(activation_bytes, rows_of(tape))),
        # Weights may be different views of the same memory.
        weight_bytes=sum(storage.size_bytes for storage in {id(w.storage): w.storage for w in tape.weights}.values()),
        peak_inference_bytes=tape.peak_bytes,
        depth=None if first is None else _depths(tape, macs)[first.number],
        receptive_field=None if first is None else field_of(following.sights[first.number]),
        uncounted=_uncounted(tape, counts),
        without_rule=following.without_rule,
        traced_on=tape.device,
        _read=Read(tape, macs, following),
    )


def _depths(tape: Tape, macs: Sequence[int]) -> list[int | None]:
    """Through how many operations that multiply each value depends on an input; None if it does not."""
    depths: list[int | None] = [None] * tape.values
    for value in tape.inputs:
        depths[value.number] = 0
    for operation, count in zip(tape.operations, macs, strict=True):
        before = [depth for value in operation.values() if (depth := depths[value.number]) is not None]
        if before:
            depth = max(before) + (1 if count else 0)
            for value in operation.outputs:
                depths[value.number] = depth
    return depths


def _uncounted(tape: Tape, counts: Sequence[int | None]) -> tuple[Uncounted, ...]:
    """Named by what the model called, once for each call, however many operations that is composed of."""
    names: dict[tuple[int, str], str] = {}
    for operation, count in zip(tape.operations, counts, strict=True):
        if count is None:
            call = tape.calls[operation.call]
            name = operation.kind.name if call.is_module else call.label
            names[operation.call, name] = name
    return tuple(Uncounted(name, times) for name, times in Counter(names.values()).items())
