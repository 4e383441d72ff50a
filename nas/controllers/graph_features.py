"""Describes an architecture by counts over its nested graph, for surrogates: live operations, effective paths, subtrees.

Every body of the nested graph is first reduced to its **live graph**: identities and sums are passed through, what no
input reaches or no output needs is dropped, weightless twins are merged. A cell that is a plain chain of operations
(ReLU, convolution, normalisation) is one vertex; a cell that branches or holds such cells is a vertex that tells only
its family, and is described by itself. A label has all attributes of an operation but its widths. Then, in `GROUPS`:

- `operations`: how many live vertices have each label;
- `paths`: how many paths from input to output read each sequence of labels (White et al. 2021, with the multiplicity
  that sums of equal values give them);
- `subtrees`: how many vertices have each label after `WL_ROUNDS` rounds of Weisfeiler-Lehman refinement, in which a
  vertex takes in the labels of what it reads and of what reads it (Shervashidze et al. 2011);
- `profile`: along the outermost graph, the logarithm of the channels and the size behind each node, and of the number
  of vertices of each label and their widths in it, so that it matters where something stands;
- `figures`: the logarithms of parameters, multiply-accumulates and depth.

The first three are means over all cells of one family at one depth of nesting, so that a cell counts alike however
often it is repeated; how often it is, `profile` and `figures` tell. Of every count the feature is `log2(1 + count)`: the
first path of a kind matters more than the tenth, and a dense cell has very many. Features are rounded to whole numbers
of twelfths, so that sums over them are exact in any order. They depend neither on names nor on the order of nodes (but
`profile` on the order of the outermost ones).

References:
    White, Neiswanger, Savani: BANANAS: Bayesian Optimization with Neural Architectures for Neural Architecture Search.
    AAAI 2021 (path encoding; here each path has its count, and truncation is by `MAX_PATHS`).
    Shervashidze, Schweitzer, van Leeuwen, Mehlhorn, Borgwardt: Weisfeiler-Lehman Graph Kernels. JMLR 12, 2011.
    Ru, Wan, Dong, Osborne: Interpretable Neural Architecture Search via Bayesian Optimisation with Weisfeiler-Lehman
    Kernels. ICLR 2021 (NASBOWL).
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

from search_spaces.architecture import Architecture
from search_spaces.graph import Cell, Graph, node_shapes
from search_spaces.ops import Add, Identity, Input, Multiply, Operation, Shape, Zero

GROUPS = ("operations", "paths", "subtrees", "profile", "figures")
"""The groups of features, each of which has a length scale of its own in a surrogate."""

FIGURES = ("params", "macs", "depth")
"""Size, work and length: what the other figures of the analysis follow."""

WL_ROUNDS = 1
"""One round tells what is just before and behind an operation. After two, most subtrees of a small cell are its alone."""

MAX_PATHS = 512
"""Sequences that a vertex may end; beyond, only their last labels are told apart, so that no graph is too dense."""

_LOG_PARTS = 12
"""A logarithm to base 2 is told to a twelfth, which is 6 %: fine beside what a network's result tells."""

_WIDTHS = ("out_channels", "out_features", "rows", "features")

Features = tuple[Mapping[str, int], ...]
"""For each of `GROUPS` the features that are not zero, by name."""


def graph_features(architecture: Architecture, figures: Mapping[str, float]) -> Features:
    """The features of an architecture as its space builds it, `figures` being those of its simplified form."""
    graph, shapes = architecture.graph, architecture.input_shapes
    sums: tuple[Counter[str], ...] = (Counter(), Counter(), Counter())
    occurrences: Counter[str] = Counter()
    counts: dict[tuple[str, Graph], int] = defaultdict(int)
    for family, body, times in _bodies(graph, "network", 0):
        counts[family, body] += times
    for (family, body), times in counts.items():
        occurrences[family] += times
        for total, found in zip(sums, _body_counts(live_graph(body)), strict=True):
            for name, count in found.items():
                total[f"{family}:{name}"] += count * times
    means = [
        {name: _logarithm(count / occurrences[name.partition(":")[0]]) for name, count in total.items()}
        for total in sums
    ]
    return (*means, _profile(graph, shapes), {name: _logarithm(figures[name]) for name in FIGURES})


