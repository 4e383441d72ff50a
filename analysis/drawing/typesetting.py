"""How large boxes are that hold their text, and with that where everything in a diagram goes."""

from dataclasses import dataclass

from analysis.drawing.columns import in_columns
from analysis.drawing.diagram import Box, Diagram, Inset, shortened
from analysis.drawing.layered_layout import Layout, lay_out

FONT_SIZE = 11.0
LINE_HEIGHT = 14.0
ROW_HEIGHT = 16.0
PADDING = 9.0
"""Left and right of text, and around the diagram in a frame."""
EDGE_PADDING = 4.0
"""Above and below text."""
PORT_SIZE = 7.0
BADGE_HEIGHT = 14.0
TITLE_HEIGHT = 26.0
"""Of an inset."""

_NARROW = frozenset(" !'(),-./:;I[\\]fijlrt|`·\"")
_WIDE = frozenset("%@MWmw→…")
_BOLD = 1.15
_WIDTHS = {"narrow": 0.43, "wide": 1.02, "usual": 0.64, "capital": 0.84, "foreign": 1.05}
"""In parts of the font size: no less than in Helvetica, Arial, Liberation Sans or DejaVu Sans."""

_COMFORTABLE_HEIGHT = 700.0
_TALLEST_FRAME = 1.5
"""A frame that is higher than is comfortable, and this many times as high as it is wide, gets columns."""


@dataclass(frozen=True, slots=True)
class PlacedBox:
    """A box with its size, and with what is in it if it is a frame; that stands at the foot, in the middle."""

    box: Box
    width: float
    height: float
    inner: "PlacedDiagram | None" = None


@dataclass(frozen=True, slots=True)
class PlacedDiagram:
    """A diagram, its boxes with their sizes, and where they and the edges go."""

    diagram: Diagram
    boxes: tuple[PlacedBox, ...]
    layout: Layout


@dataclass(frozen=True, slots=True)
class PlacedInset:
    """An inset with its size, title and border included."""

    inset: Inset
    title: str
    width: float
    height: float
    inner: PlacedDiagram


def place_diagram(diagram: Diagram) -> PlacedDiagram:
    """Where everything in a diagram goes, in one column."""
    boxes = tuple(map(_place_box, diagram.boxes))
    sizes = tuple((box.width, box.height) for box in boxes)
    return PlacedDiagram(diagram, boxes, lay_out(sizes, tuple((edge.source, edge.target) for edge in diagram.edges)))


def place_inset(inset: Inset) -> PlacedInset:
    """Where everything in an inset goes."""
    inner = _shaped(place_diagram(inset.diagram))
    title = shortened(f"{inset.family}, as in {inset.example}")
    width = max(inner.layout.width, badge_width(inset.letter) + 6 + text_width(title, bold=True))
    return PlacedInset(inset, title, width + 2 * PADDING, inner.layout.height + TITLE_HEIGHT + PADDING, inner)


def text_width(text: str, *, bold: bool = False, size: float = FONT_SIZE) -> float:
    """How wide a text is at most in the fonts that it may be shown in."""
    return size * (_BOLD if bold else 1.0) * sum(_WIDTHS[_width_class(character)] for character in text)


def badge_width(letter: str) -> float:
    """How wide the badge of an inset's letter is."""
    return max(BADGE_HEIGHT, text_width(letter, bold=True) + 5)


def times_text(box: Box) -> str:
    """`×35` where a box stands for several cells."""
    return f"×{box.times}" if box.times > 1 else ""


def _width_class(character: str) -> str:
    if character in _NARROW:
        return "narrow"
    if character in _WIDE:
        return "wide"
    if character.isascii():
        return "usual" if character == "_" or character.islower() or character.isdigit() else "capital"
    return "capital" if character == "×" else "foreign"


def _place_box(box: Box) -> PlacedBox:
    if box.kind == "port":
        return PlacedBox(box, PORT_SIZE, PORT_SIZE)
    heading = text_width(box.name, bold=True) + (5 + text_width(box.about) if box.about else 0)
    sides = max(badge_width(box.letter) if box.letter else 0, text_width(times_text(box), bold=True))
    lines = [*(row.text for row in box.rows), *box.differences, box.sizes]
    width = max(heading + 2 * sides + (8 if sides else 0), *map(text_width, lines)) + 2 * PADDING
    height = 2 * EDGE_PADDING + text_height(box)
    if box.inner is None:
        return PlacedBox(box, width, height)
    inner = _shaped(place_diagram(box.inner))
    width = max(width, inner.layout.width + 2 * PADDING)
    return PlacedBox(box, width, height + inner.layout.height + PADDING, inner)


def text_height(box: Box) -> float:
    """How high the text of a box is."""
    lines = 1 + len(box.differences) + bool(box.sizes)
    return LINE_HEIGHT * lines + (ROW_HEIGHT * len(box.rows) + EDGE_PADDING if box.rows else 0)


def _shaped(placed: PlacedDiagram) -> PlacedDiagram:
    """The same in as few columns as make it as high as is comfortable."""
    layout = placed.layout
    for count in range(2, len(layout.cuts) + 2):
        if layout.height <= max(_COMFORTABLE_HEIGHT, _TALLEST_FRAME * layout.width):
            break
        layout = in_columns(placed.layout, count)
    return PlacedDiagram(placed.diagram, placed.boxes, layout)
