"""How much memory the activations of a graph take at most while it runs, by liveness.

The model: operations run in the order of the nodes, one at a time. A value lives from the operation that makes it to
the last one that reads it; outputs live to the end. The inputs of a cell live as long as the cell runs, whatever it
does with them, because the frame that called it holds them; for the same reason the network's own input always lives.
Views take no memory: `Identity`, `Flatten` and `Dropout` (in evaluation mode) give the storage of their input again.
A sum of three or more adds one input after the other, so it holds a partial sum besides its result, as does a product,
and a convolution with uneven padding, or padding that is not zeros, holds a padded copy of its input. A local response
norm holds up to three values of the size of its input, an embedding its numbers as 8-byte integers. Everything is for
one input; a batch takes as many times that. What a kernel allocates for itself (the columns of a matrix product, the
indices of a maximum) is not counted, nor what an allocator rounds up.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from math import prod
from typing import Any, NamedTuple

from analysis.cost import BYTES_PER_COUNTER
from search_spaces.graph import Graph, Wiring
from search_spaces.ops import (
    Activation,
    AdaptivePool,
    Add,
    BatchNorm,
    ChannelShuffle,
    ChannelSlice,
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


class Storage(NamedTuple):
    """What an operation does to memory, beyond its inputs, which its caller holds.

    `working_bytes` is the most it holds at any time while it runs, its output included; `output_bytes` is what stays
    of that afterwards; `view_of` is the number of the input whose storage the output is, None if it has its own.
    """

    working_bytes: int
    output_bytes: int
    view_of: int | None


HELD_BY_CALLER = Storage(0, 0, None)
"""The storage of a graph's input."""


StorageRule = Callable[[Any, tuple[Shape, ...], Shape, int], Storage]
"""From an operation, the shapes of its inputs, the shape of its output and the bytes of an element to its storage."""


def _view(operation: Operation, input_shapes: tuple[Shape, ...], output_shape: Shape, element_bytes: int) -> Storage:
    return Storage(0, 0, 0)


def _new(operation: Operation, input_shapes: tuple[Shape, ...], output_shape: Shape, element_bytes: int) -> Storage:
    size = element_bytes * prod(output_shape)
    return Storage(size, size, None)


def _add(add: Add, input_shapes: tuple[Shape, ...], output_shape: Shape, element_bytes: int) -> Storage:
    size = element_bytes * prod(output_shape)
    return Storage(size if len(input_shapes) == 2 else 2 * size, size, None)


def _multiply(multiply: Multiply, input_shapes: tuple[Shape, ...], output_shape: Shape, element_bytes: int) -> Storage:
    live = peak = 0
    product = input_shapes[0]
    for shape in input_shapes[1:]:
        product = max(product, shape, key=prod)
        size = element_bytes * prod(product)
        peak = max(peak, live + size)
        live = size
    return Storage(peak, live, None)


def _local_response_norm(
    norm: LocalResponseNorm, input_shapes: tuple[Shape, ...], output_shape: Shape, element_bytes: int
) -> Storage:
    size = element_bytes * prod(output_shape)
    channels, *lengths = output_shape
    padded = element_bytes * prod((channels + norm.size - 1, *lengths))
    # The squares and their padded copy; later the mean, its multiple, and that plus k.
    return Storage(max(size + padded, 3 * size), size, None)


def _channel_shuffle(
    shuffle: ChannelShuffle, input_shapes: tuple[Shape, ...], output_shape: Shape, element_bytes: int
) -> Storage:
    if shuffle.groups in (1, output_shape[0]):
        return _view(shuffle, input_shapes, output_shape, element_bytes)
    return _new(shuffle, input_shapes, output_shape, element_bytes)


def _embedding(
    embedding: Embedding, input_shapes: tuple[Shape, ...], output_shape: Shape, element_bytes: int
) -> Storage:
    size = element_bytes * prod(output_shape)
    return Storage(size + BYTES_PER_COUNTER * prod(input_shapes[0]), size, None)


def _conv(conv: Conv, input_shapes: tuple[Shape, ...], output_shape: Shape, element_bytes: int) -> Storage:
    size = element_bytes * prod(output_shape)
    if conv.padding_mode == "zeros" and all(before == after for before, after in conv.padding):
        return Storage(size, size, None)
    channels, *lengths = input_shapes[0]
    padded = [length + before + after for length, (before, after) in zip(lengths, conv.padding, strict=True)]
    return Storage(size + element_bytes * prod((channels, *padded)), size, None)


STORAGE_RULES: dict[type[Operation], StorageRule] = {
    Input: _view,
    Identity: _view,
    Zero: _new,
    Conv: _conv,
    Pool: _new,
    GlobalPool: _new,
    AdaptivePool: _new,
    Upsample: _new,
    Linear: _new,
    Embedding: _embedding,
    BatchNorm: _new,
    LayerNorm: _new,
    LocalResponseNorm: _local_response_norm,
    Activation: _new,
    Dropout: _view,
    Flatten: _view,
    ChannelShuffle: _channel_shuffle,
    ChannelSlice: _view,
    Add: _add,
    Multiply: _multiply,
    Concat: _new,
}


def operation_storage(
    operation: Operation, input_shapes: tuple[Shape, ...], output_shape: Shape, element_bytes: int
) -> Storage:
    """The storage of one operation that is not a cell."""
    return STORAGE_RULES[type(operation)](operation, input_shapes, output_shape, element_bytes)


def graph_storage(graph: Graph, parts: Sequence[Storage]) -> Storage:
    """The storage of a graph, from that of its nodes: the peak over its run, and what its first output is."""
    workings, sizes, views = zip(*parts, strict=True)
    target, freed = lifetimes(graph.wiring, graph.outputs, views)
    live = peak = 0
    for working_bytes, output_bytes, indices in zip(workings, sizes, freed, strict=True):
        if live + working_bytes > peak:  # noqa: PLR1730 - the call of max would take as long as all the rest
            peak = live + working_bytes
        live += output_bytes
        for index in indices:
            live -= sizes[index]
    return Storage(peak, sizes[target], graph.inputs.index(target) if target in graph.inputs else None)


def repeated_storage(part: Storage) -> Storage:
    """The storage of a chain of two or more equal nodes that are no views: each works while its input lives."""
    return Storage(part.output_bytes + part.working_bytes, part.output_bytes, None)


@lru_cache(maxsize=4_096)
def lifetimes(
    wiring: Wiring, outputs: tuple[tuple[str, int], ...], views: tuple[int | None, ...]
) -> tuple[int, tuple[tuple[int, ...], ...]]:
    """The node that owns the storage of the first output, and for each node those whose storage is free after it.

    They follow from which nodes each node reads, and the storage of which of its inputs its result is a view of.
    """
    owner = list(range(len(wiring)))
    last_read = list(owner)
    for index, (sources, view_of) in enumerate(zip(wiring, views, strict=True)):
        for source in sources:
            last_read[owner[source]] = index
        if view_of is not None:
            owner[index] = owner[sources[view_of]]
    for _, index in outputs:
        last_read[owner[index]] = len(wiring)
    freed: list[list[int]] = [[] for _ in range(len(wiring) + 1)]
    for index, last in enumerate(last_read):
        freed[last].append(index)
    return owner[outputs[0][1]], tuple(map(tuple, freed[:-1]))
