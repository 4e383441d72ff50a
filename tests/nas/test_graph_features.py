"""Graph features count what is live, whatever nodes are called and in whatever order they stand."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import search_spaces
from analysis import analyze
from nas.controllers.graph_features import GROUPS, Features, graph_features, live_graph, operation_label
from search_spaces.architecture import Architecture
from search_spaces.builder import GraphBuilder
from search_spaces.choices import RandomChooser
from search_spaces.graph import Cell, Graph, Node
from search_spaces.ops import Add, Concat, Identity, Multiply, Zero, conv2d, pool2d
from tests.contracts.controller import ToySpace

SPACES = (search_spaces.load("nasbench201"), search_spaces.load("cellular"), ToySpace())


def features(architecture: Architecture) -> Features:
    return graph_features(architecture, analyze(architecture.simplified()).figures())


def cell(text: str) -> Features:
    return features(search_spaces.load("nasbench201").from_arch_str(text))


def renamed(graph: Graph, rng: random.Random, *, outermost: bool) -> Graph:
    """The same graph with other names and its nodes in another topological order, at every depth of nesting."""
    waiting = dict(enumerate(graph.nodes))
    place: dict[int, int] = {}
    nodes: list[Node] = []
    while waiting:
        ready = [index for index, node in waiting.items() if all(source in place for source in node.inputs)]
        inputs = [index for index in ready if index in graph.inputs]
        # The order of inputs is part of the meaning, and `profile` goes by the order of the outermost nodes.
        index = inputs[0] if inputs else ready[0] if outermost else rng.choice(ready)
        node = waiting.pop(index)
        operation = node.operation
        if isinstance(operation, Cell):
            operation = Cell(operation.family, renamed(operation.body, rng, outermost=False))
        sources = [place[source] for source in node.inputs]
        if operation.commutative:
            rng.shuffle(sources)
        place[index] = len(nodes)
        nodes.append(Node(f"n{rng.randrange(10**9)}_{len(nodes)}", operation, tuple(sources)))
    return Graph(tuple(nodes), tuple((name, place[index]) for name, index in graph.outputs))


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(SPACES), st.integers(0, 10**6))
def test_names_and_the_order_of_nodes_do_not_matter(space: search_spaces.SearchSpace, seed: int) -> None:
    rng = random.Random(seed)
    architecture = space.elaborate(RandomChooser(rng=rng)).architecture
    other = Architecture(renamed(architecture.graph, rng, outermost=True), architecture.input_shapes)
    assert other.key == architecture.key
    assert features(other) == features(architecture)


def test_isomorphic_cells_have_equal_features_and_others_differ() -> None:
    space = search_spaces.load("nasbench201")
    rng = random.Random(0)
    by_key: dict[str, Features] = {}
    for _ in range(400):
        architecture = space.elaborate(RandomChooser(rng=rng)).architecture
        found = features(architecture)
        assert by_key.setdefault(architecture.key, found) == found
    assert 250 < len(by_key) < 350
    distinct = {tuple(tuple(sorted(group.items())) for group in found) for found in by_key.values()}
    assert len(distinct) >= 0.98 * len(by_key)


def test_paths_and_operations_of_a_cell_are_those_that_are_live() -> None:
    operations, paths, *_ = cell("|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|none~1|nor_conv_1x1~2|")
    inside = {name.split(":")[1] for name in operations if name.startswith("2 nasbench201")}
    assert len(inside) == 3
    found = {name.split(":")[1]: value for name, value in paths.items() if name.startswith("2 nasbench201")}
    assert sorted(name.count("|") for name in found) == [0, 1]
    assert {name.count("Conv") for name in found} == {0, 2}
    assert len(set(found.values())) == 1, "each path is there once"
    dead = cell("|nor_conv_3x3~0|+|none~0|none~1|+|avg_pool_3x3~0|none~1|nor_conv_1x1~2|")
    assert dead == cell("|none~0|+|none~0|none~1|+|avg_pool_3x3~0|none~1|none~2|")


def test_a_live_graph_passes_through_what_does_nothing() -> None:
    builder = GraphBuilder()
    value = builder.input()
    first = builder.add("first", conv2d(4, 3), value)
    same = builder.add("same", Identity(), first)
    pools = [builder.add("pool", pool2d("max", 3, stride=1, padding=1), same) for _ in range(2)]
    nothing = builder.add("nothing", Zero(), first)
    unused = builder.add("product", Multiply(), nothing, first)
    total = builder.add("sum", Add(), *pools, unused)
    nested = builder.add("nested", Add(), total, same)
    live = live_graph(builder.graph(builder.add("joined", Concat(), nested, first)))
    labels = [label.split(" ")[0] for label in live.labels]
    assert labels == ["input", "Conv", "Pool", "Concat", "output"]
    assert live.reads == ((), ((0, 1),), ((1, 1),), ((1, 2), (2, 2)), ((3, 1),))


@pytest.mark.parametrize("width", [4, 16])
def test_labels_leave_widths_out(width: int) -> None:
    assert operation_label(conv2d(width, 3)) == operation_label(conv2d(8, 3)) != operation_label(conv2d(8, 5))
    depthwise = operation_label(conv2d(width, 3, groups=width))
    assert depthwise == operation_label(conv2d(8, 3, groups=8)) != operation_label(conv2d(8, 3))


def test_paths_beyond_counting_are_told_by_their_ends() -> None:
    builder = GraphBuilder()
    value = builder.input()
    for _ in range(14):
        branches = [builder.add(f"k{kernel}", conv2d(4, kernel), value) for kernel in (1, 3)]
        value = builder.add("sum", Add(), *branches)
    found = features(Architecture(builder.graph(value), ((4, 8, 8),)))
    paths = found[GROUPS.index("paths")]
    assert len(paths) == 2**9
    assert len(set(paths.values())) == 1
