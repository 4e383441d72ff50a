"""The report on an architecture: its totals at once, its layers and the memory of training when they are asked for."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any, overload

from analysis.cost import ELEMENT_BYTES, FLOPS_PER_MAC, Cost
from analysis.layer import Layer, architecture_layers, field_to_dict, last_map_of, receptive_fraction
from analysis.receptive_field import Field
from analysis.totals import graph_totals
from analysis.training_memory import TrainingMemory, training_memory
from search_spaces.architecture import Architecture
from search_spaces.errors import InvalidArchitecture, UserError, unknown_name
from search_spaces.ops import Shape

if TYPE_CHECKING:
    import torch

    from analysis.torch_model import ModuleReport

FIGURES: tuple[str, ...] = (
    "params",
    "macs",
    "flops",
    "activation_bytes",
    "weight_bytes",
    "peak_inference_bytes",
    "depth",
    "receptive_field",
)
"""The figures of a report that are one number, for objectives and constraints."""


@dataclass(frozen=True, slots=True)
class Report:
    """What an architecture costs and sees, for `batch` inputs at once whose numbers are of the type `dtype`.

    - `macs`: multiply-accumulates of convolutions and linear layers, without biases; `flops` is twice that.
    - `fvcore_flops`: what fvcore's `FlopCountAnalysis` counts in evaluation mode (see `cost`).
    - `activation_bytes`: the outputs of all operations together.
    - `weight_bytes`: parameters and buffers.
    - `peak_inference_bytes`: weights, the network's input, and the most that lives of all else at one time. The inputs
      of the network and of each cell live while it runs, since the frame that called it holds them (see `memory`).
    - `depth`: the most convolutions and linear layers on a path from an input to the first output.
    - `receptive_field`: what one position of the first output sees of the first input, one window for each axis of
      that input, unclipped; None if nothing (see `receptive_field`). Behind a global pool or `Flatten` that is the
      union over all positions, with stride 0; what a single position sees before it, the layers tell.
    """

    architecture: Architecture = field(repr=False)
    batch: int
    dtype: str
    params: int
    macs: int
    fvcore_flops: int
    activation_bytes: int
    weight_bytes: int
    peak_inference_bytes: int
    depth: int
    receptive_field: Field | None

    @property
    def flops(self) -> int:
        """Floating point operations: two for each MAC."""
        return FLOPS_PER_MAC * self.macs

    @property
    def layers(self) -> tuple[Layer, ...]:
        """One row for each operation that is not a cell, in the order in which they run; worked out when asked for."""
        return architecture_layers(self.architecture, batch=self.batch, element_bytes=ELEMENT_BYTES[self.dtype])

    @property
    def unproductive(self) -> tuple[str, ...]:
        """The names of the layers whose windows can bring in nothing new (see `Layer`); the first is the border layer."""
        return tuple(layer.name for layer in self.layers if layer.unproductive)

    @property
    def peak_training_bytes(self) -> int:
        """The most memory of a training step under SGD with momentum; worked out when asked for."""
        return self.training_memory().peak_bytes

    def training_memory(self, *, optimizer: str = "momentum", mixed_precision: bool = False) -> TrainingMemory:
        """The memory of a training step (see `training_memory`).

        Raises:
            UserError: the optimiser is not one of `sgd`, `momentum` and `adam`.
        """
        return training_memory(
            self.architecture,
            batch=self.batch,
            optimizer=optimizer,
            mixed_precision=mixed_precision,
            dtype=self.dtype,
        )

    def figures(self) -> dict[str, int]:
        """`FIGURES` by name; `receptive_field` is its size along the largest axis, 0 if nothing is seen."""
        sizes = [window.size for window in self.receptive_field or ()]
        return {name: max(sizes, default=0) if name == "receptive_field" else getattr(self, name) for name in FIGURES}

    def to_dict(self) -> dict[str, Any]:
        """The report under its JSON names, layers included; a receptive field that sees nothing is null."""
        fraction = receptive_fraction(self.receptive_field, self.architecture.input_shapes[0])
        last_map = last_map_of(self.layers)
        return {
            "inputs": [{"shape": list(shape), "dtype": self.dtype} for shape in self.architecture.input_shapes],
            "batch": self.batch,
            "dtype": self.dtype,
            "params": self.params,
            "macs": self.macs,
            "flops": self.flops,
            "fvcore_flops": self.fvcore_flops,
            "activation_bytes": self.activation_bytes,
            "weight_bytes": self.weight_bytes,
            "peak_inference_bytes": self.peak_inference_bytes,
            "peak_training_bytes": self.peak_training_bytes,
            "depth": self.depth,
            "receptive_field": field_to_dict(self.receptive_field, fraction),
            "last_map": None if last_map is None else last_map.name,
            "unproductive": list(self.unproductive),
            "layers": [layer.to_dict() for layer in self.layers],
        }


Shapes = Shape | Sequence[Shape]
"""The shape of the input, or one for each input, without the batch axis."""


@overload
def analyze(
    network: Architecture,
    *,
    input_shape: Shapes | None = None,
    input_dtypes: Sequence[str | None] = (),
    batch: int = 1,
    dtype: str = "float32",
) -> Report: ...


@overload
def analyze(
    network: "torch.nn.Module",
    *,
    input_shape: Shapes | None = None,
    input_dtypes: Sequence[str | None] = (),
    batch: int = 1,
    dtype: str = "float32",
) -> "ModuleReport": ...


def analyze(
    network: "Architecture | torch.nn.Module",
    *,
    input_shape: Shapes | None = None,
    input_dtypes: Sequence[str | None] = (),
    batch: int = 1,
    dtype: str = "float32",
) -> "Report | ModuleReport":
    """The report on an architecture, from its graph, or on any torch model, from one trace of it.

    `input_shape` may be left out for an architecture, which knows its own; given, it stands in its place. Cells met
    before, with the same input shapes, are not worked out again. `input_dtypes` is for torch models: the number types of
    inputs that are not of the type `dtype`, like `int64`.

    Raises:
        UserError: the batch is empty, the type is not one of `float32`, `float64`, `float16` and `bfloat16`, or the
            network does not take such an input.
    """
    element_bytes = checked_element_bytes(batch, dtype)
    if not isinstance(network, Architecture):
        from analysis.torch_model import analyze_module

        if input_shape is None:
            raise UserError(
                "a torch model does not tell the shape of its input; give it: --input 3x224x224, or input_shape=(3, 224, 224)"
            )
        return analyze_module(network, _each(input_shape), input_dtypes=input_dtypes, batch=batch, dtype=dtype)
    if any(input_dtypes):
        raise UserError(
            "the inputs of an architecture are of the type of its numbers; give number types for torch models"
        )
    if input_shape is not None:
        network = _with_inputs(network, _each(input_shape))
    return _report(network, batch, dtype, element_bytes)


def _with_inputs(architecture: Architecture, shapes: tuple[Shape, ...]) -> Architecture:
    try:
        return Architecture(architecture.graph, shapes)
    except InvalidArchitecture as error:
        given, own = (
            ", ".join("x".join(map(str, shape)) for shape in each) for each in (shapes, architecture.input_shapes)
        )
        reason = str(error).removeprefix("rule shapes: ").removeprefix("rule inputs: ")
        raise InvalidArchitecture(f"input {given}: {reason}; the network's own input is {own}") from None


def _each(input_shape: Shapes) -> tuple[Shape, ...]:
    """One shape for each input."""
    sizes = tuple(size for size in input_shape if isinstance(size, int))
    return (sizes,) if sizes else tuple(tuple(shape) for shape in input_shape if not isinstance(shape, int))


def _report(architecture: Architecture, batch: int, dtype: str, element_bytes: int) -> Report:
    cost, storage, paths = graph_totals(architecture.graph, architecture.input_shapes, element_bytes)
    return Report(
        architecture,
        batch,
        dtype,
        *sums(cost, storage.working_bytes, architecture.input_shapes, batch, element_bytes),
        depth=max([path.depth for path in paths if path is not None], default=0),
        receptive_field=None if paths[0] is None else paths[0].field,
    )


_MOST_BATCH = 2**31 - 1
"""More inputs at once than any device holds; torch counts a tensor's elements in 64 bits."""


