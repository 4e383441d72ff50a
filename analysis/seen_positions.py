"""Exactly which positions of the input one position of a value depends on, borders and holes included.

The windows of `receptive_field` are theoretical; here the taps of every operation are followed back, so this is exact
at borders, between the steps of a stride and the taps of a dilation. It equals the bounding box of the gradient of the
position with respect to the input, for weights that are all positive.
"""

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from analysis.receptive_field import TAPS_RULES, AxisTaps
from search_spaces.architecture import Architecture
from search_spaces.errors import NotFound, UserError
from search_spaces.graph import Graph, flatten, node_shapes

if TYPE_CHECKING:
    import numpy

    Mask = numpy.ndarray[tuple[int, ...], numpy.dtype[numpy.bool_]]


def seen_box(
    architecture: Architecture, position: tuple[int, ...], *, node: str | None = None
) -> tuple[tuple[int, int], ...] | None:
    """The first and last position, for each axis of the network's first input, that one position of a value sees.

    Exact at borders and in the holes of strides and dilations. `node` is the path of a layer (`stage1.cell0.conv`);
    without it the network's first output is asked. `position` has one number for each spatial axis of that value,
    none for a vector. None means that the position sees nothing but padding and zeros.

    Raises:
        NotFound: no layer has this path.
        UserError: the value has no such position.
    """
    import numpy

    graph = flatten(architecture.graph)
    shapes = node_shapes(graph, architecture.input_shapes)
    target = graph.outputs[0][1] if node is None else _index_of(graph, node)
    lengths = shapes[target][1:]
    if len(position) != len(lengths) or not all(0 <= p < n for p, n in zip(position, lengths, strict=True)):
        raise UserError(
            f"position {position} is not in node {graph.nodes[target].name!r}, whose spatial sizes are {lengths}"
        )
    masks: dict[int, Mask] = {target: numpy.zeros(lengths, dtype=bool)}
    masks[target][position] = True
    for index in range(target, graph.inputs[0], -1):
        current = graph.nodes[index]
        if index not in masks or not current.inputs:
            continue
        mask = masks.pop(index)
        for source in current.inputs:
            taps = TAPS_RULES[type(current.operation)](current.operation, shapes[source])
            if taps is None:
                continue
            # A vector that is read by position, by an embedding, has its elements as positions.
            read = _read_by(mask, taps, shapes[source][1:] or shapes[source])
            masks[source] = masks[source] | read if source in masks else read
    seen = masks.get(graph.inputs[0])
    if seen is None or not seen.any():
        return None
    return tuple((int(axis.min()), int(axis.max())) for axis in (seen.nonzero() if seen.ndim else ()))


def _index_of(graph: Graph, name: str) -> int:
    for index, node in enumerate(graph.nodes):
        if node.name == name:
            return index
    raise NotFound(f"the network has no layer {name!r}; the report of the network lists them")


def _read_by(mask: "Mask", taps: tuple[AxisTaps, ...], lengths: tuple[int, ...]) -> "Mask":
    """The input positions, of axes of these lengths, that the marked output positions read."""
    import numpy

    if not taps:
        return mask
    # A vector has no axes of its own; behind Flatten it stands for a single position.
    if mask.ndim != len(lengths):
        mask = numpy.full((1,) * len(lengths), mask.any())
    for axis, (tap, length) in enumerate(zip(taps, lengths, strict=True)):
        reads = _reads(tap, mask.shape[axis], length)
        mask = numpy.moveaxis(numpy.tensordot(mask, reads, axes=(axis, 0)), -1, axis) > 0
    return mask


@lru_cache(maxsize=4_096)
def _reads(taps: AxisTaps, outputs: int, inputs: int) -> Any:
    """A matrix of 0 and 1: whether an output position (row) reads an input position (column)."""
    import numpy

    matrix = numpy.zeros((outputs, inputs), dtype=numpy.float32)
    for output in range(outputs):
        for position in taps.positions(output, inputs):
            matrix[output, position] = 1
    return matrix
