"""Reads a drawing back from its SVG: boxes, frames, insets and edges, with what is written in them and where."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

NAMESPACE = "{http://www.w3.org/2000/svg}"
Point = tuple[float, float]


class Rectangle(NamedTuple):
    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: "Rectangle", slack: float = 0.15) -> bool:
        """Whether they share more than what comes from rounding."""
        return (
            self.left < other.right - slack
            and other.left < self.right - slack
            and self.top < other.bottom - slack
            and other.top < self.bottom - slack
        )

    def contains(self, other: "Rectangle", slack: float = 0.15) -> bool:
        return (
            self.left <= other.left + slack
            and self.top <= other.top + slack
            and self.right >= other.right - slack
            and self.bottom >= other.bottom - slack
        )

    def has_inside(self, point: Point, slack: float = 0.6) -> bool:
        return self.left + slack < point[0] < self.right - slack and self.top + slack < point[1] < self.bottom - slack


class Piece(NamedTuple):
    text: str
    bold: bool
    size: float


class Text(NamedTuple):
    """The pieces of one line, the gaps between them together, and where the line is anchored."""

    pieces: tuple[Piece, ...]
    gaps: float
    at: Point
    anchor: str
    kind: str

    @property
    def plain(self) -> str:
        return " ".join(piece.text for piece in self.pieces)


@dataclass
class DrawnRow:
    place: Rectangle
    text: Text
    tooltip: str


@dataclass
class DrawnBox:
    kind: str
    place: Rectangle
    tooltip: str
    texts: list[Text] = field(default_factory=list)
    rows: list[DrawnRow] = field(default_factory=list)
    letter: str = ""
    badge: Rectangle | None = None
    times: int = 1
    inner: "DrawnDiagram | None" = None

    @property
    def params(self) -> int:
        """As the tooltip tells them."""
        return _figure(self.tooltip, r"([\d,]+) parameters")

    @property
    def macs(self) -> int:
        """As the tooltip tells them."""
        return _figure(self.tooltip, r"([\d,]+) MACs")


@dataclass
class DrawnDiagram:
    boxes: list[DrawnBox]
    edges: list[list[Point]]

    def all_diagrams(self) -> Iterator["DrawnDiagram"]:
        yield self
        for box in self.boxes:
            if box.inner is not None:
                yield from box.inner.all_diagrams()

    def all_boxes(self) -> Iterator[DrawnBox]:
        for diagram in self.all_diagrams():
            yield from diagram.boxes


@dataclass
class DrawnInset:
    place: Rectangle
    title: Text
    diagram: DrawnDiagram


@dataclass
class DrawnNetwork:
    width: float
    height: float
    title: str
    heading: list[Text]
    network: DrawnDiagram
    insets: dict[str, DrawnInset]

    def diagrams(self) -> list[DrawnDiagram]:
        """The network and the bodies of the insets."""
        return [self.network, *(inset.diagram for inset in self.insets.values())]

    def operations(self, diagram: DrawnDiagram) -> int:
        """How many operations the boxes of a diagram stand for, by their rows, frames, letters and numbers of cells."""
        return sum(box.times * self._operations(box) for box in diagram.boxes)

    def _operations(self, box: DrawnBox) -> int:
        if box.kind in ("port", "end"):
            return 0
        if box.inner is not None:
            return self.operations(box.inner)
        if box.letter:
            return self.operations(self.insets[box.letter].diagram)
        return max(1, len(box.rows))


def read_drawing(text: str) -> DrawnNetwork:
    """What the SVG shows; fails on what is no XML."""
    root = ElementTree.fromstring(text)
    assert root.tag == f"{NAMESPACE}svg"
    left, top, width, height = map(float, root.attrib["viewBox"].split())
    assert (left, top) == (0, 0)
    groups = _groups(root)
    (network,) = (group for group in groups if group.get("class") == "network")
    (heading,) = (group for group in groups if group.get("class") == "heading")
    insets = {group.attrib["id"].removeprefix("inset-"): group for group in groups if group.get("class") == "inset"}
    title = root.find(f"{NAMESPACE}title")
    assert title is not None
    return DrawnNetwork(
        width,
        height,
        title.text or "",
        [_text(element) for element in heading.findall(f"{NAMESPACE}text")],
        _diagram(network),
        {letter: _inset(group) for letter, group in insets.items()},
    )


def _inset(group: Element) -> DrawnInset:
    (body,) = (child for child in _groups(group) if child.get("class") == "body")
    border = next(child for child in group if child.get("class") == "border")
    title = next(child for child in group if child.get("class") == "left bare")
    return DrawnInset(_rectangle(border), _text(title), _diagram(body))


def _diagram(group: Element) -> DrawnDiagram:
    boxes = []
    for child in group:
        kinds = (child.get("class") or "").split()
        if "port" in kinds:
            x, y, radius = (float(child.attrib[name]) for name in ("cx", "cy", "r"))
            place = Rectangle(x - radius, y - radius, x + radius, y + radius)
            boxes.append(DrawnBox("port", place, _tooltip(child)))
        elif "box" in kinds or "frame" in kinds:
            boxes.append(_box(child, kinds[-1]))
    edges = [_points(child.attrib["d"]) for child in group if child.get("class") == "edge"]
    return DrawnDiagram(boxes, edges)


def _box(group: Element, kind: str) -> DrawnBox:
    rectangle = group.find(f"{NAMESPACE}rect")
    assert rectangle is not None
    box = DrawnBox(kind, _rectangle(rectangle), _tooltip(group))
    for child in group:
        kinds = (child.get("class") or "").split()
        if child.tag == f"{NAMESPACE}text":
            text = _text(child)
            if "times" in kinds:
                box.times = int(text.plain.removeprefix("×"))
            box.texts.append(text)
        elif child.tag == f"{NAMESPACE}a":
            badge, letter = child
            box.letter, box.badge = letter.text or "", _rectangle(badge)
            assert child.attrib["href"] == f"#inset-{box.letter}"
        elif "row" in kinds:
            _, place, text = child
            box.rows.append(DrawnRow(_rectangle(place), _text(text), _tooltip(child)))
        elif "body" in kinds:
            box.inner = _diagram(child)
    return box


def _groups(element: Element) -> list[Element]:
    return element.findall(f"{NAMESPACE}g")


def _tooltip(element: Element) -> str:
    title = element.find(f"{NAMESPACE}title")
    return "" if title is None else title.text or ""


def _rectangle(element: Element) -> Rectangle:
    x, y, width, height = (float(element.attrib[name]) for name in ("x", "y", "width", "height"))
    return Rectangle(x, y, x + width, y + height)


def _text(element: Element) -> Text:
    kinds = (element.get("class") or "").split()
    anchor = next((kind for kind in kinds if kind in ("left", "right")), "middle")
    pieces = [Piece(element.text or "", "times" in kinds, 11.0)] if element.text else []
    for span in element:
        bold = span.get("class") in ("name", "times")
        pieces.append(Piece(span.text or "", bold, float(span.get("font-size", 11))))
    return Text(
        tuple(pieces),
        sum(float(span.get("dx", 0)) for span in element),
        (float(element.attrib["x"]), float(element.attrib["y"])),
        anchor,
        kinds[0] if kinds else "",
    )


def _figure(text: str, pattern: str) -> int:
    found = re.search(pattern, text)
    return 0 if found is None else int(found[1].replace(",", ""))


def _points(path: str) -> list[Point]:
    """Points along a path of the commands M, V, H and C, no further apart than a few pixels."""
    commands = re.findall(r"([MVHC])([-\d. ]+)", path)
    assert "".join(name + numbers for name, numbers in commands) == path
    points: list[Point] = []
    for name, numbers in commands:
        values = [float(number) for number in numbers.split()]
        if name == "M":
            points.append((values[0], values[1]))
        elif name == "V":
            points += _line(points[-1], (points[-1][0], values[0]))
        elif name == "H":
            points += _line(points[-1], (values[0], points[-1][1]))
        else:
            points += _curve(points[-1], *zip(values[::2], values[1::2], strict=True))
    return points


def _line(start: Point, end: Point) -> list[Point]:
    return _curve(start, start, end, end)


def _curve(start: Point, first: Point, second: Point, end: Point) -> list[Point]:
    reach = sum(abs(a - c) + abs(b - d) for (a, b), (c, d) in pairwise((start, first, second, end)))
    count = max(2, int(reach / 3))
    points = []
    for step in range(1, count + 1):
        t = step / count
        shares = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3)
        x, y = (
            sum(share * point[axis] for share, point in zip(shares, (start, first, second, end), strict=True))
            for axis in (0, 1)
        )
        points.append((x, y))
    return points
