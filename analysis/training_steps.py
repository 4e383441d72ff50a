"""What each operation does to memory in training: the steps of eager torch, what they make, and what they save.

A step makes one tensor from others, and may save some for the backward pass; what is saved of each follows
`derivatives.yaml` of torch. Most operations are one step; what torch puts together from several (local response norm,
padding by a copy) is several here. Values are numbered: first the inputs of the operation, then the steps' results.

Sizes are in elements for one input; they grow with the batch and with the bytes of an element. What does not (the
parameters, the statistics of a batch norm) or is of a fixed type (the 8-byte indices of a maximum) is told apart.
"""

from collections.abc import Callable
from math import prod
from typing import Any, NamedTuple

from analysis.cost import BYTES_PER_COUNTER, operation_cost
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


class Step(NamedTuple):
    """One step: the values it reads, what it makes, and what lives on until the backward pass has gone by.

    - `elements`: of the result; `view`: it is a view of the first value, in whose storage it lies.
    - `saves`: the values whose storage is kept, the step's own result among them where it is.
    - `saved_bytes`: what is kept besides, for one input; `statistics`: numbers that are kept once a batch.
    - `params`: the sizes of its parameters, each of which gets a gradient.
    - `passes`: in the backward pass its inputs share the storage of its gradient; otherwise each gets its own.
    - `scratch`: elements that the backward pass makes besides, for as long as the step takes.
    - `casts`: runs in half precision where precision is mixed, with half copies of what it reads and of its weights.
    """

    reads: tuple[int, ...]
    elements: int
    saves: tuple[int, ...] = ()
    saved_bytes: int = 0
    statistics: int = 0
    params: tuple[int, ...] = ()
    passes: bool = False
    scratch: int = 0
    casts: bool = False
    view: bool = False


StepsRule = Callable[[Any, tuple[Shape, ...], Shape], tuple[Step, ...]]
"""From an operation, the shapes of its inputs and the shape of its output to its steps."""

_KEEPS_OUTPUT = ("relu", "sigmoid", "tanh")
_KEEPS_NOTHING = ("complement",)


def _view(operation: Operation, inputs: tuple[Shape, ...], output: Shape) -> tuple[Step, ...]:
    return (Step((0,), prod(output), passes=True, view=True),)


def _keeps_nothing(operation: Operation, inputs: tuple[Shape, ...], output: Shape) -> tuple[Step, ...]:
    return (Step((0,), prod(output)),)


def _activation(activation: Activation, inputs: tuple[Shape, ...], output: Shape) -> tuple[Step, ...]:
    if activation.kind in _KEEPS_NOTHING:
        return (Step((0,), prod(output)),)
    return (Step((0,), prod(output), saves=(1,) if activation.kind in _KEEPS_OUTPUT else (0,)),)


def _conv(conv: Conv, inputs: tuple[Shape, ...], output: Shape) -> tuple[Step, ...]:
    params = _params(conv, inputs[0], output, conv.bias)
    if conv.padding_mode == "zeros" and all(before == after for before, after in conv.padding):
        return (Step((0,), prod(output), saves=(0,), params=params, casts=True),)
    channels, *lengths = inputs[0]
    padded = [length + before + after for length, (before, after) in zip(lengths, conv.padding, strict=True)]
    keeps = (0,) if conv.padding_mode in ("reflect", "replicate") else ()
    size = channels * prod(padded)
    steps = [Step((0,), size, saves=keeps)]
    if conv.padding_mode == "circular" and padded != lengths:
        # The borders are copied within the padded map: their gradient is a map of zeros, and its sum another.
        steps.append(Step((1,), size, passes=True, view=True, scratch=2 * size))
    conv_input = len(steps)
    steps.append(Step((conv_input,), prod(output), saves=(conv_input,), params=params, casts=True))
    return tuple(steps)


def _linear(linear: Linear, inputs: tuple[Shape, ...], output: Shape) -> tuple[Step, ...]:
    params = _params(linear, inputs[0], output, linear.bias)
    return (Step((0,), prod(output), saves=(0,), params=params, casts=True),)


def _params(operation: Conv | Linear, before: Shape, after: Shape, bias: bool) -> tuple[int, ...]:
    total = operation_cost(operation, before, after).params
    return (total - after[0], after[0]) if bias else (total,)


def _batch_norm(norm: BatchNorm, inputs: tuple[Shape, ...], output: Shape) -> tuple[Step, ...]:
    channels = output[0]
    params = (channels, channels) if norm.affine else ()
    return (Step((0,), prod(output), saves=(0,), statistics=2 * channels, params=params),)


def _layer_norm(norm: LayerNorm, inputs: tuple[Shape, ...], output: Shape) -> tuple[Step, ...]:
    channels = output[0]
    params = (channels, channels) if norm.affine else ()
    # A mean and a deviation for each position, in float32.
    return (Step((0,), prod(output), saves=(0,), saved_bytes=8 * prod(output[1:]), params=params),)


