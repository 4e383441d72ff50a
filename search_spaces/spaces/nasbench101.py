"""The NAS-Bench-101 space: every cell of up to seven vertices and nine edges, in the published skeleton.

The questions go from the output to the input: for each vertex that is read, what it does, and of each earlier vertex
whether it reads that. So all that is asked about is on a path from input to output, and nothing has to be pruned. A
question is left out where its answer is settled: an edge is refused where it and those that it would make necessary
are more than may still be added, and a vertex that reads no other reads the input. By this, every answer gives a cell
of the benchmark, and every cell of the benchmark can be answered.

The skeleton is a 3x3 convolution and stacks of equal cells; between stacks a maximum halves the sizes and the channels
double; a linear classifier reads the global average. What is built for any cell is the benchmark's representative of
its class (see `nasbench101_cell`), so isomorphic cells are one network, the one that the tables tell of. Else they
might differ in their widths: where the output's channels do not divide, the first vertices have one more.

References:
    Ying, Klein, Christiansen, Real, Murphy, Hutter. NAS-Bench-101: Towards Reproducible Neural Architecture Search.
    ICML 2019 (section 2.1, figure 1).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce
from operator import or_

from search_spaces.architecture import Architecture
from search_spaces.builder import GraphBuilder
from search_spaces.cells.units import conv_unit
from search_spaces.choices import Chooser, Genotype, Recorder, ReplayChooser, Value
from search_spaces.errors import UserError
from search_spaces.graph import Cell
from search_spaces.ops import (
    Add,
    ChannelSlice,
    Concat,
    Conv,
    Flatten,
    GlobalPool,
    Linear,
    Operation,
    Shape,
    pool2d,
)
from search_spaces.parameters import check_image, check_positive
from search_spaces.space import SearchSpace
from search_spaces.spaces.nasbench101_cell import (
    MOST_VERTICES,
    OPERATIONS,
    Matrix,
    MatrixCell,
    module_hash,
    pruned,
    read_cell,
    representative,
    vertex_channels,
)


@dataclass(frozen=True, slots=True)
class NasBench101(SearchSpace):
    """The 423,624 cells of NAS-Bench-101 (Ying et al. 2019) in their 128/256/512-channel skeleton.

    `input_shape` is (channels, height, width), whose sizes each stack but the first halves; `channels` are those of the
    first stack. A cell has at most `vertices`, input and output included, and at most `max_edges`.
    """

    input_shape: Shape = (3, 32, 32)
    classes: int = 10
    channels: int = 128
    stacks: int = 3
    cells_per_stack: int = 3
    vertices: int = MOST_VERTICES
    max_edges: int = 9

    name = "nasbench101"

    def __post_init__(self) -> None:
        check_positive(
            self.name,
            classes=self.classes,
            channels=self.channels,
            stacks=self.stacks,
            cells_per_stack=self.cells_per_stack,
            max_edges=self.max_edges,
        )
        check_image(self.name, self.input_shape, smallest=2 ** (self.stacks - 1), multiple=2 ** (self.stacks - 1))
        if type(self.vertices) is not int or not 2 <= self.vertices <= MOST_VERTICES:
            raise UserError(
                f"{self.name}: vertices must be a whole number from 2 to {MOST_VERTICES}, got {self.vertices!r}"
            )
        if self.channels < self.vertices - 2:
            raise UserError(
                f"{self.name}: channels must be at least {self.vertices - 2}, one for each vertex that the output may "
                f"read, got {self.channels}"
            )

    def build(self, choose: Chooser) -> Architecture:
        return self._network(_ask_cell(choose, self.vertices, self.max_edges))

    def count(self) -> int:
        # The tree of decisions has too many leaves to be walked.
        output = self.vertices - 1
        return _count_cells(output, 1 << output, self.max_edges - 1, output)

    def from_matrix(self, matrix: Sequence[Sequence[int]], operations: Sequence[str]) -> Architecture:
        """The architecture of a cell as it is published; isomorphic cells give the same.

        Raises:
            UserError: these are not the matrix and operations of a cell, or the cell is larger than the space has them.
        """
        return self._network(self._read(matrix, operations))

    def to_matrix(self, architecture: Architecture) -> tuple[Matrix, tuple[str, ...]]:
        """The matrix and operations of an architecture that this space made, as the published tables have them.

        Raises:
            UserError: the architecture is not of this space.
        """
        cell = _cell_of(architecture)
        if cell is None or self._is_too_large(cell) or self._network(cell) != architecture:
            raise UserError(
                "the architecture is none of this nasbench101 space; was it made by another space or simplified?"
            )
        return cell.to_matrix()

    def genotype_of(self, matrix: Sequence[Sequence[int]], operations: Sequence[str]) -> Genotype:
        """Answers that make the architecture of a cell as it is published.

        Raises:
            UserError: these are not the matrix and operations of a cell, or the cell is larger than the space has them.
        """
        cell = self._read(matrix, operations)
        # The first places between input and output are taken, the others are read by nothing.
        places = (*range(cell.vertices - 1), self.vertices - 1)
        answers: dict[str, Value] = {}
        for y in range(1, self.vertices):
            for x in range(y):
                known = x in places and y in places
                answers[_edge(y, x)] = known and cell.reads(places.index(y), places.index(x))
        for vertex, operation in enumerate(cell.operations, start=1):
            answers[_operation(vertex)] = OPERATIONS[operation]
        recorder = Recorder(ReplayChooser(Genotype(tuple(answers.items()))))
        _ask_cell(recorder, self.vertices, self.max_edges)
        return recorder.genotype

    def matrix_of(self, genotype: Genotype) -> tuple[Matrix, tuple[str, ...]]:
        """The matrix and operations of the architecture that these answers make, as the published tables have them.

        Raises:
            UserError: the genotype is of another space.
        """
        return representative(self._answered(genotype)).to_matrix()

    def published_name(self, genotype: Genotype) -> tuple[str, str] | None:
        return "module_hash", module_hash(self._answered(genotype))

    def _answered(self, genotype: Genotype) -> MatrixCell:
        chooser = ReplayChooser(genotype)
        cell = _ask_cell(chooser, self.vertices, self.max_edges)
        if chooser.unused:
            raise UserError(f"a nasbench101 genotype with these answers does not ask {chooser.unused[0]!r}")
        return cell

    def _read(self, matrix: Sequence[Sequence[int]], operations: Sequence[str]) -> MatrixCell:
        cell = read_cell(matrix, operations)
        if self._is_too_large(cell):
            raise UserError(
                f"nasbench101: the cell has {cell.vertices} vertices and {cell.edges} edges on its paths; "
                f"this space has at most {self.vertices} and {self.max_edges}"
            )
        return cell

    def _is_too_large(self, cell: MatrixCell) -> bool:
        return cell.vertices > self.vertices or cell.edges > self.max_edges

    def _network(self, cell: MatrixCell) -> Architecture:
        return _network(self, representative(cell))


def _edge(target: int, source: int) -> str:
    return f"edge_{target}_{source}"


def _operation(vertex: int) -> str:
    return f"operation_{vertex}"


def _ask_cell(choose: Chooser, vertices: int, max_edges: int) -> MatrixCell:
    """Asks for a cell of at most so many vertices and edges."""
    output = vertices - 1
    sources, operations = [0] * output, [0] * (output - 1)
    read = 1 << output
    # Every vertex that is read needs one edge to itself; those are set apart from the start.
    spare = max_edges - 1
    for target in range(output, 0, -1):
        if not read >> target & 1:
            continue
        if target < output:
            operations[target - 1] = OPERATIONS.index(choose.one_of(_operation(target), OPERATIONS))
        chosen = 0
        for source in reversed(range(target)):
            first, new = not chosen, bool(source) and not read >> source & 1
            price = new + (not first)
            if price <= spare and ((first and not source) or choose.one_of(_edge(target, source), (False, True))):
                chosen |= 1 << source
                read |= 1 << source
                spare -= price
        sources[target - 1] = chosen
    return pruned(sources, operations)


@lru_cache(maxsize=4_096)
def _count_cells(target: int, read: int, spare: int, output: int) -> int:
    """How many ways there are to answer what `_ask_cell` asks from `target` on."""
    if not target:
        return 1
    if not read >> target & 1:
        return _count_cells(target - 1, read, spare, output)
    total = 0
    for chosen in range(1, 1 << target):
        price = chosen.bit_count() - 1 + (chosen & ~read & ~1).bit_count()
        if price <= spare:
            total += _count_cells(target - 1, read | chosen, spare - price, output)
    return total if target == output else len(OPERATIONS) * total


@lru_cache(maxsize=4_096)
def _network(space: NasBench101, cell: MatrixCell) -> Architecture:
    builder = GraphBuilder()
    value = builder.add("stem", conv_unit(space.channels, 3), builder.input())
    for stack in range(space.stacks):
        if stack:
            value = builder.add(f"pool{stack}", pool2d("max", 2), value)
        body = _cell(cell, space.channels * 2**stack)
        value = builder.add(f"stack{stack + 1}", _stack(body, space.cells_per_stack), value)
    value = builder.add("head", _head(space.classes), value)
    return Architecture(builder.graph(value), (space.input_shape,))


def _stack(body: Cell, cells: int) -> Cell:
    builder = GraphBuilder()
    return builder.cell("stack", builder.chain(builder.input(), *[(f"cell{index}", body) for index in range(cells)]))


def _cell(cell: MatrixCell, channels: int) -> Cell:
    output = cell.vertices - 1
    widths = (0, *vertex_channels(cell, channels), channels)
    builder = GraphBuilder()
    values = {0: builder.input()}
    slices: dict[tuple[int, int], int] = {}

    def first_channels(source: int, width: int) -> int:
        """The value of a vertex, without what the reader has no channels for."""
        if widths[source] == width:
            return values[source]
        if (source, width) not in slices:
            slices[source, width] = builder.add(f"slice{source}", ChannelSlice(0, width), values[source])
        return slices[source, width]

    for vertex in range(1, cell.vertices):
        inner = [source for source in range(1, vertex) if cell.reads(vertex, source)]
        if vertex == output:
            arriving = [values[source] for source in inner]
            if len(inner) > 1:
                arriving = [builder.add("join", Concat(), *arriving)]
        else:
            arriving = [first_channels(source, widths[vertex]) for source in inner]
        if cell.reads(vertex, 0):
            arriving.append(builder.add(f"projection{vertex}", conv_unit(widths[vertex], 1), values[0]))
        value = arriving[0] if len(arriving) == 1 else builder.add(f"sum{vertex}", Add(), *arriving)
        if vertex < output:
            operation = _vertex(OPERATIONS[cell.operations[vertex - 1]], widths[vertex])
            value = builder.add(f"vertex{vertex}", operation, value)
        values[vertex] = value
    return builder.cell("nasbench101", values[output])


@lru_cache
def _vertex(operation: str, channels: int) -> Operation:
    """The operation at a vertex of so many channels."""
    match operation:
        case "maxpool3x3":
            return pool2d("max", 3, stride=1, padding=1)
        case _:
            return conv_unit(channels, 1 if operation == "conv1x1-bn-relu" else 3)


@lru_cache
def _head(classes: int) -> Cell:
    builder = GraphBuilder()
    end = builder.chain(
        builder.input(), ("pool", GlobalPool("average")), ("flatten", Flatten()), ("linear", Linear(classes))
    )
    return builder.cell("head", end)


def _cell_of(architecture: Architecture) -> MatrixCell | None:
    """The cell that the first stack tells of by the names of its nodes, or None where there is no such stack."""
    stack = next((node.operation for node in architecture.graph.nodes if node.name == "stack1"), None)
    if not isinstance(stack, Cell) or not isinstance(stack.body.nodes[-1].operation, Cell):
        return None
    body = stack.body.nodes[-1].operation.body
    sources: list[int] = []
    operations: list[int] = []
    carried: list[int] = []
    """For each node the set of the vertices whose values it gives."""
    for node in body.nodes:
        before = reduce(or_, (carried[source] for source in node.inputs), 0)
        if node.name.startswith("vertex"):
            sources.append(before)
            operations.append(_operation_of(node.operation))
            before = 1 << len(sources)
        elif node.name.startswith("projection"):
            before = 1
        carried.append(before)
    sources.append(carried[body.outputs[0][1]])
    return MatrixCell(tuple(sources), tuple(operations)) if all(sources) else None


def _operation_of(operation: Operation) -> int:
    """Which of `OPERATIONS` stands at a vertex."""
    if not isinstance(operation, Cell):
        return OPERATIONS.index("maxpool3x3")
    kernels = [node.operation.kernel for node in operation.body.nodes if isinstance(node.operation, Conv)]
    return OPERATIONS.index("conv1x1-bn-relu" if kernels == [(1, 1)] else "conv3x3-bn-relu")
