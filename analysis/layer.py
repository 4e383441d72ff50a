"""The layers of a network: one row for each operation, with what it costs, holds and sees."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import prod
from typing import Any

from analysis.cost import FLOPS_PER_MAC
from analysis.describe import describe
from analysis.receptive_field import Field, Path, node_paths, whole
from analysis.totals import node_totals
from search_spaces.architecture import Architecture
from search_spaces.graph import flatten, node_shapes
from search_spaces.ops import Conv, Input, Operation, Pool, Shape


@dataclass(frozen=True, slots=True)
class Layer:
    """One operation of a network that is not a cell, by its path (`stage1.cell0.conv`).

    - `output_shape` is without batch; MACs and bytes are those of the batch and the type that the report is for.
    - `input_bytes` and `activation_bytes` are what it reads and what it gives; `weight_bytes` its parameters and
      buffers.
    - `receptive_field` is on the network's first input, None if nothing of that arrives; `receptive_fraction` is the
      share of that input which a window of this size can hold.
    - `unproductive`: it slides a window over a value whose own windows on the input are larger than the input, borders
      not cut off, so that it can bring in nothing new but at the borders. What arrives by gates and other global
      branches is left out of this.

    References:
        Richter, Byttner, Krumnack, Wiedenroth, Schallner, Shenk: (Input) Size Matters for CNN Classifiers. ICANN 2021.
        Deviation: where paths join, the one that sees most decides, not the one that sees least.
    """

    name: str
    operation: str
    output_shape: Shape
    params: int
    weight_bytes: int
    macs: int
    input_bytes: int
    activation_bytes: int
    receptive_field: Field | None
    receptive_fraction: float | None
    unproductive: bool

    @property
    def flops(self) -> int:
        """Floating point operations: two for each MAC."""
        return FLOPS_PER_MAC * self.macs

    @property
    def arithmetic_intensity(self) -> float:
        """FLOPs for each byte that has to be read or written: inputs, weights and output, each once."""
        return self.flops / max(1, self.input_bytes + self.weight_bytes + self.activation_bytes)

    def to_dict(self) -> dict[str, Any]:
        """The layer under its JSON names."""
        return {
            "name": self.name,
            "operation": self.operation,
            "output_shape": list(self.output_shape),
            "params": self.params,
            "weight_bytes": self.weight_bytes,
            "macs": self.macs,
            "flops": self.flops,
            "input_bytes": self.input_bytes,
            "activation_bytes": self.activation_bytes,
            "arithmetic_intensity": round(self.arithmetic_intensity, 3),
            "receptive_field": field_to_dict(self.receptive_field, self.receptive_fraction),
            "unproductive": self.unproductive,
        }


@lru_cache(maxsize=256)
def architecture_layers(architecture: Architecture, *, batch: int, element_bytes: int) -> tuple[Layer, ...]:
    """One row for each operation that is not a cell, in the order in which they run."""
    return tuple(_rows(architecture, batch, element_bytes))


def _rows(architecture: Architecture, batch: int, element_bytes: int) -> Iterator[Layer]:
    graph = flatten(architecture.graph)
    shapes = node_shapes(graph, architecture.input_shapes)
    parts = node_totals(graph, architecture.input_shapes, element_bytes)
    first = architecture.input_shapes[0]
    given = {graph.inputs[0]: whole(first)}
    paths = node_paths(graph, shapes, [part.paths for part in parts], given)
    local = node_paths(graph, shapes, [tuple(map(_unless_global, part.paths)) for part in parts], given)
    for node, part, shape, path in zip(graph.nodes, parts, shapes, paths, strict=True):
        if isinstance(node.operation, Input):
            continue
        windows = None if path is None else path.field
        yield Layer(
            name=node.name,
            operation=describe(node.operation),
            output_shape=shape,
            params=part.cost.params,
            weight_bytes=part.cost.weight_bytes(element_bytes),
            macs=batch * part.cost.macs,
            input_bytes=batch * element_bytes * sum(prod(shapes[source]) for source in node.inputs),
            activation_bytes=batch * element_bytes * part.cost.activations,
            receptive_field=windows,
            receptive_fraction=receptive_fraction(windows, first),
            unproductive=_is_unproductive(node.operation, local[node.inputs[0]], first),
        )


def _unless_global(step: Path | None) -> Path | None:
    return None if step is None or any(window.stride == 0 for window in step.field) else step


def _is_unproductive(operation: Operation, before: Path | None, input_shape: Shape) -> bool:
    if not isinstance(operation, Conv | Pool) or max(operation.kernel) == 1 or before is None:
        return False
    lengths = input_shape[1:] or input_shape
    windows = zip(operation.kernel, before.field, lengths, strict=True)
    return all(window.size > length for taps, window, length in windows if taps > 1)


def last_map_of(layers: Sequence[Layer]) -> Layer | None:
    """The last layer that gives a map whose positions see different parts of the input."""
    return next((layer for layer in reversed(layers) if _has_positions(layer)), None)


def _has_positions(layer: Layer) -> bool:
    windows = layer.receptive_field or ()
    return len(layer.output_shape) > 1 and bool(windows) and all(window.stride for window in windows)


def receptive_fraction(windows: Field | None, input_shape: Shape) -> float | None:
    """The share of an input of this shape that windows of this size can hold; None where nothing is seen."""
    if windows is None:
        return None
    # An embedding makes positions of the elements of a vector.
    lengths = input_shape[1:] or input_shape
    return prod(min(1.0, window.size / length) for window, length in zip(windows, lengths, strict=False))


def field_to_dict(windows: Field | None, fraction: float | None) -> dict[str, Any] | None:
    """A receptive field under its JSON names, None where nothing is seen."""
    if windows is None:
        return None
    return {
        "size": [window.size for window in windows],
        "stride": [_plain(window.stride) for window in windows],
        "centre": [window.centre for window in windows],
        "fraction": fraction,
    }


def _plain(number: int | Fraction) -> int | float:
    return int(number) if number.denominator == 1 else float(number)
