"""The short ways that figures of graphs take: each must give what the long way gives."""

import random

import pytest
from random_graphs import random_architecture

from analysis.cost import graph_cost
from analysis.memory import graph_storage
from analysis.receptive_field import graph_paths, unite, whole
from analysis.totals import Totals, graph_totals, node_totals
from search_spaces.architecture import Architecture
from search_spaces.builder import GraphBuilder
from search_spaces.graph import Cell, Graph, node_shapes
from search_spaces.ops import (
    Activation,
    Add,
    BatchNorm,
    Conv,
    Flatten,
    Identity,
    Operation,
    Shape,
    Zero,
    conv2d,
    pool2d,
)

SHAPE = (3, 9, 9)


def long_way(graph: Graph, input_shapes: tuple[Shape, ...]) -> Totals:
    """The algebra of the nodes, with nothing remembered and no chain told apart."""
    shapes = node_shapes(graph, input_shapes)
    parts = node_totals(graph, input_shapes, 4)
    steps = tuple(part.paths for part in parts)
    storage = graph_storage(graph, [part.storage for part in parts])
    return Totals(graph_cost([part.cost for part in parts]), storage, graph_paths(graph, shapes, steps))


def chain(operation: Operation, times: int) -> Graph:
    builder = GraphBuilder()
    return builder.graph(builder.chain(builder.input(), *[("step", operation)] * times))


def unit() -> Cell:
    builder = GraphBuilder()
    x = builder.input()
    inner = builder.chain(x, ("conv", conv2d(7, 3)), ("norm", BatchNorm()), ("back", conv2d(3, 1, bias=True)))
    return builder.cell("unit", builder.add("sum", Add(), inner, x, inner))


@pytest.mark.parametrize(
    "operation",
    [
        unit(),
        conv2d(3, 3),
        Conv(3, (3, 3), padding=((2, 0), (1, 1))),
        pool2d("max", 3, stride=1, padding=1),
        Activation(),
        Identity(),
        Flatten(),
        Zero(),
        Cell("views", chain(Identity(), 2)),
    ],
    ids=lambda operation: type(operation).__name__,
)
@pytest.mark.parametrize("times", [1, 2, 3, 6])
def test_a_repeated_operation_is_that_many_nodes(operation: Operation, times: int) -> None:
    graph = chain(operation, times)
    assert graph_totals(graph, (SHAPE,), 4) == long_way(graph, (SHAPE,))


def test_a_chain_that_ends_as_it_begins_is_no_repetition() -> None:
    builder = GraphBuilder()
    ends = ("first", unit()), ("between", conv2d(3, 5)), ("last", unit())
    graph = builder.graph(builder.chain(builder.input(), *ends))
    assert graph_totals(graph, (SHAPE,), 4) == long_way(graph, (SHAPE,))
    early = Graph(chain(unit(), 3).nodes, (("y", 3), ("early", 1)))
    assert graph_totals(early, (SHAPE,), 4) == long_way(early, (SHAPE,))


@pytest.mark.parametrize("seed", range(100))
def test_what_a_graph_knows_is_what_a_new_one_works_out(seed: int) -> None:
    architecture = random_architecture(random.Random(seed))
    remembered = graph_totals(architecture.graph, architecture.input_shapes, 4)
    assert graph_totals(architecture.graph, architecture.input_shapes, 4) is remembered
    again = Architecture.from_json(architecture.to_json())
    assert long_way(again.graph, again.input_shapes) == remembered


def test_where_strides_differ_the_shape_matters() -> None:
    """Stride 2 and stride 1 join: at which positions the slower window ends depends on how many there are."""
    windows = {}
    for length in (9, 31):
        builder = GraphBuilder()
        x = builder.input()
        # Both give (length - 1) / 2 + 1 positions.
        strided = builder.add("strided", Conv(3, (1,), (2,)), x)
        dilated = builder.add("dilated", Conv(3, (2,), dilation=((length - 1) // 2,)), x)
        graph = builder.graph(builder.add("sum", Add(), strided, dilated))
        (path,) = graph_totals(graph, ((3, length),), 4).paths
        assert path is not None
        (windows[length],) = path.field
    # The dilated branch sees i and i + (length - 1) / 2, the strided one 2 i.
    assert windows == {9: (2, -4, 4), 31: (2, -15, 15)}


def test_shapes_are_not_asked_for_where_strides_agree() -> None:
    assert unite((whole(SHAPE), whole(SHAPE)), None) == whole(SHAPE)