def _local_response_norm(norm: LocalResponseNorm, inputs: tuple[Shape, ...], output: Shape) -> tuple[Step, ...]:
    size = prod(output)
    padded = (output[0] + norm.size - 1) * prod(output[1:])
    return (
        Step((0,), size, saves=(0,), scratch=size),
        Step((1,), padded),
        Step((2,), size, saves=(2,)),
        Step((3,), size),
        Step((4,), size, passes=True),
        Step((5,), size, saves=(5,), scratch=size),
        Step((0, 6), size, saves=(0, 6), scratch=2 * size),
    )


def _pool(pool: Pool, inputs: tuple[Shape, ...], output: Shape) -> tuple[Step, ...]:
    indices = BYTES_PER_COUNTER * prod(output) if pool.kind == "max" else 0
    return (Step((0,), prod(output), saves=(0,), saved_bytes=indices),)


def _global_pool(pool: GlobalPool, inputs: tuple[Shape, ...], output: Shape) -> tuple[Step, ...]:
    if pool.kind == "average":
        # A mean, which keeps nothing.
        return (Step((0,), prod(output)),)
    return (Step((0,), prod(output), saves=(0,), saved_bytes=BYTES_PER_COUNTER * prod(output)),)


def _adaptive_pool(pool: AdaptivePool, inputs: tuple[Shape, ...], output: Shape) -> tuple[Step, ...]:
    indices = BYTES_PER_COUNTER * prod(output) if pool.kind == "max" else 0
    return (Step((0,), prod(output), saves=(0,), saved_bytes=indices),)


def _embedding(embedding: Embedding, inputs: tuple[Shape, ...], output: Shape) -> tuple[Step, ...]:
    indices = BYTES_PER_COUNTER * prod(inputs[0])
    return (Step((), prod(output), saved_bytes=indices, params=(embedding.rows * embedding.features,)),)


def _dropout(dropout: Dropout, inputs: tuple[Shape, ...], output: Shape) -> tuple[Step, ...]:
    if dropout.probability == 0.0:
        return _view(dropout, inputs, output)
    size = prod(output)
    # The noise is of the type of what it scales.
    return (Step((), size), Step((0, 1), size, saves=(1,)))


def _add(add: Add, inputs: tuple[Shape, ...], output: Shape) -> tuple[Step, ...]:
    count = len(inputs)
    firsts = (0, *range(count, 2 * count - 2))
    return tuple(
        Step((first, other), prod(output), passes=True) for first, other in zip(firsts, range(1, count), strict=True)
    )


def _multiply(multiply: Multiply, inputs: tuple[Shape, ...], output: Shape) -> tuple[Step, ...]:
    count = len(inputs)
    steps = []
    first, shape = 0, inputs[0]
    for other in range(1, count):
        smaller, shape = sorted((shape, inputs[other]), key=prod)
        # The gradient of a gate is summed from one of the whole map.
        scratch = prod(shape) if smaller != shape else 0
        steps.append(Step((first, other), prod(shape), saves=(first, other), scratch=scratch))
        first = count + other - 1
    return tuple(steps)


def _concat(concat: Concat, inputs: tuple[Shape, ...], output: Shape) -> tuple[Step, ...]:
    return (Step(tuple(range(len(inputs))), prod(output), passes=True),)


def _channel_shuffle(shuffle: ChannelShuffle, inputs: tuple[Shape, ...], output: Shape) -> tuple[Step, ...]:
    if shuffle.groups in (1, output[0]):
        return _view(shuffle, inputs, output)
    return (Step((0,), prod(output)),)


def _channel_slice(channels: ChannelSlice, inputs: tuple[Shape, ...], output: Shape) -> tuple[Step, ...]:
    # The gradient of the other channels is zeros that are made.
    return (Step((0,), prod(output), view=True),)


STEPS_RULES: dict[type[Operation], StepsRule] = {
    Identity: _view,
    Zero: _keeps_nothing,
    Conv: _conv,
    Pool: _pool,
    GlobalPool: _global_pool,
    AdaptivePool: _adaptive_pool,
    Upsample: _keeps_nothing,
    Linear: _linear,
    Embedding: _embedding,
    BatchNorm: _batch_norm,
    LayerNorm: _layer_norm,
    LocalResponseNorm: _local_response_norm,
    Activation: _activation,
    Dropout: _dropout,
    Flatten: _view,
    ChannelShuffle: _channel_shuffle,
    ChannelSlice: _channel_slice,
    Add: _add,
    Multiply: _multiply,
    Concat: _concat,
}
"""The steps of every operation but `Input`, whose values come from outside."""


def steps_of(operation: Operation, input_shapes: tuple[Shape, ...], output_shape: Shape) -> tuple[Step, ...]:
    """The steps of one operation that is not a cell; the last one makes its result."""
    return STEPS_RULES[type(operation)](operation, input_shapes, output_shape)
