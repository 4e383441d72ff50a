"""The nested graph: nodes in topological order, and cells, which are operations whose body is again a graph."""

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from math import prod
from typing import Any, NamedTuple

from search_spaces.errors import InvalidArchitecture
from search_spaces.operation import MOST_ELEMENTS
from search_spaces.ops import Input, Operation, Shape

Wiring = tuple[tuple[int, ...], ...]
"""For each node of a graph the indices of the nodes that it reads."""


TEMPLATE = "template"
"""The key, in what a graph knows, of the `TemplateMemory` that it shares with the other fillings of its template."""


class TemplateMemory(NamedTuple):
    """What is worked out about the nodes of a template once for all its fillings.

    `fresh` are the indices of the nodes that every filling makes anew, the cells with slots in them. All others are
    the template's own and live as long as it does, so they are known by their identity and need not be hashed:
    `by_inputs` has, for each kind of input, what was worked out about them.
    """

    fresh: frozenset[int]
    by_inputs: dict[Hashable, dict[int, Any]]


class Node(NamedTuple):
    """One operation, the indices of the nodes it reads, and a name that is unique in its graph."""

    name: str
    operation: Operation
    inputs: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Graph:
    """A directed acyclic graph as a tuple of nodes in topological order.

    Values that come in are nodes with the operation `Input`, by name. `outputs` are pairs of a name and the index of
    a node; most graphs have one of each. A graph is a value: it compares by content and never changes. So what has
    been worked out about it stays true, and is kept with it for as long as it lives: a cell that stands in many places
    is verified and analysed once, and one that is thrown away leaves nothing behind in any table.
    """

    nodes: tuple[Node, ...]
    outputs: tuple[tuple[str, int], ...]
    inputs: tuple[int, ...] = field(init=False, repr=False, compare=False)
    """The indices of the nodes that stand for values from outside."""
    wiring: Wiring = field(init=False, repr=False, compare=False)
    known: dict[Hashable, Any] = field(init=False, repr=False, compare=False)
    """What has been worked out about the graph, by keys that those agree on who work it out."""

    def __post_init__(self) -> None:
        inputs = tuple([index for index, node in enumerate(self.nodes) if isinstance(node.operation, Input)])
        object.__setattr__(self, "inputs", inputs)
        object.__setattr__(self, "wiring", tuple([node.inputs for node in self.nodes]))
        object.__setattr__(self, "known", {})

    def __hash__(self) -> int:
        if "hash" not in self.known:
            self.known["hash"] = hash((self.nodes, self.outputs))
        return int(self.known["hash"])

    def __reduce__(self) -> tuple[Any, ...]:
        # The hash of a string differs from process to process, so what is known must not travel.
        return (Graph, (self.nodes, self.outputs))

    def refilled(self, nodes: list[Node], known: dict[Hashable, Any]) -> "Graph":
        """The graph with these nodes, which differ from its own in operations alone; what is `known` holds for it too.

        The caller answers for that; nothing is looked at again.
        """
        graph = object.__new__(Graph)
        put = object.__setattr__
        put(graph, "nodes", tuple(nodes))
        put(graph, "outputs", self.outputs)
        put(graph, "inputs", self.inputs)
        put(graph, "wiring", self.wiring)
        put(graph, "known", known.copy())
        return graph

    def consumers(self) -> tuple[tuple[int, ...], ...]:
        """For each node the indices of the nodes that read it, once for each time it is read."""
        readers: list[list[int]] = [[] for _ in self.nodes]
        for index, node in enumerate(self.nodes):
            for source in node.inputs:
                readers[source].append(index)
        return tuple(map(tuple, readers))


@dataclass(frozen=True, slots=True)
class Cell(Operation):
    """An operation whose body is a graph with one output; `family` says of which kind the cell is.

    The cell's inputs are the `Input` nodes of its body, in their order.
    """

    family: str
    body: Graph

    @property
    def has_weights(self) -> bool:
        return _graph_has_weights(self.body)

    def output_shape(self, *inputs: Shape) -> Shape:
        return node_shapes(self.body, inputs)[self.body.outputs[0][1]]


@lru_cache(maxsize=4_096)
def _graph_has_weights(graph: Graph) -> bool:
    return any(node.operation.has_weights for node in graph.nodes)


def node_shapes(graph: Graph, input_shapes: tuple[Shape, ...]) -> tuple[Shape, ...]:
    """The output shape of every node of `graph`, for inputs of these shapes; the graph remembers them.

    Raises:
        InvalidArchitecture: an operation refuses its inputs; the message names the node.
    """
    shapes: tuple[Shape, ...] | None = graph.known.get(input_shapes)
    if shapes is None:
        shapes = graph.known[input_shapes] = _node_shapes(graph, input_shapes)
    return shapes


def _node_shapes(graph: Graph, input_shapes: tuple[Shape, ...]) -> tuple[Shape, ...]:
    given = iter(input_shapes)
    shapes: list[Shape] = []
    for name, operation, inputs in graph.nodes:
        if isinstance(operation, Input):
            try:
                shapes.append(next(given))
            except StopIteration:
                raise InvalidArchitecture(
                    f"rule inputs: no shape is given for the input {name!r}; {len(input_shapes)} given"
                ) from None
        else:
            try:
                shape = operation.output_shape(*[shapes[source] for source in inputs])
            except InvalidArchitecture as error:
                raise InvalidArchitecture(f"node {name!r}: {error}") from None
            if prod(shape) > MOST_ELEMENTS:
                raise InvalidArchitecture(
                    f"node {name!r} gives {shape}, more elements than a tensor can hold; make it smaller"
                )
            shapes.append(shape)
    if len(graph.inputs) != len(input_shapes):
        raise InvalidArchitecture(
            f"rule inputs: {len(input_shapes)} shapes for {len(graph.inputs)} inputs; give one for each"
        )
    return tuple(shapes)


def walk(graph: Graph, prefix: str = "") -> Iterator[tuple[str, Node]]:
    """Every node that is not a cell, at any depth, with its path (`stage1.cell2.conv`), inputs of cells left out."""
    for node in graph.nodes:
        path = prefix + node.name
        if isinstance(node.operation, Cell):
            for inner_path, inner in walk(node.operation.body, path + "."):
                if not isinstance(inner.operation, Input):
                    yield inner_path, inner
        else:
            yield path, node


@lru_cache(maxsize=4_096)
def flatten(graph: Graph) -> Graph:
    """The plain graph that computes the same: every cell replaced by its body, nodes named by their path."""
    nodes: list[Node] = []

    def place(part: Graph, prefix: str, sources: tuple[int, ...] | None) -> list[int]:
        given = iter(sources or ())
        positions: list[int] = []
        for node in part.nodes:
            if isinstance(node.operation, Input) and sources is not None:
                positions.append(next(given))
                continue
            inputs = tuple(positions[source] for source in node.inputs)
            if isinstance(node.operation, Cell):
                body = node.operation.body
                inner = place(body, f"{prefix}{node.name}.", inputs)
                positions.append(inner[body.outputs[0][1]])
            else:
                positions.append(len(nodes))
                nodes.append(Node(prefix + node.name, node.operation, inputs))
        return positions

    positions = place(graph, "", None)
    return Graph(tuple(nodes), tuple((name, positions[index]) for name, index in graph.outputs))
