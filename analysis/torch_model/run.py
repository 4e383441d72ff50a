"""From a torch model and the shapes of its inputs to the tape of one run in inference.

The run is on meta tensors; where these refuse, because the model looks at numbers or calls what has no shape rule, it
is a real run on the CPU with random inputs. Weights are not copied then either, unless they lie on another device or
get another number type; buffers are, since a run may write to them.
"""

import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from analysis.torch_model.lending import initialised, is_uninitialised, lent, stand_ins_for, weight_places
from analysis.torch_model.recorder import FloatIndices, Recorder
from analysis.torch_model.tape import Tape, Weight
from search_spaces.errors import UserError, unknown_name
from search_spaces.ops import Shape

NUMBER_TYPES: dict[str, torch.dtype] = {
    name: getattr(torch, name)
    for name in ("bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64")
}
"""What an input may be made of."""


class Input(NamedTuple):
    """One input of a model: its shape without batch, and the name of its number type if that is not the network's."""

    shape: Shape
    dtype: str | None = None

    def __str__(self) -> str:
        return "x".join(map(str, self.shape)) + (f":{self.dtype}" if self.dtype else "") or "scalar"


class Ran(NamedTuple):
    """A run: the network, which is a copy if its weights had no shapes, the inputs as it took them, and the tape."""

    network: nn.Module
    inputs: tuple[Input, ...]
    tape: Tape


_Guard = Callable[[], AbstractContextManager[object]]
_ATTEMPTS: tuple[tuple[str, _Guard], ...] = (
    ("meta", torch.inference_mode),
    ("cpu", torch.inference_mode),
    # Some models differentiate in their forward pass.
    ("cpu", torch.no_grad),
)
_NOT_OF_THE_MODEL = (str(Path(torch.__file__).parent), str(Path(__file__).parent), "<")
"""Where the code lies that a run goes through besides the model's own."""
_REFUSALS = ("meta", "data-dependent", "data dependent", "inference tensor", "does not require grad")
"""What is in torch's messages where it is not the model that fails, but the manner of the run."""


class _Failed(Exception):
    """A run that ended with an error."""

    def __init__(self, where: str, error: BaseException) -> None:
        super().__init__(where)
        self.where, self.error = where, error

    @property
    def is_refusal(self) -> bool:
        text = str(self.error).lower()
        return isinstance(self.error, NotImplementedError) or any(word in text for word in _REFUSALS)


def run_to_tape(network: nn.Module, inputs: Sequence[Input], *, batch: int, dtype: str) -> Ran:
    """One run; inputs that the model looks up in a table are taken for whole numbers.

    Raises:
        UserError: there is no such number type, or the model fails on such inputs; the line names the module, the
            operation and the reason.
    """
    known = list(inputs)
    for spec in known:
        if spec.dtype is not None and spec.dtype not in NUMBER_TYPES:
            raise unknown_name("number type of an input", spec.dtype, NUMBER_TYPES)
    if is_uninitialised(network):
        network = _initialised(network, known, batch)
    has_numbers = not any(place.tensor.is_meta for place in weight_places(network))
    attempts = list(_ATTEMPTS)
    while True:
        device, guard = attempts.pop(0)
        try:
            return Ran(network, tuple(known), _attempt(network, known, batch, NUMBER_TYPES[dtype], device, guard))
        except FloatIndices as error:
            known[error.number] = known[error.number]._replace(dtype="int64")
            attempts.insert(0, (device, guard))
        except _Failed as failure:
            if not attempts or not has_numbers or not failure.is_refusal:
                raise UserError(f"{failure.where}: {_located(failure.error)}; {_remedy(known)}") from None


def reason(error: BaseException) -> str:
    """An error in one line, with its type where the text alone says little, as of a missing key."""
    plain = isinstance(error, RuntimeError | ValueError | TypeError | UserError)
    return _text(error) if plain and _text(error) else typed_reason(error)


def typed_reason(error: BaseException) -> str:
    """An error in one line, its type in front."""
    return ": ".join(filter(None, (type(error).__name__, _text(error))))


