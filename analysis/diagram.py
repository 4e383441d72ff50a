"""What a drawing of a network shows: boxes with text, frames around cells, and the edges between them.

Folded, a cell whose body branches is one box with a letter, and its body is drawn once beside the network, however
often it stands there; a short chain of operations is one box; runs of equal cells are one box with their number. A
cell that is a chain of cells, as a stage is, becomes a frame. Unfolded, every cell is a frame around its body.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

from analysis.describe import describe
from analysis.layer import Layer
from analysis.totals import operation_totals
from search_spaces.graph import Cell, Graph, Node, node_shapes
from search_spaces.ops import (
    Activation,
    AdaptivePool,
    Add,
    BatchNorm,
    Concat,
    Conv,
    GlobalPool,
    Input,
    LayerNorm,
    Linear,
    LocalResponseNorm,
    Multiply,
    Operation,
    Pool,
    Shape,
)

KINDS: dict[str, tuple[type[Operation], ...]] = {
    "cell": (Cell,),
    "convolution": (Conv,),
    "linear": (Linear,),
    "pooling": (Pool, GlobalPool, AdaptivePool),
    "normalisation": (BatchNorm, LayerNorm, LocalResponseNorm),
    "activation": (Activation,),
    "join": (Add, Multiply, Concat),
    "input": (Input,),
}
"""The kinds of boxes that have a colour of their own; what is none of these is `other`."""

_CHAIN_LENGTH = 4
"""The most operations of a chain that are written into one box."""


@dataclass(frozen=True, slots=True)
class Box:
    """One box: its lines of text, its kind, what it tells when pointed at, and the diagram inside if it is a frame."""

    lines: tuple[str, ...]
    kind: str
    tooltip: str
    inner: "Diagram | None" = None


@dataclass(frozen=True, slots=True)
class Diagram:
    """Boxes in topological order, and edges by their numbers with the shape of what flows."""

    boxes: tuple[Box, ...]
    edges: tuple[tuple[int, int, Shape], ...]


@dataclass(frozen=True, slots=True)
class Inset:
    """The body of a cell that is folded elsewhere, under its letter."""

    title: str
    diagram: Diagram


def unfolded(graph: Graph, input_shapes: tuple[Shape, ...], layers: Mapping[str, Layer]) -> Diagram:
    """Every operation of a network; `layers` has its report by path."""
    return _Unfolding(layers).diagram(graph, input_shapes, "")


def folded(
    graph: Graph, input_shapes: tuple[Shape, ...], layers: Mapping[str, Layer]
) -> tuple[Diagram, tuple[Inset, ...]]:
    """A network with its cells as boxes, and the bodies of those that branch, each once."""
    folding = _Folding(layers)
    return folding.diagram(graph, input_shapes, ""), tuple(folding.insets)


def kind_of(operation: Operation) -> str:
    """The kind of box of an operation."""
    return next((kind for kind, types in KINDS.items() if isinstance(operation, types)), "other")


class _Unfolding:
    def __init__(self, layers: Mapping[str, Layer]) -> None:
        self._layers = layers

    def diagram(self, graph: Graph, input_shapes: tuple[Shape, ...], prefix: str) -> Diagram:
        """The boxes and edges of a graph whose path is `prefix`."""
        shapes = node_shapes(graph, input_shapes)
        runs = self._runs(graph)
        box_of = {index: number for number, run in enumerate(runs) for index in run}
        boxes = []
        for run in runs:
            node = graph.nodes[run[0]]
            inputs = tuple(shapes[source] for source in node.inputs)
            last = graph.nodes[run[-1]]
            boxes.append(self._box(node, last, len(run), inputs, shapes[run[-1]], prefix))
        edges = tuple(
            (box_of[source], box_of[index], shapes[source])
            for index, node in enumerate(graph.nodes)
            for source in node.inputs
            if box_of[source] != box_of[index]
        )
        return Diagram(tuple(boxes), edges)

    def _runs(self, graph: Graph) -> list[list[int]]:
        return [[index] for index in range(len(graph.nodes))]

    def _box(self, node: Node, last: Node, count: int, inputs: tuple[Shape, ...], output: Shape, prefix: str) -> Box:
        operation = node.operation
        if isinstance(operation, Cell):
            inner = self.diagram(operation.body, inputs, f"{prefix}{node.name}.")
            head = f"{node.name} · {operation.family}"
            return Box((head, _sizes(operation, inputs, output, 1)), "cell", f"{prefix}{node.name}", inner)
        return self._leaf(node, output, prefix)

    def _leaf(self, node: Node, output: Shape, prefix: str) -> Box:
        path = prefix + node.name
        if isinstance(node.operation, Input):
            return Box((node.name, _shape(output)), "input", path)
        layer = self._layers.get(path)
        tooltip = path if layer is None else _tell(layer)
        return Box((node.name, describe(node.operation), f"→ {_shape(output)}"), kind_of(node.operation), tooltip)


class _Folding(_Unfolding):
    def __init__(self, layers: Mapping[str, Layer]) -> None:
        super().__init__(layers)
        self.insets: list[Inset] = []
        self._letters: dict[object, str] = {}

    def _runs(self, graph: Graph) -> list[list[int]]:
        """Cells that are equal and stand one behind the other, alone, make a run."""
        readers = graph.consumers()
        outputs = {index for _, index in graph.outputs}
        runs: list[list[int]] = []
        for index, node in enumerate(graph.nodes):
            before = node.inputs[0] if len(node.inputs) == 1 else None
            follows = (
                before is not None
                and runs
                and runs[-1][-1] == before
                and isinstance(node.operation, Cell)
                and graph.nodes[before].operation == node.operation
                and readers[before] == (index,)
                and before not in outputs
            )
            if follows:
                runs[-1].append(index)
            else:
                runs.append([index])
        return runs

    def _box(self, node: Node, last: Node, count: int, inputs: tuple[Shape, ...], output: Shape, prefix: str) -> Box:
        operation = node.operation
        if not isinstance(operation, Cell):
            return self._leaf(node, output, prefix)
        path = f"{prefix}{node.name}"
        name = node.name if count == 1 else f"{node.name} … {last.name}"
        times = "" if count == 1 else f"  ×{count}"
        body = operation.body
        sizes = _sizes(operation, inputs, output, count)
        if _is_chain(body) and any(isinstance(inner.operation, Cell) for inner in body.nodes):
            inner = self.diagram(body, inputs, f"{path}.")
            return Box((f"{name} · {operation.family}{times}", sizes), "cell", path, inner)
        if _is_chain(body) and len(body.nodes) <= _CHAIN_LENGTH + 1:
            steps = tuple(describe(inner.operation) for inner in body.nodes if inner.inputs)
            kinds = [kind_of(inner.operation) for inner in body.nodes if inner.inputs]
            return Box((f"{name}{times}", *steps, sizes), kinds[0], path)
        letter = self._letter(operation, inputs, path)
        return Box((f"{letter} · {name}{times}", operation.family, sizes), "cell", path)

    def _letter(self, cell: Cell, inputs: tuple[Shape, ...], path: str) -> str:
        """The letter of a cell's body; bodies that differ in their sizes alone share one."""
        signature = _signature(cell)
        if signature not in self._letters:
            number = len(self._letters)
            letter = chr(ord("A") + number % 26) * (number // 26 + 1)
            self._letters[signature] = letter
            place = len(self.insets)
            inset = Inset(f"{letter} · {cell.family}, as in {path}", self.diagram(cell.body, inputs, f"{path}."))
            # What is inside has got its letters by now, and follows.
            self.insets.insert(place, inset)
        return self._letters[signature]


def _is_chain(graph: Graph) -> bool:
    return all(node.inputs in ((), (index - 1,)) for index, node in enumerate(graph.nodes)) and len(graph.inputs) == 1


def _signature(operation: Operation) -> object:
    if not isinstance(operation, Cell):
        return describe(operation)
    nodes = tuple((_signature(node.operation), node.inputs) for node in operation.body.nodes)
    return (operation.family, nodes, operation.body.outputs)


def _sizes(operation: Operation, inputs: tuple[Shape, ...], output: Shape, count: int) -> str:
    cost = operation_totals(operation, inputs, 4).cost
    return f"→ {_shape(output)} · {short(count * cost.params)} params · {short(count * cost.macs)} MACs"


def _tell(layer: Layer) -> str:
    rows = [
        f"{layer.name}: {layer.operation}",
        f"output {_shape(layer.output_shape)}, {layer.activation_bytes:,} bytes",
        f"{layer.params:,} parameters, {layer.macs:,} MACs",
    ]
    if layer.receptive_field:
        rows.append("sees " + "x".join(str(window.size) for window in layer.receptive_field))
    return "\n".join(rows)


def _shape(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def elements(shape: Shape) -> int:
    """How many numbers flow along an edge."""
    return prod(shape)


def short(number: int) -> str:
    """`25.6 M`: three digits and a unit."""
    for unit, size in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return str(number)