def checked_element_bytes(batch: int, dtype: str) -> int:
    """The bytes of a number of the type `dtype`.

    Raises:
        UserError: the batch is empty or too large, or there is no such type.
    """
    if dtype not in ELEMENT_BYTES:
        raise unknown_name("number type", dtype, ELEMENT_BYTES)
    if batch < 1:
        raise UserError(f"batch must be at least 1, got {batch}")
    if batch > _MOST_BATCH:
        raise UserError(f"batch must be at most {_MOST_BATCH:,}, got {batch:,}")
    return ELEMENT_BYTES[dtype]


def sums(
    cost: Cost, working_bytes: Any, input_shapes: tuple[Shape, ...], batch: int, element_bytes: int
) -> tuple[Any, Any, Any, Any, Any, Any]:
    """The figures that are added up over a network, as `SUMS` names them; of one network, or arrays of many."""
    weight_bytes = cost.weight_bytes(element_bytes)
    input_bytes = element_bytes * sum(map(prod, input_shapes))
    return (
        cost.params,
        batch * cost.macs,
        batch * (cost.macs + cost.fvcore_extra),
        batch * element_bytes * cost.activations,
        weight_bytes,
        weight_bytes + batch * (input_bytes + working_bytes),
    )


SUMS = ("params", "macs", "fvcore_flops", "activation_bytes", "weight_bytes", "peak_inference_bytes")
"""The names of what `sums` gives, in its order and that of the fields of a report."""