class LiveGraph(NamedTuple):
    """The live vertices of a body in topological order, inputs first, the output last; no vertices if none is live.

    `reads` has for each vertex pairs of a vertex that it reads and how often, ascending.
    """

    labels: tuple[str, ...]
    reads: tuple[tuple[tuple[int, int], ...], ...]


_Sum = Mapping[int, int]
"""How often a sum has the value of each vertex as a term."""


def _total(sums: Sequence[_Sum]) -> _Sum:
    if len(sums) == 1:
        return sums[0]
    total: dict[int, int] = {}
    for terms in sums:
        for vertex, times in terms.items():
            total[vertex] = total.get(vertex, 0) + times
    return total


class _Body(NamedTuple):
    """The live graph of a body, and of which of its nodes the vertices (but for the output) were made."""

    live: LiveGraph
    nodes: tuple[int, ...]


def live_graph(body: Graph) -> LiveGraph:
    """The live graph of a body, its cells not looked into beyond whether anything comes through them."""
    return _body(body).live


def _body(graph: Graph) -> _Body:
    found: _Body | None = graph.known.get("live")
    if found is None:
        found = graph.known["live"] = _find_live(graph)
    return found


def _find_live(body: Graph) -> _Body:
    labels: list[str] = []
    nodes: list[int] = []
    reads: list[_Sum] = []
    twins: dict[object, int] = {}
    values: list[_Sum] = []
    """For each node of the body the vertices whose sum it is."""
    for index, node in enumerate(body.nodes):
        operation = node.operation
        inputs = [values[source] for source in node.inputs]
        if isinstance(operation, Input):
            nodes.append(index)
            labels.append(f"input {body.inputs.index(index)}")
            reads.append({})
            values.append({len(labels) - 1: 1})
            continue
        label = operation_label(operation)
        read = _total(inputs)
        if label is None or not read or (isinstance(operation, Multiply) and not all(inputs)):
            values.append({})
        elif label == "" or isinstance(operation, Add):
            values.append(read)
        else:
            vertex = len(labels)
            if not operation.has_weights:
                twin = (label, *[frozenset(value.items()) for value in inputs])
                vertex = twins.setdefault(twin, vertex)
            if vertex == len(labels):
                nodes.append(index)
                labels.append(label)
                reads.append(read)
            values.append({vertex: 1})
    outputs = _total([values[index] for _, index in body.outputs])
    needed = set(outputs)
    for vertex in reversed(range(len(labels))):
        if vertex in needed:
            needed.update(reads[vertex])
    if not needed:
        return _Body(LiveGraph((), ()), ())
    place = {vertex: index for index, vertex in enumerate(sorted(needed))}
    kept = [*(reads[vertex] for vertex in place), outputs]
    live = LiveGraph(
        (*(labels[vertex] for vertex in place), "output"),
        tuple(tuple(sorted((place[source], times) for source, times in read.items())) for read in kept),
    )
    return _Body(live, tuple(nodes[vertex] for vertex in place))


@lru_cache(maxsize=4_096)
def operation_label(operation: Operation) -> str | None:
    """What an operation is, widths left out: "" where it changes nothing, None where nothing comes through."""
    match operation:
        case Identity():
            return ""
        case Zero():
            return None
        case Cell(family, body):
            labels = _chain_labels(body)
            if labels is None:
                return f"cell {family}" if live_graph(body).labels else None
            return None if None in labels else ">".join(label for label in labels if label)
    parts = [type(operation).__name__]
    for item in fields(operation):
        value = getattr(operation, item.name)
        if item.name == "groups":
            # The groups of a depthwise convolution follow its width.
            value = min(value, 2)
        if item.name not in _WIDTHS and value != item.default:
            parts.append(f"{item.name}={value}")
    return " ".join(parts)


@lru_cache(maxsize=4_096)
def _chain_labels(body: Graph) -> tuple[str | None, ...] | None:
    """The labels along a body that is a chain of operations; None of a body that branches or holds one that does."""
    if body.wiring != ((), *[(index,) for index in range(len(body.nodes) - 1)]) or len(body.outputs) != 1:
        return None
    if body.outputs[0][1] != len(body.nodes) - 1:
        return None
    labels = []
    for node in body.nodes[1:]:
        if isinstance(node.operation, Cell) and _chain_labels(node.operation.body) is None:
            return None
        labels.append(operation_label(node.operation))
    return tuple(labels)


