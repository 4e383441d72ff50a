"""The folded diagram of a network: what is in a cell is drawn once beside it, as an inset with a letter.

- Cells that differ in their sizes alone share a letter. Those that differ in few settings share it too, and say so in
  their boxes.
- Equal cells that stand one behind the other are one box with their number.
- A chain of cells, as a stage is, stays a frame, unless cells alike stand in several places and most of what is in
  them is not folded itself.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from analysis.drawing.diagram import (
    Box,
    Diagram,
    Drafter,
    Inset,
    cell_of,
    cell_tooltip,
    family_unless_name,
    is_chain,
    is_stack,
    run_cost,
    run_name,
    shortened,
    sizes,
    words,
)
from analysis.layer import Layer
from search_spaces.architecture import Architecture
from search_spaces.graph import Cell, Graph, Node, node_shapes, walk
from search_spaces.ops import Input, Operation, Shape

_MOST_DIFFERENCES = 2
"""The most lines in which a cell says how it differs from the inset that it shares."""

_LONGEST_DIFFERENCE = 48


class _Detail(NamedTuple):
    """What one operation in a cell is, and the name of the box that it is written in."""

    name: str
    words: str


class _Folded(NamedTuple):
    letter: str
    details: tuple[_Detail, ...]


def folded(architecture: Architecture, layers: Mapping[str, Layer]) -> tuple[Diagram, tuple[Inset, ...]]:
    """The folded network and the insets of what is folded, by letter; `layers` has the report of its operations."""
    folder = _Folder(layers, Counter(_chain_structures(architecture.graph)))
    diagram = folder.network(architecture)
    return diagram, tuple(sorted(folder.insets, key=lambda inset: (len(inset.letter), inset.letter)))


class _Folder(Drafter):
    def __init__(self, layers: Mapping[str, Layer], chains: Counter[object]) -> None:
        super().__init__(layers)
        self.insets: list[Inset] = []
        self._chains = chains
        self._folded: dict[object, list[_Folded]] = {}
        self._letters = _letters()

    def runs(self, graph: Graph) -> list[list[int]]:
        readers = graph.consumers()
        outputs = {index for _, index in graph.outputs}
        runs: list[list[int]] = []
        for index, node in enumerate(graph.nodes):
            before = node.inputs[0] if len(node.inputs) == 1 else None
            follows = (
                before is not None
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

    def frame(self, nodes: Sequence[Node], inputs: Sequence[tuple[Shape, ...]], output: Shape, prefix: str) -> Box:
        cell = cell_of(nodes[0])
        if not self._is_folded(cell):
            frame = super().frame(nodes, inputs, output, prefix)
            return _merged(frame) if len(nodes) == 1 else frame
        letter, differences = self._letter(cell, inputs[0], prefix + nodes[0].name)
        return Box(
            shortened(run_name(nodes)),
            "cell",
            cell_tooltip(nodes, inputs, output, prefix),
            about=family_unless_name(nodes),
            differences=differences,
            sizes=sizes(output, run_cost(nodes, inputs)),
            letter=letter,
            times=len(nodes),
        )

    def _is_folded(self, operation: Operation) -> bool:
        if not isinstance(operation, Cell) or is_stack(operation):
            return False
        if not is_chain(operation.body):
            return True
        if len(self.runs(operation.body)) == 2:
            # An input and one run, which is drawn in place of the cell.
            return False
        inside = sum(_count(node.operation) for node in operation.body.nodes if self._is_folded(node.operation))
        return 2 * inside <= _count(operation) and self._chains[_structure(operation)] > 1

    def _letter(self, cell: Cell, inputs: tuple[Shape, ...], path: str) -> tuple[str, tuple[str, ...]]:
        """The letter of a cell's inset, and the lines that tell how the cell differs from what is drawn there."""
        alike = self._folded.setdefault(_structure(cell), [])
        details = tuple(_details(cell.body, inputs))
        for letter, drawn in alike:
            lines = _differences(drawn, details)
            if lines is not None:
                return letter, lines
        letter = next(self._letters)
        alike.append(_Folded(letter, details))
        self.insets.append(
            Inset(letter, cell.family, path, self.body(cell.body, inputs, f"{path}.", framed=False)),
        )
        return letter, ()


def _merged(frame: Box) -> Box:
    """What is in a frame in its place, if that is one box and no frame."""
    contents = [box for box in frame.inner.boxes if box.kind != "port"] if frame.inner is not None else []
    if len(contents) != 1 or contents[0].inner is not None:
        return frame
    (only,) = contents
    return replace(only, name=frame.name, about=f"{only.name} {only.about}".strip())


def _count(operation: Operation) -> int:
    """How many operations are in a cell, at any depth."""
    if not isinstance(operation, Cell):
        return 1
    return sum(1 for _, node in walk(operation.body) if not isinstance(node.operation, Input))


def _letters() -> Iterator[str]:
    """`A` to `Z`, `AA` to `ZZ`, and so on."""
    length = 1
    while True:
        for number in range(26**length):
            yield "".join(chr(ord("A") + number // 26**place % 26) for place in reversed(range(length)))
        length += 1


def _chain_structures(graph: Graph) -> Iterator[object]:
    for node in graph.nodes:
        if isinstance(node.operation, Cell):
            if is_chain(node.operation.body):
                yield _structure(node.operation)
            yield from _chain_structures(node.operation.body)


def _structure(operation: Operation) -> object:
    """What cells must agree in to share a letter: everything but the settings of their operations."""
    if not isinstance(operation, Cell):
        return type(operation).__name__
    nodes = tuple((_structure(node.operation), node.inputs) for node in operation.body.nodes)
    return (operation.family, nodes, operation.body.outputs[0][1])


def _details(graph: Graph, input_shapes: tuple[Shape, ...], prefix: str = "") -> Iterator[_Detail]:
    shapes = node_shapes(graph, input_shapes)
    for node in graph.nodes:
        inputs = tuple(shapes[source] for source in node.inputs)
        path = prefix + node.name
        if is_stack(node.operation):
            yield from (_Detail(path, detail.words) for detail in _details(cell_of(node).body, inputs))
        elif isinstance(node.operation, Cell):
            yield from _details(node.operation.body, inputs, f"{path}.")
        elif not isinstance(node.operation, Input):
            yield _Detail(path, words(node.operation, inputs))


def _differences(drawn: Sequence[_Detail], details: Sequence[_Detail]) -> tuple[str, ...] | None:
    """`conv1, conv2: Conv 5x5`: what cells of one structure differ in; None if that is too much for a box."""
    places: dict[str, list[str]] = {}
    for there, here in zip(drawn, details, strict=True):
        if there.words != here.words:
            places.setdefault(here.words, []).append(here.name)
    lines = tuple(f"{', '.join(dict.fromkeys(names))}: {what}" for what, names in places.items())
    if len(lines) > _MOST_DIFFERENCES or any(len(line) > _LONGEST_DIFFERENCE for line in lines):
        return None
    return lines
