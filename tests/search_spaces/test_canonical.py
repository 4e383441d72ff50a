"""The canonical key: equal exactly for isomorphic simplified graphs, and the published space counted by it."""

import random
import time
from collections import Counter

import networkx
import pytest

import search_spaces
from search_spaces.architecture import Architecture
from search_spaces.builder import GraphBuilder
from search_spaces.canonical import graph_key
from search_spaces.choices import RandomChooser
from search_spaces.graph import Cell, Graph, Node
from search_spaces.ops import Activation, Add, BatchNorm, Concat, Input, Multiply, Operation, Zero, conv2d, pool2d


def isomorphic(first: Architecture, second: Architecture) -> bool:
    """Exact isomorphism of the simplified flat graphs, by networkx."""

    def view(architecture: Architecture) -> networkx.DiGraph:
        flat = architecture.simplified().flatten().simplified()
        outputs = Counter(index for _, index in flat.graph.outputs)
        graph = networkx.DiGraph()
        for index, node in enumerate(flat.graph.nodes):
            label = (index, flat.input_shapes[index]) if isinstance(node.operation, Input) else node.operation
            graph.add_node(index, label=(label, outputs[index]))
        for index, node in enumerate(flat.graph.nodes):
            for source in set(node.inputs):
                slots = [slot for slot, other in enumerate(node.inputs) if other == source]
                graph.add_edge(source, index, slots=len(slots) if node.operation.commutative else slots)
        return graph

    def equal(left: dict[str, object], right: dict[str, object]) -> bool:
        return left == right

    return networkx.is_isomorphic(view(first), view(second), node_match=equal, edge_match=equal)


def shuffled(architecture: Architecture, rng: random.Random) -> Architecture:
    """The flat architecture with its nodes in another topological order, other names, and sums in another order."""
    nodes = architecture.flatten().graph.nodes
    outputs = architecture.flatten().graph.outputs
    placed: dict[int, int] = {}
    result: list[Node] = []
    for index, node in enumerate(nodes):
        if isinstance(node.operation, Input):
            placed[index] = len(result)
            result.append(node)
    while len(placed) < len(nodes):
        ready = [i for i, node in enumerate(nodes) if i not in placed and all(s in placed for s in node.inputs)]
        index = rng.choice(ready)
        inputs = [placed[source] for source in nodes[index].inputs]
        if nodes[index].operation.commutative:
            rng.shuffle(inputs)
        placed[index] = len(result)
        result.append(Node(f"node{len(result)}", nodes[index].operation, tuple(inputs)))
    graph = Graph(tuple(result), tuple((f"out_{name}", placed[index]) for name, index in outputs))
    return Architecture(graph, architecture.input_shapes)


def random_dag(rng: random.Random) -> Architecture:
    """A small graph of few kinds of operations, so that isomorphic and nearly isomorphic pairs are common."""
    builder = GraphBuilder()
    values = [builder.input()]
    menu: list[Operation] = [
        conv2d(4, 3),
        conv2d(4, 1),
        pool2d("average", 3, stride=1, padding=1),
        Zero(),
        Activation(),
    ]
    for _ in range(rng.randint(2, 5)):
        if len(values) > 1 and rng.random() < 0.5:
            values.append(builder.add("sum", Add(), rng.choice(values), rng.choice(values)))
        else:
            values.append(builder.add("step", rng.choice(menu), rng.choice(values)))
    nodes = builder._nodes
    read = {source for node in nodes for source in node.inputs}
    loose = [value for value in values if value not in read]
    output = loose[0] if len(loose) == 1 else builder.add("end", Add(), *loose)
    return Architecture(builder.graph(output), ((4, 6, 6),))


def test_key_is_equal_exactly_for_isomorphic_random_graphs() -> None:
    rng = random.Random(0)
    graphs = [random_dag(rng) for _ in range(250)]
    equal = different = 0
    for first in graphs:
        for second in rng.sample(graphs, 24):
            same = first.key == second.key
            assert same == isomorphic(first, second), (first.to_json(), second.to_json())
            equal += same and first is not second
            different += not same
    assert equal > 20 and different > 20


