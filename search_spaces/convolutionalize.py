"""The convolutional twin of a network: its dense head turned into convolutions, so that it slides over larger inputs.

A linear layer behind a `Flatten` reads a whole feature map, which a convolution with a kernel of that map's size does
too, with the same weights; further linear layers become 1x1 convolutions. A global pool before them becomes a pool of
the size that its map has, with stride 1. Global pools that feed a gate stay global, for the gate scales a map that is
larger than one position. At the input size that the architecture knows the outputs are equal, with spatial axes of
size 1 behind them; on a larger input there is one output for each place of the window.

Nodes keep their names, so weights go over by name (`search_spaces.torch_module.twin_state`).

References:
    Sermanet, Eigen, Zhang, Mathieu, Fergus, LeCun: OverFeat. ICLR 2014 (section 3.5).
    Long, Shelhamer, Darrell: Fully Convolutional Networks for Semantic Segmentation. CVPR 2015 (section 3.1).
"""

from collections.abc import Mapping
from math import prod

from search_spaces.errors import InvalidArchitecture
from search_spaces.graph import Cell, Graph, Node, flatten, node_shapes
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
    Flatten,
    GlobalPool,
    Identity,
    LayerNorm,
    Linear,
    Multiply,
    Operation,
    Pool,
    Shape,
    Zero,
)

_ELEMENTWISE = (Identity, Activation, Dropout, Add, Multiply)
_BY_FEATURE = (BatchNorm, LayerNorm, Concat, ChannelShuffle, ChannelSlice, Zero)
"""What treats the elements of a vector as features: the same on a map of one position, not on a larger one."""


def convolutionalize(graph: Graph, input_shapes: tuple[Shape, ...]) -> Graph:
    """The twin of a graph on inputs of these shapes; the graph itself where it has no dense head.

    Raises:
        InvalidArchitecture: some operation has no convolutional form; the message names the node.
    """
    replaced = _replacements(flatten(graph), input_shapes)
    return _rewrite(graph, "", replaced) if any(isinstance(op, Conv) for op in replaced.values()) else graph


def _replacements(graph: Graph, input_shapes: tuple[Shape, ...]) -> dict[str, Operation]:
    """The operations that change, by the path of their node."""
    shapes = node_shapes(graph, input_shapes)
    to_head = _leads_to_one_position(graph, shapes)
    replaced: dict[str, Operation] = {}
    folded: dict[int, Shape] = {}
    """The shapes of the maps that the vectors of the head are now."""
    for index, node in enumerate(graph.nodes):
        operation = node.operation
        maps = {folded[source] for source in node.inputs if source in folded}
        if isinstance(operation, GlobalPool | AdaptivePool) and to_head[index]:
            replaced[node.name] = _window(node.name, operation, shapes[node.inputs[0]])
        elif isinstance(operation, Flatten):
            folded[index] = folded.get(node.inputs[0], shapes[node.inputs[0]])
            if len(folded[index]) > 1:
                replaced[node.name] = Identity()
            else:
                del folded[index]
        elif maps:
            if len(maps) > 1 and not isinstance(operation, Concat):
                raise _no_form(node, "it joins vectors of different maps")
            replaced[node.name], folded[index] = _on_map(node, maps.pop(), shapes[index])
    return replaced


def _on_map(node: Node, before: Shape, vector: Shape) -> tuple[Operation, Shape]:
    """What computes on a map of shape `before` what the node computes on the vector, and the map that comes out."""
    operation = node.operation
    ones = (1,) * (len(before) - 1)
    if isinstance(operation, Linear):
        return Conv(operation.out_features, before[1:], bias=operation.bias), (operation.out_features, *ones)
    if isinstance(operation, _ELEMENTWISE):
        return operation, before
    if not isinstance(operation, _BY_FEATURE):
        raise _no_form(node, "a vector is all that it reads")
    if prod(before[1:]) > 1:
        raise _no_form(node, f"it reads the elements of a {'x'.join(map(str, before))} map as features")
    after = (*vector, *ones)
    return (Zero(after) if isinstance(operation, Zero) and operation.shape else operation), after


def _window(name: str, pool: GlobalPool | AdaptivePool, shape: Shape) -> Operation:
    """The sliding pool that does on a map of this shape what `pool` does."""
    lengths = shape[1:]
    if isinstance(pool, GlobalPool):
        return Pool(pool.kind, lengths, stride=(1,) * len(lengths))
    if any(length % size for length, size in zip(lengths, pool.output_size, strict=True)):
        raise InvalidArchitecture(
            f"node {name!r} (AdaptivePool) has windows of several sizes on a map of {lengths}, so nothing slides in its "
            f"place; choose an input whose map is a multiple of {pool.output_size}"
        )
    steps = tuple(length // size for length, size in zip(lengths, pool.output_size, strict=True))
    return Identity() if max(steps) == 1 else Pool(pool.kind, steps, stride=steps)


def _leads_to_one_position(graph: Graph, shapes: tuple[Shape, ...]) -> list[bool]:
    """For each node whether nothing behind its own result is a gated map: an SE block's pool is no part of the head."""
    result = [True] * len(graph.nodes)
    readers = graph.consumers()
    for index in reversed(range(len(graph.nodes))):
        result[index] = all(
            result[reader]
            and not (isinstance(graph.nodes[reader].operation, Multiply) and prod(shapes[reader][1:]) > 1)
            for reader in readers[index]
        )
    return result


def _rewrite(graph: Graph, prefix: str, replaced: Mapping[str, Operation]) -> Graph:
    nodes = []
    for node in graph.nodes:
        path = prefix + node.name
        operation = node.operation
        if isinstance(operation, Cell):
            body = _rewrite(operation.body, f"{path}.", replaced)
            operation = operation if body == operation.body else Cell(operation.family, body)
        nodes.append(Node(node.name, replaced.get(path, operation), node.inputs))
    return Graph(tuple(nodes), graph.outputs)


def _no_form(node: Node, why: str) -> InvalidArchitecture:
    kind = type(node.operation).__name__
    return InvalidArchitecture(
        f"node {node.name!r} ({kind}) has no convolutional form: {why}; leave it out of the head"
    )
