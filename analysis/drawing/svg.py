"""Writes a drawing as SVG: style sheet, heading with the key of colours, boxes, frames, edges and insets."""

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from math import log2

from analysis.drawing.diagram import KINDS, Diagram, elements, shape_text, shortened
from analysis.drawing.layered_layout import Point, Size
from analysis.drawing.typesetting import (
    BADGE_HEIGHT,
    EDGE_PADDING,
    FONT_SIZE,
    LINE_HEIGHT,
    PADDING,
    PORT_SIZE,
    ROW_HEIGHT,
    TITLE_HEIGHT,
    PlacedBox,
    PlacedDiagram,
    PlacedInset,
    badge_width,
    text_width,
    times_text,
)

COLOURS: dict[str, str] = {
    "cell": "#e9ecf0",
    "convolution": "#a9d5f2",
    "linear": "#8fb0e0",
    "pooling": "#9ddcc0",
    "normalisation": "#f5ec9c",
    "activation": "#f5c98b",
    "join": "#e7b7d3",
    "end": "#ffffff",
    "other": "#cfcfcf",
}
"""Tints after the palette of Okabe and Ito; dark text can be read on all, and says in words what the colour says."""

_SWATCH = 10.0
_KEY_LINE = 19.0
_ARROW = 5.0
"""How long the head of an arrow is."""

_STYLE = """
.drawing text { fill: #1c1c1c; text-anchor: middle }
.drawing text.left { text-anchor: start }
.drawing text.right { text-anchor: end }
.drawing .name { font-weight: bold }
.drawing .difference { font-style: italic }
.drawing .page { fill: #ffffff }
.drawing .box > rect, .drawing .key { stroke: #6f7782; stroke-width: 0.8 }
.drawing .row > rect { stroke: none }
.drawing .frame > rect { fill: #7f8a99; fill-opacity: 0.1; stroke: #8a94a1; stroke-width: 0.8 }
.drawing .border { fill: none; stroke: #8a94a1; stroke-dasharray: 4 3 }
.drawing .badge { fill: #1f5f8b }
.drawing text.letter { fill: #ffffff; font-weight: bold }
.drawing .times { fill: #a33b00; font-weight: bold }
.drawing .edge { fill: none; stroke: #5a626d; stroke-linejoin: round }
.drawing .arrow, .drawing .port { fill: #5a626d; stroke: none }
@media (prefers-color-scheme: dark) {
.drawing .page { fill: #16191d }
.drawing text.bare { fill: #e6e6e6 }
.drawing .bare.times, .drawing .bare .times { fill: #ff9b5e }
.drawing .edge { stroke: #aeb6c1 }
.drawing .arrow, .drawing .port { fill: #aeb6c1 }
}
"""
"""Text that stands on no box is `bare`, and light where the page is dark."""


