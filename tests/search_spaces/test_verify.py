"""Every rule of a valid graph, broken once, is reported with its name and the node."""

import pytest
from hypothesis import given, settings

from search_spaces import Architecture
from search_spaces.builder import GraphBuilder
from search_spaces.errors import InvalidArchitecture
from search_spaces.graph import Cell, Graph, Node, flatten, node_shapes, walk
from search_spaces.ops import (
    Activation,
    AdaptivePool,
    Add,
    BatchNorm,
    Concat,
    Conv,
    GlobalPool,
    Identity,
    Input,
    LayerNorm,
    Linear,
    LocalResponseNorm,
    Operation,
    Pool,
    Shape,
    Upsample,
    Zero,
    conv2d,
    pool2d,
)
from search_spaces.verify import RULES, verify, verify_graph
from tests.strategies import architectures

X = Node("x", Input())
RELU = Node("relu", Activation(), (0,))


def graph(*nodes: Node, outputs: tuple[tuple[str, int], ...] | None = None) -> Graph:
    return Graph(nodes, (("y", len(nodes) - 1),) if outputs is None else outputs)


BROKEN: dict[str, list[tuple[Graph, str]]] = {
    "order": [
        (graph(X, Node("late", Activation(), (2,)), Node("last", Identity(), (1,))), "late"),
        (graph(X, Node("itself", Activation(), (1,))), "itself"),
        (graph(X, Node("before", Activation(), (-1,))), "before"),
        (graph(X, RELU, outputs=(("far", 7),)), "far"),
    ],
    "ends": [
        (graph(Node("constant", Activation(), ())), "no input"),
        (graph(X, RELU, outputs=()), "no output"),
    ],
    "names": [
        (graph(X, Node("x", Activation(), (0,))), "x"),
        (graph(X, Node("two words", Activation(), (0,))), "two words"),
        (graph(X, Node("class", Activation(), (0,))), "class"),
        (graph(X, Node("a.1", Activation(), (0,))), "a.1"),
        (graph(X, Node("", Activation(), (0,))), "''"),
        (graph(X, Node("a", Activation(), (0,)), Node("a.b", Activation(), (1,))), "'a'"),
        (graph(X, RELU, outputs=(("y", 1), ("y", 0))), "y"),
    ],
    "arity": [
        (graph(X, Node("lonely", Add(), (0,))), "lonely"),
        (graph(X, Node("crowded", Activation(), (0, 0))), "crowded"),
        (graph(X, Node("cell", Cell("c", graph(X, RELU)), (0, 0))), "cell"),
        (graph(X, Node("late", Input(), (0,))), "late"),
    ],
    "dangling": [
        (graph(X, RELU, Node("unused", Activation(), (0,)), outputs=(("y", 1),)), "unused"),
    ],
    "reached": [],
    "cells": [
        (graph(X, Node("cell", Cell("c", graph(X, RELU, outputs=(("y", 1), ("z", 0)))), (0,))), "cell"),
        (graph(X, Node("cell", Cell("c", graph(X, Node("lonely", Add(), (0,)))), (0,))), "lonely"),
        (graph(X, Node("cell", Cell("c", graph(X, Node("idle", Input()), RELU)), (0, 0))), "idle"),
    ],
}


@pytest.mark.parametrize(
    ("rule", "broken", "culprit"), [(rule, *case) for rule, cases in BROKEN.items() for case in cases]
)
def test_a_broken_rule_is_reported_with_its_name_and_the_node(rule: str, broken: Graph, culprit: str) -> None:
    with pytest.raises(InvalidArchitecture, match=f"rule {rule}: .*{culprit}"):
        verify_graph(broken)


def test_every_rule_is_tried() -> None:
    # No operation without inputs exists but Input itself, so no graph can break `reached` after `arity` has passed.
    assert set(BROKEN) == set(RULES)
    disconnected = graph(X, Node("constant", Activation(), ()), outputs=(("y", 1), ("z", 0)))
    assert RULES["reached"](disconnected) == "output 'y' is reached from no input; let it read one"


