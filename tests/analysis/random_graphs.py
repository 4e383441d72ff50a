"""Random architectures with everything in them, and architectures with some of their operations replaced."""

import random
from collections.abc import Callable

from search_spaces import Architecture
from search_spaces.errors import InvalidArchitecture
from search_spaces.graph import Cell, Graph, Node
from search_spaces.ops import (
    ACTIVATION_KINDS,
    PADDING_MODES,
    UPSAMPLE_KINDS,
    Activation,
    AdaptivePool,
    Add,
    BatchNorm,
    ChannelShuffle,
    ChannelSlice,
    Concat,
    Conv,
    Dropout,
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

LINEAR_INSTEAD: dict[type[Operation], Callable[[Operation], Operation]] = {
    Activation: lambda operation: Identity(),
    BatchNorm: lambda operation: Identity(),
    LayerNorm: lambda operation: Identity(),
    LocalResponseNorm: lambda operation: Identity(),
    Dropout: lambda operation: Identity(),
    Pool: lambda pool: Pool("average", pool.kernel, pool.stride, pool.padding, ceil_mode=pool.ceil_mode),
    GlobalPool: lambda operation: GlobalPool("average"),
    AdaptivePool: lambda pool: AdaptivePool("average", pool.output_size),
}
"""What stands for an operation in a network whose gradient shows all that it sees: with weights that are all positive
nothing cancels, and with neither rectifiers nor maxima nothing is switched off."""


def random_architecture(rng: random.Random, *, axes: int = 2, most_nodes: int = 12) -> Architecture:
    """A random network on a small input: uneven paddings, strides, dilations, joins and nested cells."""
    shape = (rng.randint(1, 4), *(rng.randint(5, 9) for _ in range(axes)))
    while True:
        body = _random_body(rng, (shape,), most_nodes=most_nodes, nesting=2)
        if body is not None:
            return Architecture(_with_head(rng, body, shape), (shape,))


def replace_operations(
    architecture: Architecture, table: dict[type[Operation], Callable[[Operation], Operation]]
) -> Architecture:
    """The same network with the operations of the types in `table` replaced, at any depth."""

    def replace(operation: Operation) -> Operation:
        if isinstance(operation, Cell):
            return Cell(operation.family, graph(operation.body))
        return table[type(operation)](operation) if type(operation) in table else operation

    def graph(old: Graph) -> Graph:
        nodes = tuple(Node(node.name, replace(node.operation), node.inputs) for node in old.nodes)
        return Graph(nodes, old.outputs)

    return Architecture(graph(architecture.graph), architecture.input_shapes)


def _with_head(rng: random.Random, body: Graph, shape: Shape) -> Graph:
    nodes = list(body.nodes)
    end = body.outputs[0][1]
    heads = ([], [GlobalPool(rng.choice(("average", "max")))], [Flatten(), Linear(3, bias=rng.random() < 0.5)])
    for operation in rng.choice(heads):
        nodes.append(Node(f"head{len(nodes)}", operation, (end,)))
        end = len(nodes) - 1
    return Graph(tuple(nodes), (("y", end),))


def _random_body(rng: random.Random, input_shapes: tuple[Shape, ...], *, most_nodes: int, nesting: int) -> Graph | None:
    nodes = [Node(f"x{number}", Input()) for number in range(len(input_shapes))]
    shapes = list(input_shapes)
    for _ in range(rng.randint(1, most_nodes)):
        operation, inputs = _random_step(rng, shapes, nesting)
        try:
            shape = operation.output_shape(*(shapes[source] for source in inputs))
        except InvalidArchitecture:
            continue
        nodes.append(Node(f"n{len(nodes)}", operation, inputs))
        shapes.append(shape)
    return _only_used(nodes) if len(nodes) > len(input_shapes) else None


def _random_step(rng: random.Random, shapes: list[Shape], nesting: int) -> tuple[Operation, tuple[int, ...]]:
    # Late values are read more often, so that the graph gets deep as well as wide.
    source = max(rng.randrange(len(shapes)) for _ in range(2))
    shape = shapes[source]
    axes = len(shape) - 1
    kind = rng.choice(
        (
            "conv",
            "conv",
            "conv",
            "pool",
            "adaptive",
            "join",
            "join",
            "gate",
            "excitation",
            "upsample",
            "simple",
            "simple",
            "cell",
        )
    )
    if kind == "conv":
        return _random_conv(rng, shape), (source,)
    if kind == "pool":
        kernel = tuple(rng.randint(1, 3) for _ in range(axes))
        stride = tuple(rng.randint(1, 2) for _ in range(axes))
        padding = tuple(rng.randint(0, size // 2) for size in kernel)
        pool = Pool(
            rng.choice(("average", "max")),
            kernel,
            stride,
            padding,
            count_include_pad=rng.random() < 0.5,
            ceil_mode=rng.random() < 0.3,
        )
        return pool, (source,)
    if kind == "adaptive":
        return AdaptivePool(rng.choice(("average", "max")), tuple(rng.randint(1, 9) for _ in range(axes))), (source,)
    if kind == "upsample" and max(shape[1:], default=9) < 9:
        return Upsample(rng.randint(1, 3), rng.choice(UPSAMPLE_KINDS)), (source,)
    if kind == "gate":
        gates = (shape, (shape[0], *(1 for _ in shape[1:])))
        fitting = [index for index, other in enumerate(shapes) if other in gates]
        if gates[1] not in shapes and rng.random() < 0.5:
            return GlobalPool(rng.choice(("average", "max"))), (source,)
        return Multiply(), (source, *(rng.choice(fitting) for _ in range(rng.randint(1, 2))))
    if kind == "excitation" and axes:
        return _excitation(rng, shape), (source,)
    if kind == "join":
        fitting = [index for index, other in enumerate(shapes) if other[1:] == shape[1:]]
        joined = tuple(rng.choice(fitting) for _ in range(rng.randint(2, 3)))
        return (Add() if rng.random() < 0.6 else Concat()), joined
    if kind == "cell" and nesting:
        inputs = tuple(rng.randrange(len(shapes)) for _ in range(rng.randint(1, 2)))
        body = _random_body(rng, tuple(shapes[index] for index in inputs), most_nodes=5, nesting=nesting - 1)
        if body is not None and all(body.consumers()[index] for index in body.inputs):
            return Cell("random", body), inputs
    simple = (
        Identity(),
        Zero(),
        BatchNorm(affine=rng.random() < 0.5),
        LayerNorm(affine=rng.random() < 0.5),
        Activation(rng.choice(ACTIVATION_KINDS)),
        LocalResponseNorm(rng.randint(1, 6)),
        ChannelShuffle(rng.choice((1, shape[0], 2))),
        ChannelSlice(0, rng.randint(1, shape[0])),
        Dropout(0.3),
    )
    return rng.choice(simple), (source,)


def _excitation(rng: random.Random, shape: Shape) -> Cell:
    """Squeeze-and-excitation: each channel scaled by what two layers make of the averages of all."""
    one = (1,) * (len(shape) - 1)
    nodes = (
        Node("x", Input()),
        Node("pool", GlobalPool(), (0,)),
        Node("squeeze", Conv(rng.randint(1, 3), one, bias=True), (1,)),
        Node("activation", Activation(), (2,)),
        Node("excite", Conv(shape[0], one, bias=True), (3,)),
        Node("sigmoid", Activation("sigmoid"), (4,)),
        Node("scale", Multiply(), rng.choice(((0, 5), (5, 0)))),
    )
    return Cell("squeeze_excitation", Graph(nodes, (("y", 6),)))


def _random_conv(rng: random.Random, shape: Shape) -> Conv:
    axes = len(shape) - 1
    groups = rng.choice((1, 1, shape[0]))
    return Conv(
        groups * rng.randint(1, 3),
        tuple(rng.randint(1, 3) for _ in range(axes)),
        stride=tuple(rng.randint(1, 2) for _ in range(axes)),
        padding=tuple((rng.randint(0, 2), rng.randint(0, 2)) for _ in range(axes)),
        dilation=tuple(rng.randint(1, 2) for _ in range(axes)),
        groups=groups,
        bias=rng.random() < 0.3,
        padding_mode=rng.choice(("zeros", *PADDING_MODES)),
    )


def _only_used(nodes: list[Node]) -> Graph:
    """The graph whose output is the last node, without the nodes that it does not need."""
    used = {len(nodes) - 1}
    for index in reversed(range(len(nodes))):
        if index in used:
            used.update(nodes[index].inputs)
    kept = [index for index, node in enumerate(nodes) if index in used or isinstance(node.operation, Input)]
    position = {old: new for new, old in enumerate(kept)}
    renumbered = (
        Node(nodes[old].name, nodes[old].operation, tuple(position[source] for source in nodes[old].inputs))
        for old in kept
    )
    return Graph(tuple(renumbered), (("y", len(kept) - 1),))
