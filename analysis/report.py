"""The report on an architecture: its totals at once, its layers when they are asked for."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from typing import Any

from analysis.cost import BYTES_PER_FLOAT, FLOPS_PER_MAC, tensor_bytes
from analysis.receptive_field import Field, Path, node_paths, whole
from analysis.totals import graph_totals, node_totals
from search_spaces.architecture import Architecture
from search_spaces.graph import Cell, Graph, node_shapes
from search_spaces.ops import (
    Activation,
    Add,
    BatchNorm,
    ChannelShuffle,
    Concat,
    Conv,
    Dropout,
    Embedding,
    Flatten,
    GlobalPool,
    Identity,
    Input,
    LayerNorm,
    Linear,
    LocalResponseNorm,
    Multiply,
    Operation,
    Pool,
    Shape,
    Upsample,
    Zero,
)

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
class Layer:
    """One operation of a network that is not a cell, by its path (`stage1.cell0.conv`).

    `output_shape` is without batch; `activation_bytes` are those of its output in float32; `receptive_field` is on the
    network's first input, None if nothing of that arrives.
    """

    name: str
    operation: str
    output_shape: Shape
    params: int
    macs: int
    activation_bytes: int
    receptive_field: Field | None

    def to_dict(self) -> dict[str, Any]:
        """The layer under its JSON names."""
        return {
            "name": self.name,
            "operation": self.operation,
            "output_shape": list(self.output_shape),
            "params": self.params,
            "macs": self.macs,
            "activation_bytes": self.activation_bytes,
            "receptive_field": _field_to_dict(self.receptive_field),
        }


@dataclass(frozen=True, slots=True)
class Report:
    """What an architecture costs and sees, for one input without a batch, in float32.

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
        return _layers(self.architecture)

    def figures(self) -> dict[str, int]:
        """`FIGURES` by name; `receptive_field` is its size along the largest axis, 0 if nothing is seen."""
        sizes = [window.size for window in self.receptive_field or ()]
        return {name: max(sizes, default=0) if name == "receptive_field" else getattr(self, name) for name in FIGURES}

    def to_dict(self) -> dict[str, Any]:
        """The report under its JSON names, layers included; a receptive field that sees nothing is null."""
        return {
            "params": self.params,
            "macs": self.macs,
            "flops": self.flops,
            "fvcore_flops": self.fvcore_flops,
            "activation_bytes": self.activation_bytes,
            "weight_bytes": self.weight_bytes,
            "peak_inference_bytes": self.peak_inference_bytes,
            "depth": self.depth,
            "receptive_field": _field_to_dict(self.receptive_field),
            "layers": [layer.to_dict() for layer in self.layers],
        }


def analyze(architecture: Architecture) -> Report:
    """The report on `architecture`; cells met before, with the same input shapes, are not worked out again."""
    cost, storage, paths = graph_totals(architecture.graph, architecture.input_shapes)
    weight_bytes = BYTES_PER_FLOAT * cost.params + cost.buffer_bytes
    input_bytes = sum(map(tensor_bytes, architecture.input_shapes))
    return Report(
        architecture=architecture,
        params=cost.params,
        macs=cost.macs,
        fvcore_flops=cost.macs + cost.fvcore_extra,
        activation_bytes=cost.activation_bytes,
        weight_bytes=weight_bytes,
        peak_inference_bytes=weight_bytes + input_bytes + storage.working_bytes,
        depth=max([path.depth for path in paths if path is not None], default=0),
        receptive_field=None if paths[0] is None else paths[0].field,
    )


@lru_cache(maxsize=256)
def _layers(architecture: Architecture) -> tuple[Layer, ...]:
    first, *others = architecture.input_shapes
    return tuple(_rows(architecture.graph, architecture.input_shapes, [whole(first), *(None for _ in others)], ""))


