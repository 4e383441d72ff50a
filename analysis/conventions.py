"""What other tools say a network costs: one table of rules for each of their conventions, worked out from the graph.

The tools disagree because they count different things and give them the same name. A figure here is exactly the one that
the tool says of the network as `search_spaces.to_module` builds it, in evaluation mode and for a batch of 1.

torchinfo, thop and ptflops' own backend look at classes of modules, so of the same network written otherwise they may
say something else: of torchvision's DenseNet-121, whose last average is a function and no module, thop says 51,200 less
and ptflops 100,352 less. What they miss in ours the rules miss too: to ptflops and thop a convolution whose padding is
uneven or not zeros, which is a class of our own, costs nothing (15 % of WaveNet); ptflops counts twice where it watches
both a module and the function that it calls.

Measured against fvcore 0.1.5.post20221221, torchinfo 1.8.0, ptflops 0.7.5 and thop 0.1.1.post2209072238.

References:
    https://github.com/facebookresearch/fvcore/blob/main/docs/flop_count.md
    https://github.com/TylerYep/torchinfo (`LayerInfo.calculate_macs`)
    https://github.com/sovrasov/flops-counter.pytorch (`pytorch_ops.py`, `aten_ops.py`)
    https://github.com/Lyken17/pytorch-OpCounter (`vision/basic_hooks.py`)
"""

from collections.abc import Callable, Iterator
from functools import lru_cache
from math import prod
from typing import Any

from analysis.cost import COST_RULES, FLOPS_PER_MAC, operation_cost
from search_spaces.architecture import Architecture
from search_spaces.errors import unknown_name
from search_spaces.graph import Cell, Graph, node_shapes
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

CONVENTIONS: dict[str, str] = {
    "macs": "multiplications with their addition, in convolutions and linear layers alone, without biases",
    "flops": f"{FLOPS_PER_MAC} for each MAC, as torch's FlopCounterMode says",
    "fvcore": "FLOPs, one for a MAC: MACs, 2 for each element of a batch norm, 5 of a layer norm, 1 of a global average",
    "torchinfo": "mult-adds: MACs, biases, and each parameter of a norm or an embedding once",
    "ptflops": "MACs by backend 'pytorch': with biases, 2 for each element of a batch norm, a ReLU or what is pooled",
    "ptflops-aten": "MACs by backend 'aten': MACs and biases, nothing else",
    "thop": "MACs without biases, 4 for each element of a batch norm, 1 of an average",
}
"""What each convention counts and in what unit, in one line; the tools call one MAC one of their unit, torch's FLOPs two."""

Rule = Callable[[Any, Shape, Shape], int]
"""From an operation, the shape of its first input and the shape of its output to what is counted."""

_FREE_EVERYWHERE = (Input, Identity, Zero, Dropout, Flatten, ChannelShuffle, ChannelSlice, Add, Multiply, Concat)
"""What no tool counts: sums and products are operators of Python, which their hooks do not see."""


def _nothing(operation: Operation, input_shape: Shape, output_shape: Shape) -> int:
    return 0


def _params(operation: Operation, input_shape: Shape, output_shape: Shape) -> int:
    return operation_cost(operation, input_shape, output_shape).params


def _macs(operation: Operation, input_shape: Shape, output_shape: Shape) -> int:
    return operation_cost(operation, input_shape, output_shape).macs


def _flops(operation: Operation, input_shape: Shape, output_shape: Shape) -> int:
    return FLOPS_PER_MAC * _macs(operation, input_shape, output_shape)


def _fvcore(operation: Operation, input_shape: Shape, output_shape: Shape) -> int:
    cost = operation_cost(operation, input_shape, output_shape)
    return cost.macs + cost.fvcore_extra


def _macs_and_biases(operation: Conv | Linear, input_shape: Shape, output_shape: Shape) -> int:
    return _macs(operation, input_shape, output_shape) + (prod(output_shape) if operation.bias else 0)


def _unless_padded(rule: Rule) -> Rule:
    """What a tool says that knows `nn.Conv1d` and `nn.Conv2d` themselves alone.

    A convolution whose padding torch's modules do not have, or pad by themselves, is a class of our own.
    """

    def conv(operation: Conv, input_shape: Shape, output_shape: Shape) -> int:
        plain = operation.padding_mode == "zeros" and all(before == after for before, after in operation.padding)
        return rule(operation, input_shape, output_shape) if plain else 0

    return conv


def _per_input(times: int) -> Rule:
    return lambda operation, input_shape, output_shape: times * prod(input_shape)


def _per_output(times: int) -> Rule:
    return lambda operation, input_shape, output_shape: times * prod(output_shape)


def _ptflops_activation(activation: Activation, input_shape: Shape, output_shape: Shape) -> int:
    # A hook on the module counts, and so does a patch of the function that the module calls.
    hooked = activation.kind in ("relu", "relu6", "gelu")
    patched = activation.kind in ("relu", "gelu", "silu")
    return (hooked + patched) * prod(output_shape)


def _ptflops_batch_norm(norm: BatchNorm, input_shape: Shape, output_shape: Shape) -> int:
    return (2 if norm.affine else 1) * prod(input_shape)


