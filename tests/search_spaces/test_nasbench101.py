"""The NAS-Bench-101 space: its cells and their classes, what is published of them, its skeleton and its contract."""

import itertools
import random
from collections import Counter, defaultdict
from collections.abc import Iterator

import networkx
import numpy
import pytest
import torch
from networkx.algorithms.isomorphism import categorical_node_match
from torch import Tensor
from torch.nn import functional

from search_spaces import SearchSpace, enumeration, to_module
from search_spaces.choices import Genotype
from search_spaces.errors import UserError
from search_spaces.spaces.nasbench101 import NasBench101
from search_spaces.spaces.nasbench101_cell import (
    OPERATIONS,
    cell_key,
    module_hash,
    read_cell,
    vertex_channels,
)
from search_spaces.spaces.nasbench201 import NasBench201
from tests.contracts.search_space import SearchSpaceContract, sampled

CONV3, CONV1, POOL = OPERATIONS

Matrix = list[list[int]]

SMALL = NasBench101(input_shape=(3, 8, 8), channels=11, cells_per_stack=1)
"""11, 22 and 44 channels: neither two nor three nor four values divide all of them."""


class TestNasBench101(SearchSpaceContract):
    @pytest.fixture
    def space(self) -> SearchSpace:
        return SMALL


def matrix_of(*edges: str) -> Matrix:
    """`012 13 23` has the edges from 0 to 1 and 2, and so on; the highest number is the output."""
    size = max(int(vertex) for edge in edges for vertex in edge) + 1
    matrix = [[0] * size for _ in range(size)]
    for source, *targets in edges:
        for target in targets:
            matrix[int(source)][int(target)] = 1
    return matrix


def ends(*operations: str) -> list[str]:
    return ["input", *operations, "output"]


# What the benchmark's own notebook asks for, and what it is given: the representative of the class, and its parameters.
INCEPTION = (matrix_of("01235", "16", "26", "34", "46", "56"), ends(CONV1, CONV3, CONV3, CONV3, POOL))
INCEPTION_PUBLISHED = (matrix_of("01234", "16", "26", "36", "45", "56"), ends(CONV3, CONV1, POOL, CONV3, CONV3))
# The first row of the published table by its hash.
FIRST_ROW = (matrix_of("0145", "12", "236", "35", "45", "56"), ends(CONV3, POOL, CONV3, CONV3, CONV1))


def all_cells(vertices: int, most_edges: int = 9) -> Iterator[tuple[Matrix, list[str]]]:
    """Every matrix without a vertex that is read by nothing or reads nothing, with all operations."""
    places = list(itertools.combinations(range(vertices), 2))
    for bits in itertools.product((0, 1), repeat=len(places)):
        matrix = [[0] * vertices for _ in range(vertices)]
        for (source, target), bit in zip(places, bits, strict=True):
            matrix[source][target] = bit
        columns = list(zip(*matrix, strict=True))
        if sum(bits) <= most_edges and all(map(any, matrix[:-1])) and all(map(any, columns[1:])):
            for operations in itertools.product(OPERATIONS, repeat=vertices - 2):
                yield matrix, ends(*operations)


def as_networkx(matrix: Matrix, operations: list[str]) -> "networkx.DiGraph[int]":
    graph: networkx.DiGraph[int] = networkx.DiGraph()
    for vertex, operation in enumerate(operations):
        graph.add_node(vertex, operation=operation)
    graph.add_edges_from((x, y) for x, row in enumerate(matrix) for y, entry in enumerate(row) if entry)
    return graph


@pytest.mark.parametrize(("vertices", "classes"), [(2, 1), (3, 6), (4, 84), (5, 2_441)])
def test_keys_are_equal_exactly_for_isomorphic_cells(vertices: int, classes: int) -> None:
    match = categorical_node_match("operation", None)
    buckets: defaultdict[object, list[tuple[str, networkx.DiGraph[int]]]] = defaultdict(list)
    for matrix, operations in all_cells(vertices):
        key, graph = cell_key(matrix, operations), as_networkx(matrix, operations)
        # Isomorphic cells have the same degrees, so only cells of equal degrees have to be compared.
        degrees = Counter((operations[v], graph.in_degree(v), graph.out_degree(v)) for v in graph)
        bucket = buckets[frozenset(degrees.items())]
        for other, representative in bucket:
            assert (key == other) == networkx.is_isomorphic(graph, representative, node_match=match)
        if all(key != other for other, _ in bucket):
            bucket.append((key, graph))
    assert sum(map(len, buckets.values())) == classes