def document(title: str, body: Iterable[str], width: float, height: float) -> str:
    """The whole SVG of these sizes in pixels."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="drawing" role="img" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}" font-family="Helvetica, Arial, sans-serif" '
        f'font-size="{FONT_SIZE:g}">',
        f"<title>{_text(title)}</title>",
        f"<style>{_STYLE}</style>",
        f'<defs><marker id="arrow" viewBox="0 0 {_ARROW:g} 6" refX="0.5" refY="3" markerWidth="{_ARROW:g}" '
        f'markerHeight="6" markerUnits="userSpaceOnUse" orient="auto">'
        f'<path class="arrow" d="M0 0L{_ARROW:g} 3L0 6z"/></marker></defs>',
        '<rect class="page" width="100%" height="100%"/>',
        *body,
        "</svg>\n",
    ]
    return "\n".join(parts)


def heading(title: str, about: str, shown: Sequence[Diagram], corner: Point) -> tuple[str, Size]:
    """The title, what the whole costs and the key to what the diagrams show, as a group; how large that is."""
    x, y = corner
    title = shortened(title)
    used = {part for each in shown for part in _parts(each)}
    parts = [
        '<g class="heading">'
        f'<text class="left bare" x="{x:.1f}" y="{y + 15:.1f}"><tspan class="name" font-size="16">{_text(title)}</tspan>'
        f'<tspan dx="10">{_text(about)}</tspan></text>'
    ]
    widths = [text_width(title, bold=True, size=16) + 10 + text_width(about)]
    y += 24
    for line in ((*KINDS, "other"), ("port", "letter", "difference", "times")):
        across = x
        for part in line:
            if part in used:
                sign, width = _sign(part, (across, y))
                parts.append(sign)
                across += width + 12
        if across > x:
            widths.append(across - x)
            y += _KEY_LINE
    parts.append("</g>")
    return "\n".join(parts), (max(widths), y - corner[1])


def _sign(part: str, corner: Point) -> tuple[str, float]:
    """An entry of the key with its left upper corner there, and how wide it is."""
    x, y = corner
    drawn, sample, meaning = "", "", "input, output" if part == "end" else part
    width = _SWATCH + 4
    if part in COLOURS:
        drawn = f'<rect class="key" {_place((x, y + 2), _SWATCH, _SWATCH)} fill="{COLOURS[part]}"/>'
    elif part == "port":
        drawn, meaning = _circle((x + _SWATCH / 2, y + 7)), "where a frame is entered"
    elif part == "letter":
        drawn, meaning = "".join(_badge("A", corner)), "a folded cell, drawn once under this letter"
        width = badge_width("A") + 4
    elif part == "difference":
        sample, meaning, width = "name: what", "how it differs from there", 0.0
    else:
        sample, meaning, width = "×3", "so many one behind the other", 0.0
    tspans = f'<tspan class="{part}">{sample}</tspan><tspan dx="5">{meaning}</tspan>' if sample else meaning
    text = f'<text class="left bare" x="{x + width:.1f}" y="{y + 11:.1f}">{tspans}</text>'
    return drawn + text, width + text_width(f"{sample} {meaning}" if sample else meaning)


def _parts(shown: Diagram) -> Iterator[str]:
    """What the key has to explain: kinds of boxes and rows, and other signs."""
    for box in shown.boxes:
        if box.inner is not None:
            yield from _parts(box.inner)
        else:
            yield box.kind
        yield from (row.kind for row in box.rows)
        signs = {"letter": box.letter, "difference": box.differences, "times": box.times > 1}
        yield from (sign for sign, there in signs.items() if there)


def diagram(placed: PlacedDiagram, corner: Point, *, kind: str) -> Iterator[str]:
    """Boxes and edges with their left upper corner there, as a group of this class."""
    x, y = corner
    yield f'<g class="{kind}">'
    for edge, route in zip(placed.diagram.edges, placed.layout.routes, strict=True):
        width = 0.9 + log2(max(1, elements(edge.shape))) / 15
        yield (
            f'<path class="edge" d="{_path([(x + px, y + py) for px, py in route])}" stroke-width="{width:.2f}" '
            f'marker-end="url(#arrow)"><title>{shape_text(edge.shape)}</title></path>'
        )
    for box, (left, top) in zip(placed.boxes, placed.layout.corners, strict=True):
        yield from _box(box, (x + left, y + top))
    yield "</g>"


def inset(placed: PlacedInset, corner: Point) -> Iterator[str]:
    """The body of a folded cell under its letter and title."""
    x, y = corner
    letter = placed.inset.letter
    yield f'<g class="inset" id="inset-{letter}"><rect class="border" {_place(corner, placed.width, placed.height)} rx="8"/>'
    yield from _badge(letter, (x + PADDING, y + 5))
    title_at = x + PADDING + badge_width(letter) + 6
    yield f'<text class="left bare" x="{title_at:.1f}" y="{y + 16:.1f}"><tspan class="name">{_text(placed.title)}</tspan></text>'
    inner_at = (x + (placed.width - placed.inner.layout.width) / 2, y + TITLE_HEIGHT)
    yield from diagram(placed.inner, inner_at, kind="body")
    yield "</g>"


def _box(placed: PlacedBox, corner: Point) -> Iterator[str]:
    box, (x, y) = placed.box, corner
    middle = x + placed.width / 2
    tooltip = f"<title>{_text(box.tooltip)}</title>"
    if box.kind == "port":
        yield _circle((middle, y + placed.height / 2), tooltip)
        return
    kind = f"box {box.kind}" if placed.inner is None else "frame"
    fill = "" if placed.inner is not None else f' fill="{COLOURS[box.kind]}"'
    radius = placed.height / 2 if box.kind == "end" else 5
    yield f'<g class="{kind}">{tooltip}<rect {_place(corner, placed.width, placed.height)} rx="{radius:g}"{fill}/>'
    bare = " bare" if placed.inner is not None else ""
    baseline = y + EDGE_PADDING + 11
    about = f'<tspan class="about" dx="5">{_text(box.about)}</tspan>' if box.about else ""
    yield (
        f'<text class="title{bare}" x="{middle:.1f}" y="{baseline:.1f}"><tspan class="name">{_text(box.name)}</tspan>'
        f"{about}</text>"
    )
    if box.letter:
        yield f'<a href="#inset-{box.letter}">'
        yield from _badge(box.letter, (x + 4, y + 4))
        yield "</a>"
    if box.times > 1:
        right = x + placed.width - 6
        yield f'<text class="right times{bare}" x="{right:.1f}" y="{baseline:.1f}">{times_text(box)}</text>'
    top = y + EDGE_PADDING + LINE_HEIGHT
    for row in box.rows:
        yield (
            f'<g class="row"><title>{_text(row.tooltip)}</title>'
            f'<rect {_place((x + 0.4, top + 2), placed.width - 0.8, ROW_HEIGHT)} fill="{COLOURS[row.kind]}"/>'
            f'<text x="{middle:.1f}" y="{top + 14:.1f}">{_text(row.text)}</text></g>'
        )
        top += ROW_HEIGHT
    top += EDGE_PADDING if box.rows else 0
    for kind, lines in (("difference", box.differences), ("sizes", (box.sizes,) if box.sizes else ())):
        for line in lines:
            yield f'<text class="{kind}{bare}" x="{middle:.1f}" y="{top + 11:.1f}">{_text(line)}</text>'
            top += LINE_HEIGHT
    if placed.inner is not None:
        layout = placed.inner.layout
        inner_at = (middle - layout.width / 2, y + placed.height - layout.height - PADDING)
        yield from diagram(placed.inner, inner_at, kind="body")
    yield "</g>"


def _badge(letter: str, corner: Point) -> Iterator[str]:
    x, y = corner
    width = badge_width(letter)
    yield (
        f'<rect class="badge" {_place(corner, width, BADGE_HEIGHT)} rx="3"/>'
        f'<text class="letter" x="{x + width / 2:.1f}" y="{y + 11:.1f}">{letter}</text>'
    )


def _circle(centre: Point, tooltip: str = "") -> str:
    return f'<circle class="port" cx="{centre[0]:.1f}" cy="{centre[1]:.1f}" r="{PORT_SIZE / 2:g}">{tooltip}</circle>'


def _place(corner: Point, width: float, height: float) -> str:
    return f'x="{corner[0]:.1f}" y="{corner[1]:.1f}" width="{width:.1f}" height="{height:.1f}"'


def _path(route: list[Point]) -> str:
    """Straight lines and bends from upright to upright, up to where the head of the arrow begins."""
    end = route[-1][1] - _ARROW
    points = [(x, min(y, end)) if number >= len(route) - 2 else (x, y) for number, (x, y) in enumerate(route)]
    first, *rest = points
    parts = [f"M{first[0]:.1f} {first[1]:.1f}"]
    before = first
    for x, y in rest:
        if abs(x - before[0]) < 0.05 and abs(y - before[1]) < 0.05:
            continue
        if abs(x - before[0]) < 0.05:
            parts.append(f"V{y:.1f}")
        elif abs(y - before[1]) < 0.05:
            parts.append(f"H{x:.1f}")
        else:
            middle = (before[1] + y) / 2
            parts.append(f"C{before[0]:.1f} {middle:.1f} {x:.1f} {middle:.1f} {x:.1f} {y:.1f}")
        before = (x, y)
    return "".join(parts)


def _text(text: str) -> str:
    """Escaped, and without the characters that XML has no way to write."""
    return escape("".join(character if _is_writable(character) else "\ufffd" for character in text))


def _is_writable(character: str) -> bool:
    code = ord(character)
    return code in (0x9, 0xA, 0xD) or (code >= 0x20 and not 0xD800 <= code <= 0xDFFF and code not in (0xFFFE, 0xFFFF))
