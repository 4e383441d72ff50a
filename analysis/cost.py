"""What one operation costs to store and to run: parameters, buffers, multiply-accumulates, elements of its result.

`COST_RULES` has one rule for every operation; what costs nothing says so there. Costs of a graph are sums over its
nodes, also over those whose result is later thrown away: they run all the same.

Conventions: a MAC is one multiplication with its addition, counted in convolutions and linear layers alone, without
their biases (as torch's `FlopCounterMode` does, which reports twice as many FLOPs); `FLOPS_PER_MAC` is the only place
that says so. `fvcore_extra` is what fvcore's `FlopCountAnalysis` adds to the MACs of a network in evaluation mode
(fvcore/nn/jit_handles.py and flop_count.py): for each element 2 in a batch norm and 5 in a layer norm (1 and 4 where
they are not affine), 1 for each input element of a global or adaptive average over two axes. It counts 1 for
each element that is upsampled over two axes, 4 where it is blended. It knows no handler for these averages or
upsampling over one axis, nor for any maximum, sum, product, activation or local response norm, and counts them as 0.
"""

from collections.abc import Callable, Iterable
from math import prod
from typing import Any, NamedTuple

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

FLOPS_PER_MAC = 2
ELEMENT_BYTES = {"float32": 4, "float64": 8, "float16": 2, "bfloat16": 2}
"""The bytes of a number of each type that a network may be of."""
BYTES_PER_COUNTER = 8
"""An int64: what batch norm counts its batches in, and what an embedding looks up."""


class Cost(NamedTuple):
    """What an operation, or a graph of them, takes for one input without a batch; costs add up field by field.

    `buffers` are numbers that are kept but not trained, of the network's type; `counters` are those of type int64.
    `activations` are the elements of the output of an operation; in a graph, of all its operations that are not cells.
    """

    params: int = 0
    buffers: int = 0
    counters: int = 0
    macs: int = 0
    fvcore_extra: int = 0
    activations: int = 0

    def weight_bytes(self, element_bytes: int) -> int:
        """What parameters and buffers take, where a number takes so many bytes."""
        return element_bytes * (self.params + self.buffers) + BYTES_PER_COUNTER * self.counters


CostRule = Callable[[Any, Shape, Shape], Cost]
"""From an operation, the shape of its first input and the shape of its output to its cost."""


def _nothing(operation: Operation, input_shape: Shape, output_shape: Shape) -> Cost:
    return Cost()


def _conv(conv: Conv, input_shape: Shape, output_shape: Shape) -> Cost:
    weights = conv.out_channels * (input_shape[0] // conv.groups) * prod(conv.kernel)
    params = weights + (conv.out_channels if conv.bias else 0)
    return Cost(params=params, macs=weights * prod(output_shape[1:]))


def _linear(linear: Linear, input_shape: Shape, output_shape: Shape) -> Cost:
    weights = input_shape[0] * linear.out_features
    return Cost(params=weights + (linear.out_features if linear.bias else 0), macs=weights)


def _embedding(embedding: Embedding, input_shape: Shape, output_shape: Shape) -> Cost:
    return Cost(params=embedding.rows * embedding.features)


def _upsample(upsample: Upsample, input_shape: Shape, output_shape: Shape) -> Cost:
    each = 0 if len(input_shape) == 2 else 4 if upsample.kind == "bilinear" else 1
    return Cost(fvcore_extra=each * prod(output_shape))


def _batch_norm(norm: BatchNorm, input_shape: Shape, output_shape: Shape) -> Cost:
    channels = input_shape[0]
    return Cost(
        params=2 * channels if norm.affine else 0,
        buffers=2 * channels,
        counters=1,
        fvcore_extra=prod(input_shape) * (2 if norm.affine else 1),
    )


def _layer_norm(norm: LayerNorm, input_shape: Shape, output_shape: Shape) -> Cost:
    return Cost(
        params=2 * input_shape[0] if norm.affine else 0, fvcore_extra=prod(input_shape) * (5 if norm.affine else 4)
    )


def _pool_of_all(pool: GlobalPool | AdaptivePool, input_shape: Shape, output_shape: Shape) -> Cost:
    counted = pool.kind == "average" and len(input_shape) == 3
    return Cost(fvcore_extra=prod(input_shape) if counted else 0)


COST_RULES: dict[type[Operation], CostRule] = {
    Input: _nothing,
    Identity: _nothing,
    Zero: _nothing,
    Conv: _conv,
    Pool: _nothing,
    GlobalPool: _pool_of_all,
    AdaptivePool: _pool_of_all,
    Upsample: _upsample,
    Linear: _linear,
    Embedding: _embedding,
    BatchNorm: _batch_norm,
    LayerNorm: _layer_norm,
    LocalResponseNorm: _nothing,
    Activation: _nothing,
    Dropout: _nothing,
    Flatten: _nothing,
    ChannelShuffle: _nothing,
    ChannelSlice: _nothing,
    Add: _nothing,
    Multiply: _nothing,
    Concat: _nothing,
}


def operation_cost(operation: Operation, input_shape: Shape, output_shape: Shape) -> Cost:
    """The cost of one operation that is not a cell, given the shape of its first input."""
    cost = COST_RULES[type(operation)](operation, input_shape, output_shape)
    return cost._replace(activations=prod(output_shape))


def graph_cost(parts: Iterable[Cost]) -> Cost:
    """The cost of a graph from that of its nodes."""
    return Cost._make(map(sum, zip(*parts, strict=True)))


def repeated_cost(part: Cost, times: int) -> Cost:
    """The cost of a graph of so many equal nodes."""
    return Cost._make([times * number for number in part])