def test_there_are_as_many_cells_of_up_to_six_vertices_as_published() -> None:
    # `benchmarks/nasbench101_count.py` goes on to seven vertices and 423,624.
    keys = [{cell_key(*cell) for cell in all_cells(vertices)} for vertices in range(2, 7)]
    assert [len(found) for found in keys] == [1, 6, 84, 2_441, 62_010]


def test_keys_of_architectures_merge_the_cells_that_differ_by_weightless_twins_alone() -> None:
    # One maximum read by a convolution and by the output, or two of the same value, one for each.
    one = (matrix_of("01", "12", "234", "34"), ends(CONV3, POOL, CONV3))
    two = (matrix_of("01", "123", "24", "35", "45"), ends(CONV3, POOL, POOL, CONV3))
    assert cell_key(*one) != cell_key(*two)
    assert SMALL.from_matrix(*one).key != SMALL.from_matrix(*two).key, "11 channels are 6 and 5, and no twins"
    even = NasBench101(input_shape=(3, 8, 8), channels=12, cells_per_stack=1)
    assert even.from_matrix(*one).key == even.from_matrix(*two).key


def test_keys_of_architectures_are_as_many_as_cells_up_to_five_vertices() -> None:
    space = NasBench101(input_shape=(3, 4, 4), stacks=1, cells_per_stack=1)
    classes = {cell_key(*cell): cell for vertices in range(2, 6) for cell in all_cells(vertices)}
    assert len({space.from_matrix(*cell).key for cell in classes.values()}) == len(classes) == 2_532


def permuted(matrix: Matrix, operations: list[str], rng: random.Random) -> tuple[Matrix, list[str]] | None:
    """The cell with its inner vertices in another order, or None where that is not upper triangular."""
    size = len(matrix)
    order = [0, *rng.sample(range(1, size - 1), size - 2), size - 1]
    result = [[matrix[x][y] for y in order] for x in order]
    return (result, [operations[v] for v in order]) if not numpy.tril(result).any() else None


def test_isomorphic_cells_are_one_network() -> None:
    rng = random.Random(0)
    compared = 0
    for elaboration in sampled(SMALL, 100):
        matrix, operations = SMALL.to_matrix(elaboration.architecture)
        for _ in range(20):
            other = permuted([list(row) for row in matrix], list(operations), rng)
            if other is not None and other != ([list(row) for row in matrix], list(operations)):
                compared += 1
                assert cell_key(*other) == cell_key(matrix, operations)
                assert module_hash(read_cell(*other)) == module_hash(read_cell(matrix, operations))
                assert SMALL.from_matrix(*other) == elaboration.architecture
    assert compared > 100


@pytest.mark.parametrize(
    ("cell", "params"), [(INCEPTION, 2_694_282), (INCEPTION_PUBLISHED, 2_694_282), (FIRST_ROW, 8_555_530)]
)
def test_parameters_are_the_published_ones(cell: tuple[Matrix, list[str]], params: int) -> None:
    with torch.device("meta"):
        module = to_module(NasBench101().from_matrix(*cell))
    assert sum(weight.numel() for weight in module.parameters()) == params


def test_the_representative_and_the_hash_are_the_published_ones() -> None:
    space = NasBench101()
    for asked, published in ((INCEPTION, INCEPTION_PUBLISHED), (FIRST_ROW, FIRST_ROW)):
        matrix, operations = space.to_matrix(space.from_matrix(*asked))
        assert ([list(row) for row in matrix], list(operations)) == published
        assert space.matrix_of(space.genotype_of(*asked)) == (matrix, operations)
    assert space.published_name(space.genotype_of(*FIRST_ROW)) == ("module_hash", "00005c142e6f48ac74fdcf73e3439874")


@pytest.mark.parametrize(
    ("edges", "channels", "widths"),
    [
        # From the benchmark's own tests.
        (("01", "12", "23"), 16, (16, 16)),
        (("01",), 5, ()),
        (("012", "13", "23", "34"), 16, (16, 16, 16)),
        (("012", "13", "23"), 8, (4, 4)),
        (("012", "13", "23"), 15, (8, 7)),
        (("0123", "14", "24", "34"), 8, (3, 3, 2)),
        (("0123", "14", "24", "34"), 15, (5, 5, 5)),
        (("01", "123", "24", "34"), 8, (4, 4, 4)),
        (("01", "123", "24", "34"), 9, (5, 5, 4)),
        (("013", "124", "23", "34"), 8, (4, 4, 4)),
        (("013", "124", "23", "34"), 15, (8, 7, 7)),
    ],
)
def test_the_channels_of_vertices_are_the_published_ones(
    edges: tuple[str, ...], channels: int, widths: tuple[int, ...]
) -> None:
    matrix = matrix_of(*edges)
    assert vertex_channels(read_cell(matrix, ends(*[CONV3] * (len(matrix) - 2))), channels) == widths


