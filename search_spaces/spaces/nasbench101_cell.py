"""The matrix form of a NAS-Bench-101 cell: checked, pruned, and brought to the one form that its class of isomorphs has.

A cell is published as an upper triangular matrix, whose row is the vertex that an edge leaves, and the operations of
its vertices, `input` first and `output` last. The benchmark trained one cell of each class of isomorphic ones: the one
that its generator meets first, which numbers the matrix by bits and tries the operations in their order. That
**representative** is found here by going through the orders in which the vertices may stand; so it is exact, and it
tells isomorphic cells as well as any canonical labelling does.

References:
    Ying, Klein, Christiansen, Real, Murphy, Hutter. NAS-Bench-101: Towards Reproducible Neural Architecture Search.
    ICML 2019 (sections 2.1, 2.2, S1).
    https://github.com/google-research/nasbench (`generate_graphs.py`, `graph_util.py`, `model_builder.py`).
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from hashlib import md5
from typing import NamedTuple

from search_spaces.errors import UserError, unknown_name

OPERATIONS = ("conv3x3-bn-relu", "conv1x1-bn-relu", "maxpool3x3")
"""What a vertex may do, in the benchmark's order and words."""

INPUT, OUTPUT = "input", "output"

MOST_VERTICES = 7
"""Of a cell, input and output included. The orders that a cell is brought through grow as the factorial does."""

Matrix = tuple[tuple[int, ...], ...]


class MatrixCell(NamedTuple):
    """A cell all of whose vertices lie on a path from the input, vertex 0, to the output, the last one.

    `sources` has for each vertex behind the input the vertices that it reads, as a set of bits: bit `x` is vertex `x`.
    `operations` are those of the vertices between, by their number in `OPERATIONS`.
    """

    sources: tuple[int, ...]
    operations: tuple[int, ...]

    @property
    def vertices(self) -> int:
        """How many vertices there are, input and output included."""
        return len(self.sources) + 1

    @property
    def edges(self) -> int:
        """How many edges there are."""
        return sum(source.bit_count() for source in self.sources)

    def reads(self, target: int, source: int) -> bool:
        """Whether there is an edge from `source` to `target`."""
        return bool(self.sources[target - 1] >> source & 1)

    def to_matrix(self) -> tuple[Matrix, tuple[str, ...]]:
        """The matrix and the operations, as they are published."""
        vertices = range(self.vertices)
        matrix = tuple(tuple(int(y > x and self.reads(y, x)) for y in vertices) for x in vertices)
        return matrix, (INPUT, *(OPERATIONS[operation] for operation in self.operations), OUTPUT)


def read_cell(matrix: Sequence[Sequence[int]], operations: Sequence[str]) -> MatrixCell:
    """The cell of a matrix and its operations, without the vertices that are on no path from input to output.

    Raises:
        UserError: the matrix is not square, not upper triangular or not of zeros and ones, the operations do not fit
            it, no path leads from the input to the output, or more than `MOST_VERTICES` lie on such paths.
    """
    rows = [list(row) for row in matrix]
    size = len(rows)
    if size < 2 or any(len(row) != size for row in rows):
        raise UserError(f"nasbench101: the matrix must be square, of at least 2 vertices, got rows of {_lengths(rows)}")
    if len(operations) != size:
        raise UserError(f"nasbench101: {len(operations)} operations for {size} vertices; give one for each")
    if operations[0] != INPUT or operations[-1] != OUTPUT:
        raise UserError(
            f"nasbench101: the operations must begin with {INPUT!r} and end with {OUTPUT!r}, got {list(operations)}"
        )
    for operation in operations[1:-1]:
        if operation not in OPERATIONS:
            raise unknown_name("operation of nasbench101", operation, OPERATIONS)
    for x, row in enumerate(rows):
        for y, entry in enumerate(row):
            if entry not in (0, 1) or (entry and x >= y):
                raise UserError(
                    f"nasbench101: the matrix must have zeros and ones above the diagonal, zeros elsewhere; "
                    f"row {x}, column {y} is {entry}"
                )
    sources = tuple(sum(1 << x for x in range(y) if rows[x][y]) for y in range(1, size))
    cell = pruned(sources, tuple(OPERATIONS.index(operation) for operation in operations[1:-1]))
    if cell.vertices > MOST_VERTICES:
        raise UserError(
            f"nasbench101: the cell has {cell.vertices} vertices on its paths; cells have at most {MOST_VERTICES}"
        )
    return cell


def _lengths(rows: list[list[int]]) -> str:
    return ", ".join(str(len(row)) for row in rows) or "nothing"


