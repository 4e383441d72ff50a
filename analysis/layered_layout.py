"""Where the boxes and edges of a directed acyclic graph go on a page: layers from top to bottom, routes around boxes.

A box stands in the layer behind the last of its sources. An edge that spans layers takes a slot of its own in each, so
that nothing is drawn across a box: edges run down in their slot and change sides only in the gaps between layers.
Order within the layers follows barycentres; places follow the means of the neighbours, as near as the boxes allow.

References:
    Sugiyama, Tagawa, Toda: Methods for Visual Understanding of Hierarchical System Structures. IEEE SMC 11(2), 1981.
"""

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

Point = tuple[float, float]
Size = tuple[float, float]

LAYER_GAP = 24.0
BOX_GAP = 16.0
SLOT_WIDTH = 6.0
_SWEEPS = 24
_LONG_EDGE_WEIGHT = 8.0
"""How much more than boxes the slots of an edge pull each other straight."""


class Layout(NamedTuple):
    """The size of the whole, the left upper corner of every box, and the points of every edge.

    A route is a row of points; between an even one and the next it is straight down, then it may bend (see `routes`).
    """

    width: float
    height: float
    corners: tuple[Point, ...]
    routes: tuple[tuple[Point, ...], ...]


class _Slot(NamedTuple):
    width: float
    height: float
    weight: float


def lay_out(sizes: Sequence[Size], edges: Sequence[tuple[int, int]]) -> Layout:
    """The layout of boxes of these sizes, in topological order, with edges from an earlier to a later box."""
    ranks = _ranks(len(sizes), edges)
    slots = [_Slot(width, height, 1.0) for width, height in sizes]
    slot_ranks = list(ranks)
    chains: list[list[int]] = []
    for source, target in edges:
        chain = [source]
        for rank in range(ranks[source] + 1, ranks[target]):
            chain.append(len(slots))
            slots.append(_Slot(SLOT_WIDTH, 0.0, _LONG_EDGE_WEIGHT))
            slot_ranks.append(rank)
        chains.append([*chain, target])
    above: defaultdict[int, list[int]] = defaultdict(list)
    below: defaultdict[int, list[int]] = defaultdict(list)
    for chain in chains:
        for first, second in pairwise(chain):
            above[second].append(first)
            below[first].append(second)
    layers: list[list[int]] = [[] for _ in range(max(ranks, default=-1) + 1)]
    for slot, rank in enumerate(slot_ranks):
        layers[rank].append(slot)
    _order(layers, above, below)
    centres = _centres(layers, slots, above, below)
    tops, bottoms = _rows(layers, slots)
    left = min((centres[slot] - slots[slot].width / 2 for slot in range(len(slots))), default=0.0)
    right = max((centres[slot] + slots[slot].width / 2 for slot in range(len(slots))), default=0.0)
    corners = tuple(
        (
            centres[box] - left - width / 2,
            (tops[ranks[box]] + bottoms[ranks[box]] - height) / 2,
        )
        for box, (width, height) in enumerate(sizes)
    )
    ports = _ports(chains, sizes, centres)
    routes = []
    for number, chain in enumerate(chains):
        leaving, arriving = ports[number]
        source, target = chain[0], chain[-1]
        points = [
            (leaving - left, corners[source][1] + sizes[source][1]),
            (leaving - left, bottoms[ranks[source]]),
        ]
        for slot in chain[1:-1]:
            points += [(centres[slot] - left, edge[slot_ranks[slot]]) for edge in (tops, bottoms)]
        points += [(arriving - left, tops[ranks[target]]), (arriving - left, corners[target][1])]
        routes.append(tuple(points))
    return Layout(right - left, bottoms[-1] if bottoms else 0.0, corners, tuple(routes))