def _bodies(graph: Graph, family: str, depth: int) -> Iterator[tuple[str, Graph, int]]:
    """Every body that is not a mere chain of operations, the outermost included, with its family and how often."""
    yield f"{depth} {family}", graph, 1
    for cell, times in Counter(node.operation for node in graph.nodes if isinstance(node.operation, Cell)).items():
        if _chain_labels(cell.body) is None:
            for name, body, inner in _bodies(cell.body, cell.family, depth + 1):
                yield name, body, inner * times


@lru_cache(maxsize=16_384)
def _body_counts(live: LiveGraph) -> tuple[Counter[str], Counter[str], Counter[str]]:
    """The labels, the paths and the subtrees of a live graph, each with its count."""
    operations = Counter(label for label, read in zip(live.labels[:-1], live.reads, strict=False) if read)
    return operations, _paths(live), _subtrees(live)


def _paths(live: LiveGraph) -> Counter[str]:
    several = sum(not read for read in live.reads) > 1
    ending: list[Counter[tuple[str, ...]]] = []
    for label, reads in zip(live.labels, live.reads, strict=True):
        last = (label,) if (reads and label != "output") or (several and not reads) else ()
        found: Counter[tuple[str, ...]] = Counter() if reads else Counter((last,))
        for source, times in reads:
            for path, count in ending[source].items():
                found[(*path, *last)] += count * times
        length = max(map(len, found))
        while len(found) > MAX_PATHS:
            length -= 1
            shorter: Counter[tuple[str, ...]] = Counter()
            for path, count in found.items():
                shorter[path[-length:]] += count
            found = shorter
        ending.append(found)
    return Counter({"|".join(path): count for path, count in ending[-1].items()}) if ending else Counter()


def _subtrees(live: LiveGraph) -> Counter[str]:
    readers: list[list[tuple[int, int]]] = [[] for _ in live.labels]
    for vertex, reads in enumerate(live.reads):
        for source, times in reads:
            readers[source].append((vertex, times))
    colours = list(live.labels)
    found: Counter[str] = Counter()
    for _ in range(WL_ROUNDS):
        below = [sorted((colours[source], times) for source, times in reads) for reads in live.reads]
        above = [sorted((colours[reader], times) for reader, times in pairs) for pairs in readers]
        colours = [_digest(*parts) for parts in zip(colours, below, above, strict=True)]
        found.update(colours)
    return found


def _digest(*parts: object) -> str:
    return blake2b(repr(parts).encode(), digest_size=8).hexdigest()


def _profile(graph: Graph, input_shapes: tuple[Shape, ...]) -> dict[str, int]:
    """What stands along the outermost graph, by the place of the node."""
    profile: dict[str, int] = {}
    shapes = node_shapes(graph, input_shapes)
    for place, (node, shape) in enumerate(zip(graph.nodes, shapes, strict=True)):
        if isinstance(node.operation, Input):
            continue
        profile[f"{place} channels"] = _logarithm(shape[0])
        profile[f"{place} size"] = _logarithm(math.prod(shape[1:]))
        given = tuple(shapes[source] for source in node.inputs)
        for name, amount in _contents(node.operation, given).items():
            profile[f"{place} {name}"] = _logarithm(amount)
    return profile


@lru_cache(maxsize=16_384)
def _contents(operation: Operation, input_shapes: tuple[Shape, ...]) -> Counter[str]:
    """How many vertices of each label an operation holds, and the sum of their widths."""
    if isinstance(operation, Cell) and _chain_labels(operation.body) is None:
        inside: Counter[str] = Counter()
        shapes = node_shapes(operation.body, input_shapes)
        for index in _body(operation.body).nodes:
            node = operation.body.nodes[index]
            if not isinstance(node.operation, Input):
                inside.update(_contents(node.operation, tuple(shapes[source] for source in node.inputs)))
        return inside
    label = operation_label(operation)
    if not label or isinstance(operation, Add):
        return Counter()
    return Counter({f"number {label}": 1, f"width {label}": operation.output_shape(*input_shapes)[0]})


def _logarithm(amount: float) -> int:
    """`log2(1 + amount)` in whole parts."""
    return round(_LOG_PARTS * math.log2(1 + amount))