def pruned(sources: Sequence[int], operations: Sequence[int]) -> MatrixCell:
    """The cell of vertices some of which may be on no path from input to output.

    Raises:
        UserError: no path leads from the input to the output.
    """
    output = len(sources)
    fed = 1
    for vertex in range(1, output + 1):
        if sources[vertex - 1] & fed:
            fed |= 1 << vertex
    read = 1 << output
    for vertex in range(output, 0, -1):
        if read >> vertex & 1:
            read |= sources[vertex - 1]
    live = [vertex for vertex in range(output + 1) if (fed & read) >> vertex & 1]
    if live[:1] != [0] or live[-1] != output:
        raise UserError("nasbench101: no path leads from the input to the output; add an edge")
    kept = [_moved(sources[vertex - 1], live) for vertex in live[1:]]
    return MatrixCell(tuple(kept), tuple(operations[vertex - 1] for vertex in live[1:-1]))


def _moved(vertices: int, order: Sequence[int]) -> int:
    """The set of the places in `order` at which `vertices` stand."""
    return sum((vertices >> vertex & 1) << place for place, vertex in enumerate(order))


def representative(cell: MatrixCell) -> MatrixCell:
    """The cell of the same class that the benchmark trained."""
    sources, orders = _first_form(cell.sources)
    return MatrixCell(sources, min(tuple([cell.operations[vertex - 1] for vertex in order]) for order in orders))


@lru_cache(maxsize=65_536)
def _first_form(sources: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[tuple[int, ...], ...]]:
    """The edges that the generator meets first of all isomorphic ones, and the orders of the vertices that give them."""
    forms: dict[tuple[int, ...], list[tuple[int, ...]]] = {}
    for order in _orders(sources):
        whole = (0, *order, len(sources))
        forms.setdefault(tuple(_moved(sources[vertex - 1], whole) for vertex in whole[1:]), []).append(order)
    # The highest bits of the generator's number are the edges into the output.
    first = min(forms, key=lambda form: form[::-1])
    return first, tuple(forms[first])


def _orders(sources: tuple[int, ...], begun: tuple[int, ...] = (), placed: int = 1) -> Iterator[tuple[int, ...]]:
    """Every order of the vertices between input and output in which all stand behind what they read."""
    if len(begun) == len(sources) - 1:
        yield begun
    for vertex in range(1, len(sources)):
        if not placed >> vertex & 1 and not sources[vertex - 1] & ~placed:
            yield from _orders(sources, (*begun, vertex), placed | 1 << vertex)


def cell_key(matrix: Sequence[Sequence[int]], operations: Sequence[str]) -> str:
    """A text that is equal exactly for cells that are isomorphic once they are pruned.

    It is the number of the representative: its edges as a hexadecimal number, in which bit `x + y (y - 1) / 2` is the
    edge from `x` to `y`, and a digit for the operation of each vertex between input and output.

    Raises:
        UserError: these are not the matrix and operations of a cell.
    """
    return key_of(read_cell(matrix, operations))


def key_of(cell: MatrixCell) -> str:
    """The `cell_key` of a cell."""
    sources, operations = representative(cell)
    edges = sum(source << y * (y - 1) // 2 for y, source in enumerate(sources, start=1))
    return f"{edges:x}-{''.join(map(str, operations))}"


def module_hash(cell: MatrixCell) -> str:
    """The name of the cell in the published tables: 32 hexadecimal digits, equal for isomorphic cells.

    That no two classes of the benchmark share one was verified by its authors; it does not follow from how it is made,
    by colour refinement alone.
    """
    vertices = range(cell.vertices)
    labels = (-1, *cell.operations, -2)
    read = [[x for x in vertices if x < y and cell.reads(y, x)] for y in vertices]
    readers = [[y for y in vertices if y > x and cell.reads(y, x)] for x in vertices]
    hashes = [_md5(str((len(readers[v]), len(read[v]), labels[v]))) for v in vertices]
    for _ in vertices:
        hashes = [
            _md5("|".join("".join(sorted(hashes[w] for w in near)) for near in (read[v], readers[v])) + f"|{hashes[v]}")
            for v in vertices
        ]
    return _md5(str(sorted(hashes)))


def _md5(text: str) -> str:
    return md5(text.encode(), usedforsecurity=False).hexdigest()


def vertex_channels(cell: MatrixCell, channels: int) -> tuple[int, ...]:
    """The number of output channels of each vertex between input and output, where the cell gives `channels`.

    The output joins what it reads, the input apart, so these share its channels, the first ones taking one more where
    they do not divide. All others have as many as the widest of their readers.
    """
    output = cell.vertices - 1
    joined = [vertex for vertex in range(1, output) if cell.reads(output, vertex)]
    widths: dict[int, int] = {}
    for place, vertex in enumerate(joined):
        widths[vertex] = channels // len(joined) + (place < channels % len(joined))
    for vertex in range(output - 1, 0, -1):
        if vertex not in widths:
            widths[vertex] = max(widths[reader] for reader in range(vertex + 1, output) if cell.reads(reader, vertex))
    return tuple(widths[vertex] for vertex in range(1, output))
