"""Draws a network as an SVG picture: cells folded, each distinct body once beside it, or everything unfolded."""

from html import escape
from math import log2

from analysis.cost import ELEMENT_BYTES
from analysis.diagram import Box, Diagram, Inset, elements, folded, short, unfolded
from analysis.layer import architecture_layers
from analysis.layered_layout import Layout, Point, lay_out
from analysis.report import analyze
from search_spaces.architecture import Architecture

COLOURS: dict[str, str] = {
    "cell": "#f4f4f4",
    "convolution": "#a6cee8",
    "linear": "#8fb3d9",
    "pooling": "#9fdcc5",
    "normalisation": "#f7e9a0",
    "activation": "#f3c48f",
    "join": "#e8b6d0",
    "input": "#ffffff",
    "other": "#dddddd",
}
"""Tints of the palette of Okabe and Ito, which the colour-blind can tell apart; their greys differ too."""

LINE_HEIGHT = 14.0
CHARACTER_WIDTH = 6.6
"""Of 11 pixel sans-serif text, with some to spare."""
PADDING = 8.0
MARGIN = 20.0
_HEADING = 54.0


def draw(architecture: Architecture, *, unfold: bool = False, title: str | None = None) -> str:
    """The picture of a network as SVG text; the same network always gives the same text."""
    layers = {
        layer.name: layer
        for layer in architecture_layers(architecture, batch=1, element_bytes=ELEMENT_BYTES["float32"])
    }
    insets: tuple[Inset, ...] = ()
    if unfold:
        diagram = unfolded(architecture.graph, architecture.input_shapes, layers)
    else:
        diagram, insets = folded(architecture.graph, architecture.input_shapes, layers)
    report = analyze(architecture)
    about = f"{short(report.params)} parameters, {short(report.macs)} MACs"
    canvas = _Canvas()
    width, height = canvas.diagram(diagram, (MARGIN, _HEADING))
    right, bottom = MARGIN + width, _HEADING + height
    # Insets stand beside the network, in columns that are as high as it is, or as the highest of them.
    column_bottom = max([bottom, *(_HEADING + _size_of(inset.diagram)[1] + 40 for inset in insets)])
    x, y, column_right = right + 3 * MARGIN, _HEADING, right
    for inset in insets:
        inner_width, inner_height = _size_of(inset.diagram)
        title_width = CHARACTER_WIDTH * len(inset.title)
        if y > _HEADING and y + inner_height + 40 > column_bottom:
            x, y = column_right + 2 * MARGIN, _HEADING
        canvas.inset(inset, (x, y), (max(inner_width, title_width) + 2 * PADDING, inner_height + 40))
        y += inner_height + 40 + MARGIN
        column_right = max(column_right, x + max(inner_width, title_width) + 2 * PADDING)
        bottom = max(bottom, y - MARGIN)
    total_width = max(column_right + MARGIN, canvas.heading(title or "network", about) + MARGIN)
    return canvas.document(total_width, bottom + MARGIN, title or "network")


def _text_width(box: Box) -> float:
    return CHARACTER_WIDTH * max(map(len, box.lines)) + 2 * PADDING


def _box_size(box: Box) -> Point:
    text_height = LINE_HEIGHT * len(box.lines) + PADDING
    if box.inner is None:
        return _text_width(box), text_height
    width, height = _size_of(box.inner)
    return max(_text_width(box), width + 2 * PADDING), height + text_height + 2 * PADDING


def _size_of(diagram: Diagram) -> Point:
    layout = _layout(diagram)
    return layout.width, layout.height


def _layout(diagram: Diagram) -> Layout:
    sizes = [_box_size(box) for box in diagram.boxes]
    return lay_out(sizes, [(source, target) for source, target, _ in diagram.edges])


