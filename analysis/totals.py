"""All figures of an operation on inputs of given shapes, each cell worked out once for each shape it meets.

Cost, storage and path are each an algebra of two parts in its own file: a rule for one operation, and a rule that
makes the value of a graph out of those of its nodes. This file walks the nesting and remembers.
"""

from functools import lru_cache
from typing import NamedTuple

from analysis.cost import Cost, graph_cost, operation_cost, repeated_cost
from analysis.memory import HELD_BY_CALLER, Storage, graph_storage, operation_storage, repeated_storage
from analysis.receptive_field import ITSELF, Path, graph_paths, operation_path, repeated_path
from search_spaces.graph import TEMPLATE, Cell, Graph, TemplateMemory, Wiring, node_shapes
from search_spaces.ops import Operation, Shape


class Totals(NamedTuple):
    """What one operation, or a graph of them, costs, holds and sees.

    `paths` has one entry for each input, None where nothing of it reaches the (first) output.
    """

    cost: Cost
    storage: Storage
    paths: tuple[Path | None, ...]


INPUT_TOTALS = Totals(Cost(), HELD_BY_CALLER, ())
"""Inputs read nothing and cost nothing."""


@lru_cache(maxsize=16_384)
def operation_totals(operation: Operation, input_shapes: tuple[Shape, ...], element_bytes: int) -> Totals:
    """The figures of one operation or cell on inputs of these shapes, whose elements take so many bytes."""
    if isinstance(operation, Cell):
        return graph_totals(operation.body, input_shapes, element_bytes)
    output_shape = operation.output_shape(*input_shapes)
    cost = operation_cost(operation, input_shapes[0], output_shape)
    depth = 1 if cost.macs else 0
    paths = [operation_path(operation, shape, depth=depth) for shape in input_shapes]
    return Totals(
        cost,
        operation_storage(operation, input_shapes, output_shape, element_bytes),
        tuple([ITSELF if path == ITSELF else path for path in paths]),
    )


def node_totals(graph: Graph, input_shapes: tuple[Shape, ...], element_bytes: int) -> list[Totals]:
    """The figures of every node of a graph; its inputs, which read nothing, cost nothing."""
    shapes = node_shapes(graph, input_shapes)
    template: TemplateMemory | None = graph.known.get(TEMPLATE)
    remembered: dict[int, Totals] = {}
    if template is not None:
        remembered = template.by_inputs.setdefault((input_shapes, element_bytes), remembered)
    parts = []
    before: Operation | None = None
    arrived: tuple[Shape, ...] = ()
    part = INPUT_TOTALS
    for node in graph.nodes:
        known = remembered.get(id(node))
        if known is not None:
            parts.append(known)
            continue
        _, operation, inputs = node
        if not inputs:
            parts.append(INPUT_TOTALS)
            continue
        given = (shapes[inputs[0]],) if len(inputs) == 1 else tuple([shapes[source] for source in inputs])
        # A stage repeats one cell many times.
        if operation is not before or given != arrived:
            before, arrived = operation, given
            if isinstance(operation, Cell):
                part = graph_totals(operation.body, given, element_bytes)
            else:
                part = operation_totals(operation, given, element_bytes)
        if template is not None and len(parts) not in template.fresh:
            remembered[id(node)] = part
        parts.append(part)
    return parts


def graph_totals(graph: Graph, input_shapes: tuple[Shape, ...], element_bytes: int) -> Totals:
    """The figures of a graph on inputs of these shapes, whose elements take so many bytes; the graph remembers them."""
    key = (input_shapes, element_bytes)
    totals: Totals | None = graph.known.get(key)
    if totals is None:
        shapes = node_shapes(graph, input_shapes)
        totals = _chain_totals(graph, shapes, element_bytes)
        if totals is None:
            costs, storages, paths = zip(*node_totals(graph, input_shapes, element_bytes), strict=True)
            totals = Totals(graph_cost(costs), graph_storage(graph, storages), graph_paths(graph, shapes, paths))
        graph.known[key] = totals
    return totals


def _chain_totals(graph: Graph, shapes: tuple[Shape, ...], element_bytes: int) -> Totals | None:
    """The figures of a chain of one operation, twice or more, that keeps the shape, as a stage is; None of others."""
    nodes = graph.nodes
    times = len(nodes) - 1
    if times < 2 or shapes[0] != shapes[1] or nodes[1].operation is not nodes[times].operation:
        return None
    operation = nodes[1].operation
    if len({id(node.operation) for node in nodes[1:]}) > 1:
        return None
    if graph.wiring != _chain(len(nodes)) or len(graph.outputs) != 1 or graph.outputs[0][1] != times:
        return None
    if isinstance(operation, Cell):
        part = graph_totals(operation.body, (shapes[0],), element_bytes)
    else:
        part = operation_totals(operation, (shapes[0],), element_bytes)
    if part.storage.view_of is not None:
        return None
    path = repeated_path(part.paths[0], len(shapes[0]), times)
    return Totals(repeated_cost(part.cost, times), repeated_storage(part.storage), (path,))


@lru_cache(maxsize=256)
def _chain(length: int) -> Wiring:
    return ((), *[(index,) for index in range(length - 1)])