def _rows(
    graph: Graph, input_shapes: tuple[Shape, ...], input_paths: list[Path | None], prefix: str
) -> Iterator[Layer]:
    shapes = node_shapes(graph, input_shapes)
    parts = node_totals(graph, shapes)
    given = dict(zip(graph.inputs, input_paths, strict=True))
    paths = node_paths(graph, shapes, [part.paths for part in parts], given)
    for node, part, shape, path in zip(graph.nodes, parts, shapes, paths, strict=True):
        if isinstance(node.operation, Cell):
            inner_shapes = tuple(shapes[source] for source in node.inputs)
            inner_paths = [paths[source] for source in node.inputs]
            yield from _rows(node.operation.body, inner_shapes, inner_paths, f"{prefix}{node.name}.")
        elif not isinstance(node.operation, Input):
            yield Layer(
                name=prefix + node.name,
                operation=describe(node.operation),
                output_shape=shape,
                params=part.cost.params,
                macs=part.cost.macs,
                activation_bytes=part.cost.activation_bytes,
                receptive_field=None if path is None else path.field,
            )


def _field_to_dict(windows: Field | None) -> dict[str, list[int] | list[float]] | None:
    if windows is None:
        return None
    return {
        "size": [window.size for window in windows],
        "stride": [_plain(window.stride) for window in windows],
        "centre": [window.centre for window in windows],
    }


def _plain(number: int | Fraction) -> int | float:
    return int(number) if number.denominator == 1 else float(number)


def describe(operation: Operation) -> str:
    """The operation in a few words: its type, its kernel and whatever is not usual about it (`Conv 3x3 stride 2`)."""
    return " ".join((type(operation).__name__, *DETAILS[type(operation)](operation)))


def _no_details(operation: Operation) -> tuple[str, ...]:
    return ()


def _kind(operation: Activation | GlobalPool) -> tuple[str, ...]:
    return (operation.kind,)


def _affine(operation: BatchNorm | LayerNorm) -> tuple[str, ...]:
    return () if operation.affine else ("not affine",)


def _dropout(dropout: Dropout) -> tuple[str, ...]:
    return (f"{dropout.probability:g}",)


def _conv(conv: Conv) -> Iterator[str]:
    yield _by_axis(conv.kernel)
    if max(conv.stride) > 1:
        yield f"stride {_by_axis(conv.stride, together=True)}"
    if max(conv.dilation) > 1:
        yield f"dilation {_by_axis(conv.dilation, together=True)}"
    if conv.groups > 1:
        yield f"groups {conv.groups}"
    if conv.padding_mode != "zeros":
        yield conv.padding_mode


def _pool(pool: Pool) -> Iterator[str]:
    yield pool.kind
    yield _by_axis(pool.kernel)
    if max(pool.stride) > 1:
        yield f"stride {_by_axis(pool.stride, together=True)}"
    if pool.ceil_mode:
        yield "ceil"


def _upsample(upsample: Upsample) -> tuple[str, ...]:
    return (upsample.kind, f"x{upsample.factor}")


def _embedding(embedding: Embedding) -> tuple[str, ...]:
    return (f"{embedding.rows}x{embedding.features}",)


def _local_response_norm(norm: LocalResponseNorm) -> tuple[str, ...]:
    return (f"size {norm.size}",)


def _channel_shuffle(shuffle: ChannelShuffle) -> tuple[str, ...]:
    return (f"groups {shuffle.groups}",)


def _by_axis(numbers: tuple[int, ...], *, together: bool = False) -> str:
    """`3x3`; with `together` a number that all axes share stands once."""
    return "x".join(map(str, numbers[:1] if together and len(set(numbers)) == 1 else numbers))


DETAILS: dict[type[Operation], Callable[[Any], tuple[str, ...] | Iterator[str]]] = {
    Input: _no_details,
    Identity: _no_details,
    Zero: _no_details,
    Conv: _conv,
    Pool: _pool,
    GlobalPool: _kind,
    Upsample: _upsample,
    Linear: _no_details,
    Embedding: _embedding,
    BatchNorm: _affine,
    LayerNorm: _affine,
    LocalResponseNorm: _local_response_norm,
    Activation: _kind,
    Dropout: _dropout,
    Flatten: _no_details,
    ChannelShuffle: _channel_shuffle,
    Add: _no_details,
    Multiply: _no_details,
    Concat: _no_details,
}
"""What `describe` says of an operation behind its type."""
