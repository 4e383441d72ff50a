"""What holds for every drawing: nothing overlaps or sticks out, no edge crosses a box, all text fits in common fonts."""

import json
from itertools import combinations
from pathlib import Path

from tests.analysis.drawn_network import DrawnDiagram, DrawnNetwork, Piece, Rectangle, Text

FONTS = json.loads((Path(__file__).parents[1] / "golden" / "font_widths.json").read_text(encoding="utf-8"))
"""Advance widths in thousandths of the font size, read from the fonts' own tables."""


def check_places(drawn: DrawnNetwork) -> None:
    """Nothing overlaps, nothing is outside of what it is in, no edge passes through a box."""
    page = Rectangle(0, 0, drawn.width + 0.5, drawn.height + 0.5)
    blocks = [around(drawn.network), *(inset.place for inset in drawn.insets.values())]
    for first, second in combinations(blocks, 2):
        assert not first.overlaps(second)
    for block in blocks:
        assert page.contains(block)
    for inset in drawn.insets.values():
        assert inset.place.contains(around(inset.diagram))
    for whole in drawn.diagrams():
        for diagram in whole.all_diagrams():
            for first, second in combinations([box.place for box in diagram.boxes], 2):
                assert not first.overlaps(second)
            for edge in diagram.edges:
                for box in diagram.boxes:
                    assert not any(map(box.place.has_inside, edge)), (box.tooltip, edge)
            for box in diagram.boxes:
                if box.inner is not None:
                    assert box.place.contains(around(box.inner))


def around(diagram: DrawnDiagram) -> Rectangle:
    points = [point for edge in diagram.edges for point in edge]
    places = [box.place for box in diagram.boxes] + [Rectangle(x, y, x, y) for x, y in points]
    return Rectangle(
        min(place.left for place in places),
        min(place.top for place in places),
        max(place.right for place in places),
        max(place.bottom for place in places),
    )


def check_texts(drawn: DrawnNetwork) -> None:
    """All text stands in its box or inset in each of the fonts, and none on another."""
    for text, other in combinations(drawn.heading, 2):
        assert text.at[1] != other.at[1] or span(text)[1] <= span(other)[0]
    assert max(span(text)[1] for text in drawn.heading) <= drawn.width
    for inset in drawn.insets.values():
        assert within(inset.title, inset.place)
    for whole in drawn.diagrams():
        for box in whole.all_boxes():
            lines: dict[float, list[tuple[float, float]]] = {}
            for text in box.texts:
                assert within(text, box.place), text
                lines.setdefault(text.at[1], []).append(span(text))
            if box.badge is not None:
                assert box.place.contains(box.badge)
                lines[box.texts[0].at[1]].append((box.badge.left, box.badge.right))
            for spans in lines.values():
                for (left, right), (other_left, other_right) in combinations(spans, 2):
                    assert right <= other_left or other_right <= left
            if box.inner is not None and box.texts:
                assert max(text.at[1] for text in box.texts) < around(box.inner).top
            for row in box.rows:
                assert within(row.text, row.place)
                assert box.place.contains(row.place)


def within(text: Text, place: Rectangle) -> bool:
    left, right = span(text)
    return place.left <= left and right <= place.right and place.top + 7 <= text.at[1] <= place.bottom - 2


def span(text: Text) -> tuple[float, float]:
    """From where to where a line of text reaches in the widest of the fonts."""
    families = ["Liberation Sans", "DejaVu Sans"]
    width = text.gaps + max(sum(width_in(family, piece) for piece in text.pieces) for family in families)
    start = {"left": 0.0, "middle": width / 2, "right": width}[text.anchor]
    return text.at[0] - start, text.at[0] - start + width


def width_in(family: str, piece: Piece) -> float:
    widths = dict(zip(FONTS["characters"], FONTS[f"{family} Bold" if piece.bold else family], strict=True))
    return piece.size * sum(widths.get(character, 700) for character in piece.text) / 1_000