@pytest.mark.parametrize(
    ("name", "settings"), [("nasbench201", {"input_shape": (1, 8, 8), "cells_per_stage": 1}), ("cellular", {})]
)
def test_key_is_equal_exactly_for_isomorphic_members_of_a_space(name: str, settings: dict[str, object]) -> None:
    space = search_spaces.load(name, **settings)
    rng = random.Random(1)
    for _ in range(25):
        elaboration = space.elaborate(RandomChooser(rng=rng))
        architecture = elaboration.architecture
        other = shuffled(architecture, rng)
        assert other.key == architecture.key
        assert isomorphic(other, architecture)
        _, mutant = space.mutate(elaboration.genotype, rng=rng)
        assert (mutant.architecture.key == architecture.key) == isomorphic(mutant.architecture, architecture)


@pytest.mark.parametrize("name", ["nasbench201", "cellular"])
def test_key_does_not_depend_on_nesting_or_on_being_simplified(name: str) -> None:
    space = search_spaces.load(name)
    rng = random.Random(2)
    for _ in range(20):
        architecture = space.sample(rng=rng)
        simple = architecture.simplified()
        assert architecture.key == architecture.flatten().key == simple.key
        assert simple.simplified() == simple
        assert simple.output_shapes == architecture.output_shapes


def test_the_15625_cells_of_nasbench201_have_5260_keys() -> None:
    space = search_spaces.load("nasbench201", cells_per_stage=1)
    keys = set()
    count = 0
    for _, architecture in space.enumerate():
        stage = next(node.operation for node in architecture.graph.nodes if node.name == "stage1")
        assert isinstance(stage, Cell)
        keys.add(graph_key(stage.body, ((16, 32, 32),)))
        count += 1
    assert count == 15_625
    assert len(keys) == 5_260


def parallel(*kernels: int, shared: bool = False) -> Architecture:
    """Branches of a convolution and a norm, summed; with `shared` the norms read one convolution, the first."""
    builder = GraphBuilder()
    source = builder.input()
    tops = [builder.add("conv", conv2d(4, kernel), source) for kernel in kernels[: 1 if shared else None]]
    ends = [builder.add("norm", BatchNorm(), tops[0] if shared else tops[index]) for index in range(len(kernels))]
    return Architecture(builder.graph(builder.add("sum", Add(), *ends)), ((4, 6, 6),))


def test_twins_with_weights_stay_apart() -> None:
    assert parallel(3, 3).key != parallel(3, 3, shared=True).key
    assert parallel(3, 3).key != parallel(3, 1).key
    assert parallel(1, 3).key == parallel(3, 1).key


def test_concatenation_keeps_its_order_and_sums_do_not() -> None:
    def joined(kind: Operation, first: int, second: int) -> str:
        builder = GraphBuilder()
        source = builder.input()
        a = builder.add("a", conv2d(4, first), source)
        b = builder.add("b", conv2d(4, second), source)
        return Architecture(builder.graph(builder.add("join", kind, a, b)), ((4, 6, 6),)).key

    assert joined(Concat(), 1, 3) != joined(Concat(), 3, 1)
    assert joined(Add(), 1, 3) == joined(Add(), 3, 1)


def test_symmetry_beyond_twins_is_resolved() -> None:
    """A ring of alternately read convolutions has no twins and no runs, only automorphisms."""

    def ring(size: int, step: int) -> Architecture:
        builder = GraphBuilder()
        source = builder.input()
        convs = [builder.add("conv", conv2d(4, 3), source) for _ in range(size)]
        sums = [builder.add("sum", Add(), convs[i], convs[(i + step) % size]) for i in range(size)]
        ends = [builder.add("after", conv2d(4, 1), value) for value in sums]
        return Architecture(builder.graph(builder.add("end", Add(), *ends)), ((4, 6, 6),))

    assert ring(6, 1).key == ring(6, 5).key
    assert ring(6, 1).key != ring(6, 2).key  # one ring of six against two rings of three: equal to colour refinement
    assert ring(8, 1).key == ring(8, 3).key