@pytest.mark.parametrize(
    ("operation", "shapes"),
    [
        (conv2d(4, 3), ((5,),)),
        (conv2d(4, 3, groups=2), ((3, 4, 4),)),
        (Conv(4, (5, 5)), ((3, 4, 4),)),
        (pool2d("max", 5), ((3, 4, 4),)),
        (Linear(4), ((3, 4, 4),)),
        (Add(), ((3, 4, 4), (4, 4, 4))),
        (Concat(), ((3, 4, 4), (3, 4, 5))),
    ],
)
def test_shapes_that_do_not_agree_are_reported_with_the_node(operation: object, shapes: tuple[Shape, ...]) -> None:
    builder = GraphBuilder()
    inputs = [builder.input("x") for _ in shapes]
    made = builder.graph(builder.add("culprit", operation, *inputs))  # type: ignore[arg-type]
    with pytest.raises(InvalidArchitecture, match="rule shapes: node 'culprit'"):
        verify(made, shapes)


@pytest.mark.parametrize("shapes", [(), ((1, 4, 4), (1, 4, 4))])
def test_every_input_needs_one_shape(shapes: tuple[Shape, ...]) -> None:
    with pytest.raises(InvalidArchitecture, match="rule inputs"):
        verify(graph(X, RELU), shapes)


@pytest.mark.parametrize("shape", [(), (0, 4), (1, -1), (1, 1, 1, 1)])
def test_sizes_are_positive(shape: Shape) -> None:
    with pytest.raises(InvalidArchitecture, match="positive"):
        Architecture(graph(X, RELU), (shape,))


HUGE = 1 << 31


@pytest.mark.parametrize(
    ("operations", "culprit"),
    [
        ([Upsample(HUGE), pool2d("max", HUGE)], "large0"),
        ([Conv(HUGE, (1, 1)), Upsample(HUGE), GlobalPool()], "large1"),
        ([AdaptivePool("max", (HUGE, HUGE)), AdaptivePool("max", (1, 1))], "large0"),
    ],
)
def test_a_value_that_no_tensor_can_hold_is_reported_with_the_node(operations: list[Operation], culprit: str) -> None:
    inner = GraphBuilder()
    cell = inner.cell("huge", inner.chain(inner.input(), *[(f"large{n}", each) for n, each in enumerate(operations)]))
    builder = GraphBuilder()
    made = builder.graph(builder.add("cell", cell, builder.input()))
    with pytest.raises(
        InvalidArchitecture, match=f"rule shapes: node 'cell': node '{culprit}' gives .* make it smaller"
    ):
        Architecture(made, ((4, 1, 1),))
    with pytest.raises(InvalidArchitecture, match=r"rule shapes: input shape .* than a tensor can hold"):
        Architecture(graph(X, RELU), ((HUGE, HUGE, HUGE),))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Conv(0, (3,)),
        lambda: Conv(4, (3,), groups=3),
        lambda: Conv(4, ()),
        lambda: Conv(4, (3, 3, 3)),
        lambda: Conv(4, (3,), stride=(0,)),
        lambda: Conv(4, (3,), padding=((-1, 0),)),
        lambda: Pool("median", (2,)),
        lambda: Pool("max", (2,), padding=(2,)),
        lambda: Activation("rleu"),
        lambda: Linear(0),
        lambda: Zero((4, 0)),
        lambda: Zero((1, 2, 3, 4)),
        lambda: BatchNorm(epsilon=float("nan")),
        lambda: LayerNorm(epsilon=-1e-5),
        lambda: LocalResponseNorm(2, alpha=float("inf")),
    ],
)
def test_an_operation_that_cannot_be_is_refused(make: object) -> None:
    with pytest.raises(InvalidArchitecture):
        make()  # type: ignore[operator]


def test_the_builder_makes_names_unique() -> None:
    builder = GraphBuilder()
    made = builder.graph(builder.chain(builder.input(), *[("relu", Activation())] * 3))
    assert [node.name for node in made.nodes] == ["x", "relu", "relu2", "relu3"]


def test_the_builder_refuses_an_invalid_graph() -> None:
    builder = GraphBuilder()
    value = builder.input()
    builder.add("forgotten", Activation(), value)
    with pytest.raises(InvalidArchitecture, match="forgotten"):
        builder.graph(builder.add("relu", Activation(), value))


@settings(deadline=None, max_examples=50)
@given(architectures(inputs=2, outputs=2))
def test_flattening_keeps_the_leaves_their_paths_and_the_shapes(architecture: Architecture) -> None:
    flat = architecture.flatten()
    leaves = [(path, node.operation) for path, node in walk(architecture.graph)]
    assert leaves == [(node.name, node.operation) for node in flat.graph.nodes]
    assert flat.output_shapes == architecture.output_shapes
    assert flatten(flat.graph) == flat.graph
    assert len(node_shapes(flat.graph, flat.input_shapes)) == len(leaves)
    assert architecture.to_networkx().number_of_nodes() == len(leaves)
