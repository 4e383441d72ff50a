"""Breaks a tall layout into columns, as text is, where one value alone goes on, or where all go to one box.

The edges there go on from the foot of a column, through the gutter, to the head of the next.
"""

from collections.abc import Sequence
from typing import NamedTuple

from analysis.drawing.layered_layout import Cut, Layout, Point

GUTTER = 36.0
"""Between columns."""
_STUB = 14.0
"""How far an edge runs on below its column and starts above the next."""


class _Column(NamedTuple):
    """The part of a layout between two heights, and the cut at its foot."""

    top: float
    bottom: float
    cut: Cut | None


def in_columns(layout: Layout, count: int) -> Layout:
    """The layout in at most so many columns, of heights as equal as its cuts allow."""
    columns = _columns(layout, count)
    if len(columns) == 1:
        return layout
    spans = _spans(layout, columns)
    shifts: list[Point] = []
    x = 0.0
    for column, (left, right) in zip(columns, spans, strict=True):
        shifts.append((x - left, _STUB - column.top))
        x += right - left + GUTTER
    corners = tuple(_moved(corner, shifts[_column_of(corner[1], columns)]) for corner in layout.corners)
    gutters = [left + dx + right - left + GUTTER / 2 for (left, right), (dx, _) in zip(spans, shifts, strict=True)]
    routes = [[_moved(point, shifts[_column_of(point[1], columns)]) for point in route] for route in layout.routes]
    # From behind, so that the numbers of the points before stay.
    for column, gutter in reversed(list(zip(columns, gutters, strict=True))):
        for edge, last in column.cut.crossing if column.cut is not None else ():
            before, after = routes[edge][last : last + 2]
            foot = column.bottom - column.top + 2 * _STUB
            routes[edge][last + 1 : last + 1] = [(before[0], foot), (gutter, foot), (gutter, 0.0), (after[0], 0.0)]
    height = max(column.bottom - column.top for column in columns) + 2 * _STUB
    return Layout(x - GUTTER, height, layout.sizes, corners, tuple(map(tuple, routes)))


def _columns(layout: Layout, count: int) -> list[_Column]:
    """At most `count` columns whose highest is as low as it can be."""
    low, high = 0.0, layout.height
    best = [_Column(0.0, layout.height, None)]
    # Which heights are possible is a matter of few numbers; halving finds the least of them soon enough.
    for _ in range(24):
        limit = (low + high) / 2
        columns = _filled(layout, limit)
        if len(columns) <= count and max(column.bottom - column.top for column in columns) <= limit:
            best, high = columns, limit
        else:
            low = limit
    return best


def _filled(layout: Layout, limit: float) -> list[_Column]:
    """Columns as high as the limit allows, one after the other."""
    columns: list[_Column] = []
    top = 0.0
    last: Cut | None = None
    for cut in (*layout.cuts, None):
        bottom = layout.height if cut is None else cut.top
        if last is not None and bottom - top > limit:
            columns.append(_Column(top, last.top, last))
            top = last.bottom
        last = cut
    columns.append(_Column(top, layout.height, None))
    return columns


def _column_of(y: float, columns: Sequence[_Column]) -> int:
    return next(number for number, column in enumerate(columns) if column.cut is None or y < column.cut.y)


def _spans(layout: Layout, columns: Sequence[_Column]) -> list[Point]:
    """From where to where each column reaches from left to right."""
    places: list[list[float]] = [[] for _ in columns]
    for (left, top), (width, _) in zip(layout.corners, layout.sizes, strict=True):
        places[_column_of(top, columns)] += (left, left + width)
    for route in layout.routes:
        for x, y in route:
            places[_column_of(y, columns)].append(x)
    return [(min(column), max(column)) for column in places]


def _moved(point: Point, shift: Point) -> Point:
    return point[0] + shift[0], point[1] + shift[1]
