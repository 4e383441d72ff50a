"""How much a graph is once its cells are unfolded and its nested sums are joined, worked out without doing either.

A few lines of a file may stand for more than any machine holds: cells of two cells of two cells, or sums of a sum with
itself. What walks the flat graph, and what joins sums (`simplify`), takes time and memory by what is told here. Code
cannot build such networks without noticing; so the bounds are checked where graphs are read.
"""

from collections.abc import Mapping
from typing import NamedTuple

from search_spaces.errors import InvalidArchitecture
from search_spaces.graph import Cell, Graph
from search_spaces.ops import Add, Input
from search_spaces.simplify import passes_on

LONGEST_NAME = 256
MOST_LEVELS = 32
MOST_NODES = 1 << 16
MOST_READS = 1 << 20
"""Far from what networks have: ResNet-152 has 3 levels, some 700 nodes, and nodes that read some 700 values."""

_ITSELF = -1
Terms = Mapping[int, int]
"""How often each input of a graph is counted, by its place among the inputs, and all else, as `_ITSELF`."""

_ONE: Terms = {_ITSELF: 1}


class Extent(NamedTuple):
    """What a graph takes once it is unfolded.

    - `levels`: of cells in cells; the dots in a name, which are cells unfolded before, count as well.
    - `longest_name`: the characters of the longest path of a node.
    - `nodes`: of all bodies together, inputs and cells included.
    - `terms`: the terms of the first output, which is one itself unless it is a sum.
    - `reads`: the values that all nodes read; those of a sum are its terms, once nested sums are joined.
    """

    levels: int
    longest_name: int
    nodes: int
    terms: Terms
    reads: Terms


def check_extent(graph: Graph) -> Extent:
    """The extent of a valid graph; the graph remembers it.

    Raises:
        InvalidArchitecture: it is more than any network needs.
    """
    extent: Extent | None = graph.known.get("extent")
    if extent is None:
        extent = graph.known["extent"] = _extent(graph)
    return extent


def _extent(graph: Graph) -> Extent:
    levels = longest_name = nodes = read = places = 0
    terms: list[Terms] = []
    reads: dict[int, int] = {}
    for name, operation, inputs in graph.nodes:
        own_levels, own_name = name.count("."), len(name)
        nodes += 1
        arriving = [terms[source] for source in inputs]
        if isinstance(operation, Cell):
            inner = check_extent(operation.body)
            own_levels += 1 + inner.levels
            own_name += 1 + inner.longest_name
            nodes += inner.nodes
            terms.append(_put_in(inner.terms, arriving))
            read += _count(reads, _put_in(inner.reads, arriving))
        elif isinstance(operation, Add):
            total: dict[int, int] = {}
            read += sum([_count(total, each) for each in arriving])
            _count(reads, total)
            terms.append(total)
        elif isinstance(operation, Input):
            terms.append({places: 1})
            places += 1
        else:
            read += _count(reads, {_ITSELF: len(inputs)})
            terms.append(arriving[0] if passes_on(operation) else _ONE)
        levels, longest_name = max(levels, own_levels), max(longest_name, own_name)
        _check(name, levels, longest_name, nodes, read)
    return Extent(levels, longest_name, nodes, terms[graph.outputs[0][1]], reads)


def _check(name: str, levels: int, longest_name: int, nodes: int, reads: int) -> None:
    if levels > MOST_LEVELS:
        what = f"cells stand {levels} levels deep in each other; {MOST_LEVELS} at most can be read: unfold some"
    elif longest_name > LONGEST_NAME:
        what = f"paths of nodes have {longest_name} characters; {LONGEST_NAME} at most can be read: use shorter names"
    elif nodes > MOST_NODES:
        what = f"there are {nodes} nodes, cells unfolded; {MOST_NODES} at most can be read: repeat cells less often"
    elif reads > MOST_READS:
        what = (
            f"{reads} values are read by nodes, cells unfolded and nested sums joined; "
            f"{MOST_READS} at most can be read: nest sums less"
        )
    else:
        return
    raise InvalidArchitecture(f"rule extent: up to node {name!r} {what}")


def _count(total: dict[int, int], more: Terms) -> int:
    """Adds up, and tells how much was added."""
    for place, times in more.items():
        total[place] = total.get(place, 0) + times
    return sum(more.values())


def _put_in(terms: Terms, arriving: list[Terms]) -> Terms:
    """The terms of a cell by the inputs of the graph that it stands in, where these terms arrive at its own inputs."""
    if len(terms) == 1:
        ((place, times),) = terms.items()
        if times == 1 and place != _ITSELF:
            return arriving[place]
    result: dict[int, int] = {}
    for place, times in terms.items():
        for inner, each in (_ONE if place == _ITSELF else arriving[place]).items():
            result[inner] = result.get(inner, 0) + times * each
    return result