def unit(x: Tensor, weights: dict[str, Tensor], name: str) -> Tensor:
    kernel = weights[f"{name}.conv.weight"]
    x = functional.conv2d(x, kernel, padding=kernel.shape[-1] // 2)
    mean, variance = weights[f"{name}.norm.running_mean"], weights[f"{name}.norm.running_var"]
    x = functional.batch_norm(x, mean, variance, weights[f"{name}.norm.weight"], weights[f"{name}.norm.bias"])
    return functional.relu(x)


def test_a_cell_computes_what_the_paper_says() -> None:
    # Three values make 11 channels: 4, 4 and 3; the second reads the first whole, the third without its last channel.
    cell = (matrix_of("0124", "1234", "24", "34"), ends(CONV3, POOL, CONV1))
    space = NasBench101(input_shape=(3, 8, 8), channels=11, stacks=1, cells_per_stack=1)
    assert space.to_matrix(space.from_matrix(*cell))[0] == tuple(map(tuple, cell[0]))
    module = to_module(space.from_matrix(*cell)).eval()
    x = torch.randn(2, 3, 8, 8)
    weights = {name.removeprefix("stack1.cell0."): tensor for name, tensor in module.state_dict().items()}
    value = unit(x, weights, "stem")
    first = unit(unit(value, weights, "projection1"), weights, "vertex1")
    second = functional.max_pool2d(first + unit(value, weights, "projection2"), 3, stride=1, padding=1)
    third = unit(first[:, :3], weights, "vertex3")
    end = torch.cat((first, second, third), dim=1) + unit(value, weights, "projection4")
    expected = functional.linear(end.mean((2, 3)), weights["head.linear.weight"], weights["head.linear.bias"])
    torch.testing.assert_close(module(x), expected)


def test_the_skeleton_is_the_published_one() -> None:
    module = to_module(NasBench101().from_matrix(*INCEPTION))
    names = [name for name, _ in module.named_children()]
    assert names == ["stem", "stack1", "pool1", "stack2", "pool2", "stack3", "head"]
    weights = module.state_dict()
    assert weights["stem.conv.weight"].shape == (128, 3, 3, 3)
    assert weights["head.linear.weight"].shape == (10, 512)
    for stack, channels in enumerate((128, 256, 512), start=1):
        for number in range(3):
            before = channels // 2 if number == 0 and stack > 1 else channels
            name = f"stack{stack}.cell{number}"
            assert weights[f"{name}.projection1.conv.weight"].shape == (channels // 4, before, 1, 1)
            assert weights[f"{name}.vertex1.conv.weight"].shape == (channels // 4, channels // 4, 3, 3)


def test_genotypes_matrices_and_architectures_say_the_same() -> None:
    for elaboration in sampled(SMALL, 100):
        cell = SMALL.to_matrix(elaboration.architecture)
        assert SMALL.matrix_of(elaboration.genotype) == cell
        assert SMALL.from_matrix(*cell) == elaboration.architecture
        again = SMALL.genotype_of(*cell)
        assert SMALL.replay(again).architecture == elaboration.architecture
        assert SMALL.published_name(again) == SMALL.published_name(elaboration.genotype)


@pytest.mark.parametrize(("vertices", "most_edges"), [(2, 9), (3, 9), (4, 9), (4, 4), (5, 5), (5, 9)])
def test_every_cell_is_answered_for_and_every_answer_is_a_cell(vertices: int, most_edges: int) -> None:
    space = NasBench101((3, 4, 4), channels=6, stacks=1, cells_per_stack=1, vertices=vertices, max_edges=most_edges)
    genotypes = [genotype for genotype, _ in space.enumerate()]
    assert len(set(genotypes)) == len(genotypes) == space.count() == enumeration.count(space.build)
    expected = {cell_key(*cell) for size in range(2, vertices + 1) for cell in all_cells(size, most_edges)}
    assert {cell_key(*space.matrix_of(genotype)) for genotype in genotypes} == expected
    for size in range(2, vertices + 1):
        for cell in all_cells(size, most_edges):
            genotype = space.genotype_of(*cell)
            assert cell_key(*space.matrix_of(genotype)) == cell_key(*cell)


def test_there_are_as_many_genotypes_as_ways_to_place_the_cells() -> None:
    # A cell of k inner vertices stands at any k of the five places. The numbers of cells are the benchmark script's.
    cells = {2: 1, 3: 6, 4: 90, 5: 3_267, 6: 125_145, 7: 1_164_699}
    ways = {2: 1, 3: 5, 4: 10, 5: 10, 6: 5, 7: 1}
    assert NasBench101().count() == sum(cells[size] * ways[size] for size in cells)


def test_vertices_on_no_path_are_pruned() -> None:
    # Vertex 1 is read by nothing, vertex 3 reads nothing.
    cell = (matrix_of("012", "24", "34"), ends(CONV3, CONV1, POOL))
    pruned = (matrix_of("01", "12"), ends(CONV1))
    assert cell_key(*cell) == cell_key(*pruned)
    assert SMALL.from_matrix(*cell) == SMALL.from_matrix(*pruned)


def test_arrays_are_matrices_too() -> None:
    assert cell_key(numpy.array(INCEPTION[0], dtype=numpy.int8), INCEPTION[1]) == cell_key(*INCEPTION_PUBLISHED)


@pytest.mark.parametrize(
    ("matrix", "operations", "what"),
    [
        ([[0, 1]], ends(), "square"),
        ([], [], "square"),
        ([[0, 1], [0]], ends(), "square"),
        (matrix_of("01", "12"), ends(), "2 operations for 3 vertices"),
        (matrix_of("01", "12"), ["output", CONV3, "input"], "begin with 'input'"),
        (matrix_of("01", "12"), ends("conv3x3"), "did you mean 'conv3x3-bn-relu'"),
        ([[0, 2], [0, 0]], ends(), "row 0, column 1 is 2"),
        ([[0, 1, 0], [0, 1, 1], [0, 0, 0]], ends(POOL), "row 1, column 1 is 1"),
        ([[0, 1, 0], [0, 0, 1], [1, 0, 0]], ends(POOL), "row 2, column 0 is 1"),
        (matrix_of("02", "13"), ends(POOL, POOL), "no path"),
        (matrix_of("01", "12", "23", "34", "45", "56", "67"), ends(*[POOL] * 6), "8 vertices"),
    ],
)
def test_another_matrix_is_refused_with_the_place(matrix: Matrix, operations: list[str], what: str) -> None:
    for read in (cell_key, SMALL.from_matrix, SMALL.genotype_of):
        with pytest.raises(UserError) as caught:
            read(matrix, operations)
        assert what in str(caught.value)


def test_a_cell_that_is_too_large_is_refused() -> None:
    with pytest.raises(UserError, match=r"7 vertices and 9 edges.*at most 6 and 9"):
        NasBench101(vertices=6).from_matrix(*INCEPTION)
    with pytest.raises(UserError, match=r"7 vertices and 9 edges.*at most 7 and 8"):
        NasBench101(max_edges=8).genotype_of(*INCEPTION)


def test_an_architecture_of_another_space_has_no_matrix() -> None:
    space = NasBench101()
    strangers = [
        NasBench101(cells_per_stack=2).from_matrix(*INCEPTION),
        NasBench101(channels=64).from_matrix(*INCEPTION),
        NasBench101(classes=100).from_matrix(*INCEPTION),
        space.from_matrix(*INCEPTION).flatten(),
        space.from_matrix(matrix_of("01", "123", "24", "34"), ends(CONV3, POOL, POOL)).simplified(),
        *(elaboration.architecture for elaboration in sampled(NasBench201(), 3)),
    ]
    for architecture in strangers:
        with pytest.raises(UserError, match="nasbench101"):
            space.to_matrix(architecture)
    with pytest.raises(UserError, match="nasbench101"):
        NasBench101(vertices=6).to_matrix(space.from_matrix(*INCEPTION))


def test_a_genotype_of_another_space_has_no_matrix() -> None:
    values = SMALL.genotype_of(*INCEPTION).values
    for strange in (values[:-1], (*values, ("edge_9_8", True)), (("depth", 3),)):
        with pytest.raises(UserError):
            SMALL.matrix_of(Genotype(strange))


@pytest.mark.parametrize(
    "parameters",
    [
        {"input_shape": (3, 30, 32)},
        {"input_shape": (3, 32)},
        {"classes": 0},
        {"channels": 4},
        {"channels": 16.0},
        {"stacks": 0},
        {"cells_per_stack": 0},
        {"vertices": 1},
        {"vertices": 8},
        {"vertices": True},
        {"max_edges": 0},
    ],
)
def test_impossible_parameters_are_refused_by_name(parameters: dict[str, object]) -> None:
    with pytest.raises(UserError, match=next(iter(parameters))):
        NasBench101(**parameters)  # type: ignore[arg-type]