def _ptflops_local_response_norm(norm: LocalResponseNorm, input_shape: Shape, output_shape: Shape) -> int:
    # The function that it calls squares, averages a padded copy over channels, multiplies and adds.
    channels, *lengths = input_shape
    return 3 * prod(input_shape) + (channels + norm.size - 1) * prod(lengths)


def _thop_batch_norm(norm: BatchNorm, input_shape: Shape, output_shape: Shape) -> int:
    return (4 if norm.affine else 2) * prod(input_shape)


def _thop_pool(pool: Pool, input_shape: Shape, output_shape: Shape) -> int:
    return prod(output_shape) if pool.kind == "average" else 0


def _thop_pool_of_all(pool: GlobalPool | AdaptivePool, input_shape: Shape, output_shape: Shape) -> int:
    if pool.kind == "max":
        return 0
    # The number of inputs and outputs together, but for what float division loses: thop cuts that down to an integer.
    kernel = prod(n / m for n, m in zip(input_shape[1:], output_shape[1:], strict=True))
    return int((kernel + 1) * prod(output_shape))


def _thop_upsample(upsample: Upsample, input_shape: Shape, output_shape: Shape) -> int:
    each = {"nearest": 1, "bilinear": 5 if len(input_shape) == 2 else 11}[upsample.kind]
    return each * prod(output_shape)


RULES: dict[str, dict[type[Operation], Rule]] = {
    "macs": dict.fromkeys(COST_RULES, _macs),
    "flops": dict.fromkeys(COST_RULES, _flops),
    "fvcore": dict.fromkeys(COST_RULES, _fvcore),
    "torchinfo": {
        **dict.fromkeys((*_FREE_EVERYWHERE, Pool, GlobalPool, AdaptivePool, Upsample), _nothing),
        **dict.fromkeys((Activation, LocalResponseNorm), _nothing),
        **dict.fromkeys((Conv, Linear), _macs_and_biases),
        **dict.fromkeys((BatchNorm, LayerNorm, Embedding), _params),
    },
    "ptflops": {
        **dict.fromkeys((*_FREE_EVERYWHERE, Embedding, LayerNorm), _nothing),
        **dict.fromkeys((Pool, GlobalPool, AdaptivePool), _per_input(2)),
        Conv: _unless_padded(_macs_and_biases),
        Linear: _macs_and_biases,
        BatchNorm: _ptflops_batch_norm,
        LocalResponseNorm: _ptflops_local_response_norm,
        Activation: _ptflops_activation,
        Upsample: _per_output(2),
    },
    "ptflops-aten": {
        **dict.fromkeys((*_FREE_EVERYWHERE, Pool, GlobalPool, AdaptivePool, Upsample), _nothing),
        **dict.fromkeys((Embedding, BatchNorm, LayerNorm, LocalResponseNorm, Activation), _nothing),
        **dict.fromkeys((Conv, Linear), _macs_and_biases),
    },
    "thop": {
        **dict.fromkeys((*_FREE_EVERYWHERE, Embedding, LayerNorm, LocalResponseNorm, Activation), _nothing),
        **dict.fromkeys((GlobalPool, AdaptivePool), _thop_pool_of_all),
        Conv: _unless_padded(_macs),
        Linear: _macs,
        BatchNorm: _thop_batch_norm,
        Pool: _thop_pool,
        Upsample: _thop_upsample,
    },
}
"""For each convention a rule for every operation that is not a cell; what a tool does not count says so."""


def count(architecture: Architecture, convention: str) -> int:
    """What `architecture` costs by one of the `CONVENTIONS`, for a batch of 1.

    Raises:
        UserError: there is no such convention.
    """
    _check(convention)
    return _graph_count(convention, architecture.graph, architecture.input_shapes)


def layer_counts(architecture: Architecture, convention: str) -> dict[str, int]:
    """What every layer costs by one of the `CONVENTIONS`, by its path as in a report; their sum is what `count` says.

    Raises:
        UserError: there is no such convention.
    """
    _check(convention)
    return dict(_layers(convention, architecture.graph, architecture.input_shapes, ""))


def _check(convention: str) -> None:
    if convention not in CONVENTIONS:
        raise unknown_name("convention", convention, CONVENTIONS)


@lru_cache(maxsize=16_384)
def _operation_count(convention: str, operation: Operation, input_shapes: tuple[Shape, ...]) -> int:
    if isinstance(operation, Cell):
        return _graph_count(convention, operation.body, input_shapes)
    return RULES[convention][type(operation)](operation, input_shapes[0], operation.output_shape(*input_shapes))


def _graph_count(convention: str, graph: Graph, input_shapes: tuple[Shape, ...]) -> int:
    shapes = node_shapes(graph, input_shapes)
    return sum(
        _operation_count(convention, node.operation, tuple([shapes[source] for source in node.inputs]))
        for node in graph.nodes
        if node.inputs
    )


def _layers(convention: str, graph: Graph, input_shapes: tuple[Shape, ...], prefix: str) -> Iterator[tuple[str, int]]:
    shapes = node_shapes(graph, input_shapes)
    for node in graph.nodes:
        inputs = tuple([shapes[source] for source in node.inputs])
        if isinstance(node.operation, Cell):
            yield from _layers(convention, node.operation.body, inputs, f"{prefix}{node.name}.")
        elif inputs:
            yield prefix + node.name, _operation_count(convention, node.operation, inputs)