def _located(error: BaseException) -> str:
    """An error in one line, with the last line of the model's own code that it went through."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    own = [frame for frame in frames if not frame.f_code.co_filename.startswith(_NOT_OF_THE_MODEL)]
    if not own:
        return reason(error)
    # The line at which it failed, not the one that the frame has come to since.
    lines = {id(frame): line for frame, line in traceback.walk_tb(error.__traceback__)}
    return f"{reason(error)} ({Path(own[-1].f_code.co_filename).name}:{lines[id(own[-1])]})"


def _text(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]


def _remedy(inputs: Sequence[Input]) -> str:
    return f"check the inputs ({', '.join(map(str, inputs)) or 'none'}; whole numbers are 128:int64) and the model"


def _attempt(
    network: nn.Module, inputs: Sequence[Input], batch: int, number_type: torch.dtype, device: str, guard: _Guard
) -> Tape:
    stand_ins = stand_ins_for(network, lambda tensor, is_parameter: stand_in(tensor, is_parameter, device, number_type))
    try:
        given = [make_input(spec, batch, number_type, device) for spec in inputs]
    except (RuntimeError, TypeError) as error:
        raise _Failed("the inputs are too large", error) from None
    recorder = Recorder(network, stand_ins, given, device)
    with lent(network, stand_ins, training=False), undisturbed():
        try:
            with guard(), recorder.recording():
                outputs = recorder.find_values(network(*given))
        except FloatIndices:
            raise
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a user's model may raise anything
            raise _Failed(recorder.where, error) from None
    return recorder.tape(outputs, _weights(network, stand_ins, recorder))


@contextmanager
def undisturbed() -> Iterator[None]:
    """A run in here compiles nothing, leaves the random generator as it is, and does not warn: torch would of its manner."""
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng(devices=[]))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        # Loading torch's compiler takes seconds, so it is only asked where somebody has loaded it.
        if "torch._dynamo" in sys.modules:
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        yield


def stand_in(tensor: Tensor, is_parameter: bool, device: str, number_type: torch.dtype) -> Tensor:
    """What a run has for a weight: the same memory on the CPU, none on `meta`."""
    own_type = number_type if tensor.is_floating_point() else tensor.dtype
    if device == "meta":
        made = torch.empty_strided(tensor.shape, tensor.stride(), dtype=own_type, device="meta")
    elif tensor.is_meta:
        # A model that was made without numbers runs as fast with any; tiny ones take longer on some processors.
        made = torch.full(tensor.shape, 0.01, device=device).to(own_type)
    else:
        made = tensor.detach().to(device=device, dtype=own_type)
        made = made if is_parameter else made.clone()
    return as_weight(made, tensor, is_parameter)


def as_weight(made: Tensor, tensor: Tensor, is_parameter: bool) -> Tensor:
    """A stand-in of the same kind: torch's products take another way for weights that are trained, also where nothing is."""
    return nn.Parameter(made, tensor.requires_grad) if is_parameter else made.requires_grad_(tensor.requires_grad)


def make_input(spec: Input, batch: int, number_type: torch.dtype, device: str) -> Tensor:
    """A batch of one input: random numbers between 0 and 1, or whole numbers that are all 0."""
    own_type = number_type if spec.dtype is None else NUMBER_TYPES[spec.dtype]
    shape = (batch, *spec.shape)
    if device == "meta" or not own_type.is_floating_point:
        return torch.zeros(shape, dtype=own_type, device=device)
    return torch.rand(shape, generator=torch.Generator().manual_seed(0)).to(device=device, dtype=own_type)


def _initialised(network: nn.Module, inputs: Sequence[Input], batch: int) -> nn.Module:
    given = [make_input(spec, batch, torch.get_default_dtype(), "meta") for spec in inputs]
    try:
        return initialised(network, lambda twin: twin(*given))
    except Exception as error:  # noqa: BLE001 - a user's model may raise anything
        line = f"the weights of this model get their shapes from its first input, which fails: {reason(error)}"
        raise UserError(f"{line}; {_remedy(inputs)}") from None


def _weights(network: nn.Module, stand_ins: dict[int, Tensor], recorder: Recorder) -> tuple[Weight, ...]:
    """Every weight once, where it is met first."""
    found: dict[int, Weight] = {}
    for place in weight_places(network):
        tensor = stand_ins[id(place.tensor)]
        if id(tensor) not in found:
            value = recorder.weights[id(tensor)]
            found[id(tensor)] = Weight(
                owner=place.owner,
                owner_label=type(place.module).__name__,
                elements=tensor.numel(),
                size_bytes=value.size_bytes,
                is_parameter=place.is_parameter,
                storage=value.storage,
            )
    return tuple(found.values())
