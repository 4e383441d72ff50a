"""Networks with slots: what fills them is what is built by hand, and what must not fill them is refused."""

import pickle
import random

import pytest

from search_spaces.architecture import Architecture
from search_spaces.builder import GraphBuilder
from search_spaces.errors import InvalidArchitecture, UserError
from search_spaces.graph import Cell, Graph, Node, node_shapes
from search_spaces.ops import Activation, Add, Identity, Input, Operation, Shape, Zero, conv2d
from search_spaces.slots import Choice, Slots
from search_spaces.spaces.nasbench201 import NasBench201

OPTIONS = (("conv", conv2d(2, 3)), ("identity", Identity()), ("zero", Zero()))


def network(*operations: Operation) -> Architecture:
    """A cell of the operations one behind the other, twice with a sum over it, on one value."""
    inner = GraphBuilder()
    cell = inner.cell("cell", inner.chain(inner.input(), *[(f"step{n}", op) for n, op in enumerate(operations)]))
    builder = GraphBuilder()
    x = builder.input()
    end = builder.add("sum", Add(), builder.chain(x, ("first", cell), ("second", cell)), x)
    return Architecture(builder.graph(end), ((2, 8, 8),))


def known_shapes(graph: Graph, input_shapes: tuple[Shape, ...]) -> None:
    """What a filled graph knows of shapes is what a graph that knows nothing works out, in every cell."""
    shapes = node_shapes(graph, input_shapes)
    assert shapes == node_shapes(Graph(graph.nodes, graph.outputs), input_shapes)
    for node in graph.nodes:
        if isinstance(node.operation, Cell):
            known_shapes(node.operation.body, tuple(shapes[source] for source in node.inputs))


def test_a_filled_network_is_the_one_built_by_hand() -> None:
    slots = Slots(network(Choice("a", OPTIONS), Activation(), Choice("b", OPTIONS)))
    assert [domain.name for domain in slots.domains] == ["a", "b"]
    for first, one in OPTIONS:
        for second, other in OPTIONS:
            made = slots.fill([first, second])
            by_hand = network(one, Activation(), other)
            assert made == by_hand
            assert hash(made) == hash(by_hand)
            assert made.key == by_hand.key
            assert pickle.loads(pickle.dumps(made)) == by_hand


def test_what_a_filled_network_knows_is_true() -> None:
    space = NasBench201()
    for seed in range(20):
        made = space.sample(rng=random.Random(seed))
        known_shapes(made.graph, made.input_shapes)
        assert Architecture.from_json(made.to_json()) == made


def test_a_cell_that_stands_twice_is_one_value() -> None:
    made = Slots(network(Choice("a", OPTIONS))).fill(["conv"])
    assert made.graph.nodes[1].operation is made.graph.nodes[2].operation


def test_an_answer_that_changes_the_shape_is_refused() -> None:
    with pytest.raises(InvalidArchitecture, match=r"first.*a: the output shape must not depend on the answer"):
        network(Choice("a", (*OPTIONS, ("wider", conv2d(4, 3)))))


def test_an_option_of_two_inputs_is_refused() -> None:
    with pytest.raises(InvalidArchitecture, match="a=sum: rule arity"):
        Choice("a", (("sum", Add()),))


def test_an_option_with_a_broken_cell_is_refused() -> None:
    idle = Graph((Node("x", Input()), Node("y", Identity(), (0,)), Node("unused", Identity(), (0,))), (("y", 1),))
    with pytest.raises(InvalidArchitecture, match="a=idle: rule cells"):
        Choice("a", (("idle", Cell("idle", idle)),))


def test_a_network_without_slots_is_refused() -> None:
    with pytest.raises(UserError, match="no slot"):
        Slots(network(Activation()))


def test_one_decision_has_one_set_of_answers() -> None:
    with pytest.raises(UserError, match="two slots ask 'a'"):
        Slots(network(Choice("a", OPTIONS), Choice("a", OPTIONS[:2])))


def test_answers_must_differ() -> None:
    with pytest.raises(UserError, match="distinct"):
        Slots(network(Choice("a", (("conv", Identity()), ("conv", Zero())))))
