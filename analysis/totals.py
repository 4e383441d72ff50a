"""All figures of an operation on inputs of given shapes, each cell worked out once for each shape it meets.

Cost, storage and path are each an algebra of two parts in its own file: a rule for one operation, and a rule that
makes the value of a graph out of those of its nodes. This file walks the nesting and remembers.
"""

from functools import lru_cache
from typing import NamedTuple

from analysis.cost import Cost, graph_cost, operation_cost, repeated_cost
from analysis.memory import HELD_BY_CALLER, Storage, graph_storage, operation_storage, repeated_storage
from analysis.receptive_field import ITSELF, Path, graph_paths, operation_path
from search_spaces.graph import Cell, Graph, Wiring, node_shapes
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


def node_totals(graph: Graph, shapes: tuple[Shape, ...], element_bytes: int) -> list[Totals]:
    """The figures of every node, where `shapes` are those of the nodes; inputs, which read nothing, cost nothing."""
    parts = []
    before: Operation | None = None
    arrived: tuple[Shape, ...] = ()
    part = INPUT_TOTALS
    for _, operation, inputs in graph.nodes:
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
        parts.append(part)
    return parts


def graph_totals(graph: Graph, input_shapes: tuple[Shape, ...], element_bytes: int) -> Totals:
    """The figures of a graph on inputs of these shapes, whose elements take so many bytes; the graph remembers them."""
    key = (input_shapes, element_bytes)
    totals: Totals | None = graph.known.get(key)
    if totals is None:
        shapes = node_shapes(graph, input_shapes)
        parts = node_totals(graph, shapes, element_bytes)
        if _is_repetition(graph, parts):
            cost, storage = repeated_cost(parts[1].cost, len(parts) - 1), repeated_storage(parts[1].storage)
        else:
            cost = graph_cost([part.cost for part in parts])
            storage = graph_storage(graph, [part.storage for part in parts])
        totals = Totals(cost, storage, graph_paths(graph, shapes, tuple([part.paths for part in parts])))
        graph.known[key] = totals
    return totals


def _is_repetition(graph: Graph, parts: list[Totals]) -> bool:
    """Whether the graph is a chain of two or more equal nodes, none of which is a view: a stage of equal cells."""
    if len(parts) < 3 or parts[1] is not parts[-1] or parts[1].storage.view_of is not None:
        return False
    is_chain = graph.wiring == _chain(len(parts)) and graph.outputs == ((graph.outputs[0][0], len(parts) - 1),)
    return is_chain and parts.count(parts[1]) == len(parts) - 1


@lru_cache(maxsize=256)
def _chain(length: int) -> Wiring:
    return ((), *[(index,) for index in range(length - 1)])