def _ranks(count: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    ranks = [0] * count
    for source, target in sorted(edges, key=lambda edge: edge[1]):
        ranks[target] = max(ranks[target], ranks[source] + 1)
    return ranks


def _order(layers: list[list[int]], above: dict[int, list[int]], below: dict[int, list[int]]) -> None:
    """Sorts each layer by the mean place of its neighbours, down and up in turn."""
    place = {slot: index for layer in layers for index, slot in enumerate(layer)}
    for sweep in range(_SWEEPS):
        neighbours, order = (above, layers) if sweep % 2 == 0 else (below, layers[::-1])
        for layer in order:
            keys = {
                slot: sum(place[other] for other in neighbours[slot]) / len(neighbours[slot])
                if neighbours[slot]
                else float(place[slot])
                for slot in layer
            }
            layer.sort(key=keys.__getitem__)
            place.update({slot: index for index, slot in enumerate(layer)})


def _centres(
    layers: list[list[int]], slots: Sequence[_Slot], above: dict[int, list[int]], below: dict[int, list[int]]
) -> dict[int, float]:
    """The horizontal place of every slot, near the mean of its neighbours and clear of the others in its layer."""
    centres: dict[int, float] = {}
    for layer in layers:
        centres.update(zip(layer, _spread([0.0] * len(layer), layer, slots), strict=True))
    for sweep in range(_SWEEPS):
        for layer in layers if sweep % 2 == 0 else layers[::-1]:
            wanted = []
            for slot in layer:
                near = [*above[slot], *below[slot]]
                weights = [slots[other].weight * slots[slot].weight for other in near]
                total = sum(weights)
                pulled = sum(weight * centres[other] for weight, other in zip(weights, near, strict=True))
                wanted.append(pulled / total if total else centres[slot])
            centres.update(zip(layer, _spread(wanted, layer, slots), strict=True))
    return centres


def _spread(wanted: Sequence[float], layer: Sequence[int], slots: Sequence[_Slot]) -> list[float]:
    """The places nearest to those wanted, by least squares, that keep order and distance (isotonic regression)."""
    offsets = [0.0]
    for before, slot in pairwise(layer):
        offsets.append(offsets[-1] + (slots[before].width + slots[slot].width) / 2 + BOX_GAP)
    blocks: list[tuple[float, float, int]] = []
    for place, offset, slot in zip(wanted, offsets, layer, strict=True):
        mean, weight, count = place - offset, slots[slot].weight, 1
        while blocks and blocks[-1][0] > mean:
            other, other_weight, other_count = blocks.pop()
            mean = (mean * weight + other * other_weight) / (weight + other_weight)
            weight, count = weight + other_weight, count + other_count
        blocks.append((mean, weight, count))
    means = [mean for mean, _, count in blocks for _ in range(count)]
    return [mean + offset for mean, offset in zip(means, offsets, strict=True)]


def _rows(layers: list[list[int]], slots: Sequence[_Slot]) -> tuple[list[float], list[float]]:
    tops, bottoms = [], []
    y = 0.0
    for layer in layers:
        tops.append(y)
        y += max(slots[slot].height for slot in layer)
        bottoms.append(y)
        y += LAYER_GAP
    return tops, bottoms


def _ports(
    chains: Sequence[Sequence[int]], sizes: Sequence[Size], centres: dict[int, float]
) -> list[tuple[float, float]]:
    """Where each edge leaves its source and arrives at its target: side by side, in the order of where they come from."""
    ports = [[0.0, 0.0] for _ in chains]
    for end, box_at, next_at in ((0, 0, 1), (1, -1, -2)):
        ends: defaultdict[int, list[int]] = defaultdict(list)
        for number, chain in enumerate(chains):
            ends[chain[box_at]].append(number)
        for box, numbers in ends.items():
            numbers.sort(key=lambda number: centres[chains[number][next_at]])
            step = sizes[box][0] / (len(numbers) + 1)
            for index, number in enumerate(numbers, start=1):
                ports[number][end] = centres[box] - sizes[box][0] / 2 + index * step
    return [(leaving, arriving) for leaving, arriving in ports]