class _Canvas:
    """Collects what is drawn."""

    def __init__(self) -> None:
        self._parts: list[str] = []

    def document(self, width: float, height: float, title: str) -> str:
        """The finished text."""
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
            f'width="{width:.0f}" height="{height:.0f}" font-family="Helvetica, Arial, sans-serif" font-size="11">'
        )
        style = '<rect class="page" width="100%" height="100%" fill="#ffffff"/>'
        return "\n".join([head, f"<title>{escape(title)}</title>", style, *self._parts, "</svg>\n"])

    def heading(self, title: str, about: str) -> float:
        """The title, what the whole costs and the key of colours; returns how far to the right they reach."""
        self._parts.append(
            f'<text x="{MARGIN:g}" y="20"><tspan font-size="15" font-weight="bold">{escape(title)}</tspan>'
            f'<tspan dx="10" fill="#555555">{escape(about)}</tspan></text>'
        )
        x = MARGIN
        for kind, colour in COLOURS.items():
            self._parts.append(
                f'<rect class="key" x="{x:.1f}" y="30" width="10" height="10" fill="{colour}" stroke="#777777"/>'
                f'<text x="{x + 14:.1f}" y="39" font-size="10" fill="#555555">{kind}</text>'
            )
            x += 14 + 6.2 * len(kind) + 12
        return max(x, MARGIN + 9.2 * len(title) + CHARACTER_WIDTH * len(about) + 10)

    def inset(self, inset: Inset, corner: Point, size: Point) -> None:
        """The body of a folded cell under its title."""
        (x, y), (width, height) = corner, size
        self._parts.append(
            f'<rect class="inset" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="8" '
            f'fill="none" stroke="#999999" stroke-dasharray="4 3"/>'
            f'<text x="{x + PADDING:.1f}" y="{y + 17:.1f}" font-weight="bold">{escape(inset.title)}</text>'
        )
        self.diagram(inset.diagram, (x + PADDING, y + 28))

    def diagram(self, diagram: Diagram, corner: Point) -> Point:
        """Boxes and edges with their left upper corner there; returns their size."""
        layout = _layout(diagram)
        x, y = corner
        for (_, _, shape), route in zip(diagram.edges, layout.routes, strict=True):
            width = 0.8 + log2(max(1, elements(shape))) / 12
            self._parts.append(
                f'<path class="edge" d="{_path([(x + px, y + py) for px, py in route])}" fill="none" stroke="#555555" '
                f'stroke-width="{width:.2f}"/>'
            )
        for box, (left, top) in zip(diagram.boxes, layout.corners, strict=True):
            self._box(box, (x + left, y + top))
        return layout.width, layout.height

    def _box(self, box: Box, corner: Point) -> None:
        (x, y), (width, height) = corner, _box_size(box)
        round_corners = height / 2 if box.kind == "input" else 5
        fill = "#fafafa" if box.inner is not None else COLOURS[box.kind]
        kind = "frame" if box.inner is not None else "box"
        self._parts.append(
            f'<g><title>{escape(box.tooltip)}</title><rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" '
            f'height="{height:.1f}" rx="{round_corners:g}" fill="{fill}" stroke="#777777"/>'
        )
        for number, line in enumerate(box.lines):
            weight = ' font-weight="bold"' if number == 0 else ' fill="#333333"'
            baseline = y + PADDING / 2 + LINE_HEIGHT * (number + 0.8)
            self._parts.append(
                f'<text x="{x + width / 2:.1f}" y="{baseline:.1f}" text-anchor="middle"{weight}>{escape(line)}</text>'
            )
        self._parts.append("</g>")
        if box.inner is not None:
            inner_width, inner_height = _size_of(box.inner)
            self.diagram(box.inner, (x + (width - inner_width) / 2, y + height - inner_height - PADDING))


def _path(points: list[Point]) -> str:
    """Straight down between an even point and the next, a bend with upright ends from there to the one after."""
    first, *rest = points
    parts = [f"M{first[0]:.1f} {first[1]:.1f}"]
    before = first
    for number, (px, py) in enumerate(rest, start=1):
        if number % 2 or px == before[0]:
            parts.append(f"V{py:.1f}")
        else:
            middle = (before[1] + py) / 2
            parts.append(f"C{before[0]:.1f} {middle:.1f} {px:.1f} {middle:.1f} {px:.1f} {py:.1f}")
        before = (px, py)
    return " ".join(parts)
