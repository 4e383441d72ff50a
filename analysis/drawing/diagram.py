"""What a drawing of a network shows: boxes with text, frames around cells, and the edges between them.

A chain of few operations is one box with a row for each. Unfolded, every other cell is a frame around its body;
folded, see `folding`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import NamedTuple

from analysis.cost import ELEMENT_BYTES, Cost, graph_cost
from analysis.describe import describe
from analysis.layer import Layer
from analysis.totals import operation_totals
from search_spaces.architecture import Architecture
from search_spaces.graph import Cell, Graph, Node, node_shapes
from search_spaces.ops import (
    Activation,
    AdaptivePool,
    Add,
    BatchNorm,
    Concat,
    Conv,
    Embedding,
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
    "linear": (Linear, Embedding),
    "pooling": (Pool, GlobalPool, AdaptivePool),
    "normalisation": (BatchNorm, LayerNorm, LocalResponseNorm),
    "activation": (Activation,),
    "join": (Add, Multiply, Concat),
    "end": (Input,),
}
"""The kinds of boxes and rows that have a colour of their own; what is none of these is `other`.

An `end` is an input or an output. A `port` is the unnamed input of a frame, which takes no more than a dot.
"""

MOST_ROWS = 8
"""The most operations of a chain that are written into one box."""

_LONGEST_TEXT = 64
"""Longer ones are cut short; what they say in full, they tell when pointed at."""


class Row(NamedTuple):
    """One operation of a chain that is written into one box."""

    text: str
    kind: str
    tooltip: str


@dataclass(frozen=True, slots=True)
class Box:
    """One box: what is written in it, its kind, and the diagram inside of it if it is a frame.

    - `name` and `about` are its heading, `rows` the operations of a chain.
    - `differences` are lines that tell how a cell differs from the inset that it shares, `sizes` the line below.
    - `letter` says which inset shows what is in it, `times` how many equal cells it stands for, one behind the other.
    - `tooltip` tells exact figures when it is pointed at.
    """

    name: str
    kind: str
    tooltip: str
    about: str = ""
    rows: tuple[Row, ...] = ()
    differences: tuple[str, ...] = ()
    sizes: str = ""
    letter: str = ""
    times: int = 1
    inner: "Diagram | None" = None


class Edge(NamedTuple):
    """What flows from one box to a later one, by their numbers."""

    source: int
    target: int
    shape: Shape


@dataclass(frozen=True, slots=True)
class Diagram:
    """Boxes in topological order, and the edges between them."""

    boxes: tuple[Box, ...]
    edges: tuple[Edge, ...]


@dataclass(frozen=True, slots=True)
class Inset:
    """The body of a folded cell, under its letter; `example` is the path of the cell whose sizes it shows."""

    letter: str
    family: str
    example: str
    diagram: Diagram


def kind_of(operation: Operation) -> str:
    """The kind of box of an operation."""
    return next((kind for kind, types in KINDS.items() if isinstance(operation, types)), "other")


def is_chain(graph: Graph) -> bool:
    """Whether each node reads the one before it and nothing else."""
    return all(node.inputs == ((index - 1,) if index else ()) for index, node in enumerate(graph.nodes))


def is_stack(operation: Operation) -> bool:
    """Whether an operation is a cell that is drawn as one box with a row for each operation."""
    if not isinstance(operation, Cell) or not is_chain(operation.body):
        return False
    steps = operation.body.nodes[1:]
    return 1 <= len(steps) <= MOST_ROWS and not any(isinstance(step.operation, Cell) for step in steps)


def words(operation: Operation, inputs: Sequence[Shape]) -> str:
    """What an operation is; that a convolution is depthwise stands for its number of groups."""
    text = describe(operation)
    if isinstance(operation, Conv) and operation.groups == inputs[0][0] > 1:
        return text.replace(f"groups {operation.groups}", "depthwise")
    return text


class Drafter:
    """Makes the diagram of a network with every cell unfolded; `layers` has the report of its operations by path."""

    def __init__(self, layers: Mapping[str, Layer]) -> None:
        self._layers = layers

    def network(self, architecture: Architecture) -> Diagram:
        """The whole network, with its inputs and outputs as boxes."""
        graph, shapes = architecture.graph, architecture.input_shapes
        inner = self.body(graph, shapes, "", framed=False)
        box_of = self._box_numbers(graph)
        boxes, edges = list(inner.boxes), list(inner.edges)
        for (name, index), shape in zip(graph.outputs, architecture.output_shapes, strict=True):
            edges.append(Edge(box_of[index], len(boxes), shape))
            boxes.append(Box(shortened(name), "end", f"output {name}", about=shape_text(shape)))
        return Diagram(tuple(boxes), tuple(edges))

    def body(self, graph: Graph, input_shapes: tuple[Shape, ...], prefix: str, *, framed: bool) -> Diagram:
        """The boxes and edges of a graph whose path is `prefix`; in a frame its inputs take little room."""
        shapes = node_shapes(graph, input_shapes)
        box_of = self._box_numbers(graph)
        boxes = []
        for run in self.runs(graph):
            nodes = [graph.nodes[index] for index in run]
            inputs = [tuple(shapes[source] for source in node.inputs) for node in nodes]
            if isinstance(nodes[0].operation, Input):
                boxes.append(_input_box(nodes[0].name, shapes[run[0]], prefix, framed, alone=len(graph.inputs) == 1))
            else:
                boxes.append(self.box(nodes, inputs, shapes[run[-1]], prefix))
        edges = tuple(
            Edge(box_of[source], box_of[index], shapes[source])
            for index, node in enumerate(graph.nodes)
            for source in node.inputs
            if box_of[source] != box_of[index]
        )
        return Diagram(tuple(boxes), edges)

    def runs(self, graph: Graph) -> list[list[int]]:
        """The nodes of each box, one behind the other."""
        return [[index] for index in range(len(graph.nodes))]

    def box(self, nodes: Sequence[Node], inputs: Sequence[tuple[Shape, ...]], output: Shape, prefix: str) -> Box:
        """The box of a run of equal nodes, which read values of these shapes; `output` is what the last one gives."""
        operation = nodes[0].operation
        path = prefix + nodes[0].name
        if not isinstance(operation, Cell):
            return self._leaf(nodes[0], inputs[0], output, path)
        if is_stack(operation):
            return self._stack(nodes, inputs, output, prefix)
        return self.frame(nodes, inputs, output, prefix)

    def frame(self, nodes: Sequence[Node], inputs: Sequence[tuple[Shape, ...]], output: Shape, prefix: str) -> Box:
        """A cell as a frame around its body."""
        cell = cell_of(nodes[0])
        return Box(
            shortened(run_name(nodes)),
            "cell",
            cell_tooltip(nodes, inputs, output, prefix),
            about=family_unless_name(nodes),
            sizes=sizes(output, run_cost(nodes, inputs)),
            times=len(nodes),
            inner=self.body(cell.body, inputs[0], f"{prefix}{nodes[0].name}.", framed=True),
        )

    def _stack(self, nodes: Sequence[Node], inputs: Sequence[tuple[Shape, ...]], output: Shape, prefix: str) -> Box:
        cell = cell_of(nodes[0])
        path = f"{prefix}{nodes[0].name}."
        shapes = node_shapes(cell.body, inputs[0])
        rows = tuple(
            Row(words(step.operation, [before]), kind_of(step.operation), self._tell(path + step.name))
            for step, before in zip(cell.body.nodes[1:], shapes, strict=False)
        )
        return Box(
            shortened(run_name(nodes)),
            "cell",
            cell_tooltip(nodes, inputs, output, prefix),
            rows=rows,
            sizes=sizes(output, run_cost(nodes, inputs)),
            times=len(nodes),
        )

    def _leaf(self, node: Node, inputs: tuple[Shape, ...], output: Shape, path: str) -> Box:
        return Box(
            shortened(node.name),
            kind_of(node.operation),
            self._tell(path),
            about=words(node.operation, inputs),
            sizes=sizes(output, run_cost([node], [inputs])),
        )

    def _tell(self, path: str) -> str:
        layer = self._layers[path]
        rows = [
            f"{layer.name}: {layer.operation}",
            f"output {shape_text(layer.output_shape)}, {layer.activation_bytes:,} bytes",
            f"{layer.params:,} parameters, {layer.macs:,} MACs",
        ]
        if layer.receptive_field:
            rows.append(f"sees {shape_text([window.size for window in layer.receptive_field])}")
        return "\n".join(rows)

    def _box_numbers(self, graph: Graph) -> dict[int, int]:
        return {index: number for number, run in enumerate(self.runs(graph)) for index in run}


def _input_box(name: str, shape: Shape, prefix: str, framed: bool, *, alone: bool) -> Box:
    tooltip = f"input {prefix}{name}"
    if framed and alone:
        return Box("", "port", tooltip)
    return Box(shortened(name), "end", tooltip, about="" if framed else shape_text(shape))


def cell_of(node: Node) -> Cell:
    """The operation of a node that is a cell."""
    if not isinstance(node.operation, Cell):
        raise TypeError(f"{node.name} is no cell")
    return node.operation


def run_name(nodes: Sequence[Node]) -> str:
    """`cell1 … cell35` for a run, the name alone for one node."""
    return nodes[0].name if len(nodes) == 1 else f"{nodes[0].name} … {nodes[-1].name}"


def family_unless_name(nodes: Sequence[Node]) -> str:
    """The family of a run of cells, which need not be told twice."""
    family = cell_of(nodes[0]).family
    return "" if family == run_name(nodes) else shortened(family)


def run_cost(nodes: Iterable[Node], inputs: Iterable[tuple[Shape, ...]]) -> Cost:
    """What nodes cost together that read values of these shapes."""
    return graph_cost(
        operation_totals(node.operation, shapes, ELEMENT_BYTES["float32"]).cost
        for node, shapes in zip(nodes, inputs, strict=True)
    )


def cell_tooltip(nodes: Sequence[Node], inputs: Sequence[tuple[Shape, ...]], output: Shape, prefix: str) -> str:
    """The path, family and exact figures of a run of cells, together."""
    cost = run_cost(nodes, inputs)
    together = "" if len(nodes) == 1 else f" in {len(nodes)} cells"
    return (
        f"{prefix}{run_name(nodes)}: {cell_of(nodes[0]).family}\n"
        f"output {shape_text(output)}\n"
        f"{cost.params:,} parameters, {cost.macs:,} MACs{together}"
    )


def sizes(output: Shape, cost: Cost) -> str:
    """What a box gives and costs, in short; what it costs nothing of, it does not say."""
    parts = [f"→ {shape_text(output)}"]
    if cost.params:
        parts.append(f"{short(cost.params)} params")
    if cost.macs:
        parts.append(f"{short(cost.macs)} MACs")
    return " · ".join(parts)


def shape_text(shape: Sequence[int]) -> str:
    """`64x56x56`."""
    return "x".join(map(str, shape))


def elements(shape: Shape) -> int:
    """How many numbers flow along an edge."""
    return prod(shape)


def short(number: int) -> str:
    """`25.6 M`: three digits and a unit."""
    for unit, size in (("T", 10**12), ("G", 10**9), ("M", 10**6), ("k", 10**3)):
        # What would be rounded to 1000 of a unit is 1 of the next.
        if number >= 0.9995 * size:
            return f"{number / size:.3g} {unit}"
    return str(number)


def shortened(text: str) -> str:
    """The text, cut where it gets too long for a box."""
    return text if len(text) <= _LONGEST_TEXT else f"{text[: _LONGEST_TEXT - 1]}…"
