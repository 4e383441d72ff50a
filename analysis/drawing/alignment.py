"""How far to the right each slot of a layered layout stands, so that chains of boxes and long edges are straight.

Slots of neighbouring layers are joined to upright blocks: the boxes of the longest chains first, and the slots of one
edge. That is done four times, leaning up or down and left or right; the mean of the two middle results is taken.

Deviation from the paper: of the edges between boxes only those are candidates for a block whose two ends have no other
edge that belongs to a longer chain of boxes, so that a shortcut goes around its chain and not the chain around it; and
the slots of an edge are joined with each other alone, since an edge may leave a box at any place of it. Blocks are placed as dagre places
them, by longest paths, and not by the classes of the paper, which need the authors' later correction.

References:
    Brandes, Köpf: Fast and Simple Horizontal Coordinate Assignment. Graph Drawing 2001.
"""

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from analysis.drawing.layered_layout import Slots

_Neighbours = dict[int, list[int]]


def slot_centres(slots: "Slots", gap: float) -> list[float]:
    """The centre of every slot; those of a layer keep their order, and this gap between them."""
    above, below = _straight(slots)
    layouts = []
    for layers, neighbours in ((slots.layers, above), (slots.layers[::-1], below)):
        for side in (1, -1):
            ordered = [layer[::side] for layer in layers]
            centres = _compact(slots, ordered, _blocks(ordered, neighbours), gap)
            layouts.append([side * centre for centre in centres])
    centres = _balanced(layouts, slots.widths)
    _straighten(slots, centres, gap)
    return centres


def _straighten(slots: "Slots", centres: list[float], gap: float) -> None:
    """Moves each edge that spans layers to one place in all of them if it can, as near to its source as it can."""
    place = {slot: (layer, index) for layer in slots.layers for index, slot in enumerate(layer)}
    for source, *between, _ in slots.chains:
        lowest, highest = -inf, inf
        for slot in between:
            layer, index = place[slot]
            if index > 0:
                lowest = max(lowest, centres[layer[index - 1]] + slots.distance(layer[index - 1], slot, gap))
            if index + 1 < len(layer):
                highest = min(highest, centres[layer[index + 1]] - slots.distance(slot, layer[index + 1], gap))
        if lowest <= highest:
            for slot in between:
                centres[slot] = min(max(centres[source], lowest), highest)


def _straight(slots: "Slots") -> tuple[_Neighbours, _Neighbours]:
    """The neighbours above and below each slot that it may be joined with, from left to right."""
    place = {slot: index for layer in slots.layers for index, slot in enumerate(layer)}
    lengths = _chain_lengths(slots)
    most_below: defaultdict[int, int] = defaultdict(int)
    most_above: defaultdict[int, int] = defaultdict(int)
    steps = {
        step: length
        for chain, length in zip(slots.chains, lengths, strict=True)
        for step in pairwise(chain if len(chain) == 2 else chain[1:-1])
    }
    for (first, second), length in steps.items():
        most_below[first] = max(most_below[first], length)
        most_above[second] = max(most_above[second], length)
    above: _Neighbours = defaultdict(list)
    below: _Neighbours = defaultdict(list)
    for (first, second), length in steps.items():
        if most_below[first] == length == most_above[second]:
            above[second].append(first)
            below[first].append(second)
    for neighbours in (above, below):
        for near in neighbours.values():
            near.sort(key=place.__getitem__)
    return above, below


def _chain_lengths(slots: "Slots") -> list[int]:
    """For each edge how many boxes the longest chain has that it belongs to."""
    until, behind = [1] * slots.box_count, [1] * slots.box_count
    ends = [(chain[0], chain[-1]) for chain in slots.chains]
    for source, target in sorted(ends, key=lambda end: end[1]):
        until[target] = max(until[target], until[source] + 1)
    for source, target in sorted(ends, reverse=True):
        behind[source] = max(behind[source], behind[target] + 1)
    return [until[source] + behind[target] for source, target in ends]


def _blocks(layers: Sequence[Sequence[int]], neighbours: _Neighbours) -> dict[int, int]:
    """The first slot of the block of every slot, for layers in the order in which they are joined."""
    root = {slot: slot for layer in layers for slot in layer}
    place = {slot: index for layer in layers for index, slot in enumerate(layer)}
    for layer in layers:
        last = -1
        for slot in layer:
            near = sorted(neighbours.get(slot, ()), key=place.__getitem__)
            middles = near[(len(near) - 1) // 2 : len(near) // 2 + 1]
            for other in middles:
                if root[slot] == slot and place[other] > last:
                    root[slot] = root[other]
                    last = place[other]
    return root


def _compact(slots: "Slots", layers: Sequence[Sequence[int]], root: dict[int, int], gap: float) -> list[float]:
    """The centres of all slots, with each block as far to the left as it goes, then as far right as it is held."""
    distances: defaultdict[int, dict[int, float]] = defaultdict(dict)
    before: dict[int, set[int]] = {block: set() for block in root.values()}
    for layer in layers:
        for left, right in pairwise(layer):
            first, second = root[left], root[right]
            distance = slots.distance(left, right, gap)
            distances[first][second] = max(distances[first].get(second, 0.0), distance)
            before[second].add(first)
    order: list[int] = []
    free = sorted((block for block, held in before.items() if not held), reverse=True)
    while free:
        block = free.pop()
        order.append(block)
        for following in distances[block]:
            before[following].discard(block)
            if not before[following]:
                free.append(following)
    centres = dict.fromkeys(order, 0.0)
    for block in order:
        for following, distance in distances[block].items():
            centres[following] = max(centres[following], centres[block] + distance)
    for block in reversed(order):
        if distances[block]:
            centres[block] = min(centres[following] - distance for following, distance in distances[block].items())
    return [centres[root[slot]] for slot in range(len(slots.widths))]


def _balanced(layouts: Sequence[Sequence[float]], widths: Sequence[float]) -> list[float]:
    """The mean of the two middle places of each slot, once the layouts share the narrowest one's side."""
    lefts = [min(centre - width / 2 for centre, width in zip(layout, widths, strict=True)) for layout in layouts]
    rights = [max(centre + width / 2 for centre, width in zip(layout, widths, strict=True)) for layout in layouts]
    narrowest = min(range(len(layouts)), key=lambda number: rights[number] - lefts[number])
    moved = []
    for number, layout in enumerate(layouts):
        # Even numbers lean left, odd ones right.
        sides = rights if number % 2 else lefts
        shift = sides[narrowest] - sides[number]
        moved.append([centre + shift for centre in layout])
    return [sum(sorted(places)[1:3]) / 2 for places in zip(*moved, strict=True)]
