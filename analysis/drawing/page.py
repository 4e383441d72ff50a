"""The page of a drawing: the network in columns, its insets beside or beneath it, whichever makes the largest print."""

from collections.abc import Iterator, Sequence
from itertools import accumulate
from operator import itemgetter
from typing import NamedTuple

from analysis.drawing.columns import in_columns
from analysis.drawing.layered_layout import Layout, Point, Size

_ASPECT = 1.4
"""Of a page across: about that of paper, and of screens without their bars."""
_MOST_COLUMNS = 16
_COLUMN_COST = 0.04
"""How much larger the print must get to be worth one more column."""
_SPACE = 28.0
"""Between the network and its insets, and between these."""


class Page(NamedTuple):
    """The size of the whole, the network, whose left upper corner is that of the page, and the corners of the insets."""

    width: float
    height: float
    network: Layout
    insets: tuple[Point, ...]


def compose(network: Layout, insets: Sequence[Size]) -> Page:
    """The page that can be printed largest, of all numbers of columns and arrangements of insets of these sizes."""
    pages = (
        (max(page.width / _ASPECT, page.height) * (1 + _COLUMN_COST * count), page)
        for count in range(1, min(_MOST_COLUMNS, len(network.cuts) + 1) + 1)
        for page in _arrangements(in_columns(network, count), insets)
    )
    return min(pages, key=itemgetter(0))[1]


def _arrangements(network: Layout, insets: Sequence[Size]) -> Iterator[Page]:
    width, height = network.width, network.height
    if not insets:
        yield Page(width, height, network, ())
        return
    widths, heights = zip(*insets, strict=True)
    # Limits at which the columns of insets, or their rows, change.
    for limit in sorted({height, *accumulate(heights)}):
        (across, down), corners = _stacked(insets, limit)
        beside = tuple((width + _SPACE + x, y) for x, y in corners)
        yield Page(width + _SPACE + across, max(height, down), network, beside)
    for limit in sorted({width, *accumulate(widths)}):
        (down, across), corners = _stacked([(tall, wide) for wide, tall in insets], limit)
        beneath = tuple((y, height + _SPACE + x) for x, y in corners)
        yield Page(max(width, across), height + _SPACE + down, network, beneath)


def _stacked(sizes: Sequence[Size], limit: float) -> tuple[Size, list[Point]]:
    """The size and corners of blocks in columns that are no higher than the limit, or than a block that is higher."""
    corners: list[Point] = []
    x = y = right = bottom = 0.0
    for width, height in sizes:
        if y > 0 and y + height > limit:
            x, y = right + _SPACE, 0.0
        corners.append((x, y))
        right, bottom = max(right, x + width), max(bottom, y + height)
        y += height + _SPACE
    return (right, bottom), corners
