"""Names the values of a graph as a person would: `x` for the trunk, a node's name or a letter for a branch.

Each value gets the variable that its line of `forward` assigns. A chain without branches keeps one variable; a value
that stands alone takes its node's name; and where all branches have come together the variable is `x` again.
"""

import builtins
from collections.abc import Container, Iterator
from dataclasses import dataclass
from itertools import count

from search_spaces.graph import Graph
from search_spaces.ops import Identity, Input

_TRUNK = "x"
_LETTERS = "xyzwvu"
_MEANT_OTHERWISE = frozenset({"self", "torch", "nn", "l", *dir(builtins)})
_LONGEST_NAME = 30


@dataclass(frozen=True, slots=True)
class Line:
    """A line of `forward`: which node it computes, from which nodes, and the variables that it assigns and reads."""

    index: int
    sources: tuple[int, ...]
    target: str
    arguments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Forward:
    """The body of `forward`: its arguments, its lines and the variables it returns."""

    parameters: tuple[str, ...]
    lines: tuple[Line, ...]
    results: tuple[str, ...]


def plan_forward(graph: Graph) -> Forward:
    """The lines of `graph` in order; identities have none, they are another name for what they read."""
    values = list(range(len(graph.nodes)))
    for index, node in enumerate(graph.nodes):
        if isinstance(node.operation, Identity):
            values[index] = values[node.inputs[0]]
    steps = {
        index: tuple(values[source] for source in node.inputs)
        for index, node in enumerate(graph.nodes)
        if not isinstance(node.operation, Input | Identity)
    }
    outputs = tuple(values[index] for _, index in graph.outputs)
    reads = _reads(steps, outputs)
    last_reader = {source: index for index, sources in steps.items() for source in sources}

    names: dict[int, str] = {}
    for index in graph.inputs:
        names[index] = _name(graph.nodes[index].name, names.values())
    parameters = tuple(names.values())
    live = {index: name for index, name in names.items() if index in reads}
    lines = []
    for index, sources in steps.items():
        arguments = tuple(live[source] for source in sources)
        for source in set(sources):
            if last_reader[source] == index and source not in outputs:
                del live[source]
        if not live:
            target = _TRUNK
        elif _is_chain(index, sources, reads):
            target = arguments[0]
        else:
            reader = last_reader.get(index)
            stands_alone = reader is None or not _is_chain(reader, steps[reader], reads)
            target = _name(graph.nodes[index].name if stands_alone else "", live.values())
        live[index] = target
        lines.append(Line(index, sources, target, arguments))
    return Forward(parameters, tuple(lines), tuple(live[index] for index in outputs))


def _reads(steps: dict[int, tuple[int, ...]], outputs: tuple[int, ...]) -> dict[int, int]:
    """How often each value is read, by lines or as an output."""
    reads: dict[int, int] = {}
    for sources in (*steps.values(), outputs):
        for source in sources:
            reads[source] = reads.get(source, 0) + 1
    return reads


def _is_chain(index: int, sources: tuple[int, ...], reads: dict[int, int]) -> bool:
    """Whether the node goes on from a single value that nobody else reads."""
    return len(sources) == 1 and reads[sources[0]] == 1


def _name(wanted: str, taken: Container[str]) -> str:
    """The wanted name if it reads well and means nothing else, or else the first free letter."""
    reads_well = wanted.isascii() and wanted.islower() and wanted.isidentifier() and len(wanted) <= _LONGEST_NAME
    if reads_well and wanted not in _MEANT_OTHERWISE and wanted not in taken:
        return wanted
    return next(name for name in _letters() if name not in taken)


def _letters() -> Iterator[str]:
    yield from _LETTERS
    for number in count(2):
        for letter in _LETTERS:
            yield f"{letter}{number}"