def test_dead_branches_identities_and_nested_sums_disappear() -> None:
    def network(*, noisy: bool) -> Architecture:
        builder = GraphBuilder()
        source = builder.input()
        a = builder.add("a", conv2d(4, 3), source)
        b = builder.add("b", conv2d(4, 1), source)
        if not noisy:
            return Architecture(builder.graph(builder.add("sum", Add(), a, b, source)), ((4, 6, 6),))
        inner = GraphBuilder()
        x = inner.input()
        dead = inner.add("dead", conv2d(4, 3), inner.add("none", Zero(), x))
        body = inner.cell("noise", inner.add("both", Add(), x, dead))
        partial = builder.add("partial", Add(), builder.add("wrapped", body, a), b)
        return Architecture(builder.graph(builder.add("sum", Add(), source, partial)), ((4, 6, 6),))

    assert network(noisy=True).key == network(noisy=False).key
    names = [node.name for node in network(noisy=True).simplified().graph.nodes]
    assert names == ["x", "a", "b", "sum"]


def test_a_network_that_sees_nothing_becomes_zeros() -> None:
    space = search_spaces.load("nasbench201")
    nothing = space.from_arch_str("|none~0|+|none~0|none~1|+|none~0|none~1|none~2|")
    simple = nothing.simplified()
    assert [type(node.operation) for node in simple.graph.nodes] == [Input, Zero]
    assert simple.output_shapes == nothing.output_shapes == ((10,),)
    assert not any(isinstance(node.operation, Cell) for node in simple.graph.nodes)


def test_the_key_is_the_same_in_every_process_and_version() -> None:
    # Databases are keyed by it: a change of this value orphans every result that anybody has.
    assert parallel(3, 1).key == "50842fd493e2a95f7ca89704e61e4b60"


def test_zeros_that_are_needed_stay_and_simplify_to_themselves() -> None:
    builder = GraphBuilder()
    source = builder.input()
    none = builder.add("none", Zero(), source)
    lost = builder.add("lost", conv2d(3, 3), none)
    end = builder.add("join", Concat(), source, lost)
    simple = Architecture(builder.graph(end), ((4, 6, 6),)).simplified()
    assert [node.name for node in simple.graph.nodes] == ["x", "lost", "join"]
    assert simple.graph.nodes[1].operation == Zero((3, 6, 6))
    assert simple.output_shapes == ((7, 6, 6),)
    assert simple.simplified() == simple


def test_the_builder_makes_every_name_unique() -> None:
    builder = GraphBuilder()
    value = builder.input()
    for name in ("conv", "conv", "conv2", "conv"):
        value = builder.add(name, conv2d(4, 3), value)
    assert [node.name for node in builder.graph(value).nodes] == ["x", "conv", "conv2", "conv22", "conv3"]


def crossed(blocks: int) -> Architecture:
    """Blocks of two halves that read each other: equal, but not as parallel branches are."""
    builder = GraphBuilder()
    value = builder.input()
    for _ in range(blocks):
        left, right = builder.add("left", conv2d(2, 1), value), builder.add("right", conv2d(2, 1), value)
        one = builder.add("one", Add(), left, builder.add("relu", Activation(), right))
        two = builder.add("two", Add(), right, builder.add("relu", Activation(), left))
        value = builder.add("product", Multiply(), one, two)
    return Architecture(builder.graph(value), ((2, 5, 5),))


def test_many_symmetries_one_behind_the_other_are_soon_told() -> None:
    architecture = crossed(60)
    began = time.process_time()
    key = architecture.key
    assert time.process_time() - began < 5
    rng = random.Random(0)
    assert shuffled(architecture, rng).key == shuffled(architecture, rng).key == key
    assert crossed(59).key != key
