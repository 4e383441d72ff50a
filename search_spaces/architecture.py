"""The architecture: a graph with the shapes of its inputs; what is analysed, trained, stored under its key and exported."""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from search_spaces import canonical, encoding
from search_spaces.convolutionalize import convolutionalize
from search_spaces.graph import Graph, flatten, node_shapes
from search_spaces.ops import Shape
from search_spaces.simplify import simplify_graph
from search_spaces.verify import verify

if TYPE_CHECKING:
    import networkx


@dataclass(frozen=True, slots=True)
class Architecture:
    """A verified graph of graphs and the shapes (without batch) of what it reads.

    Raises:
        InvalidArchitecture: the graph breaks a rule of `verify`.
    """

    graph: Graph
    input_shapes: tuple[Shape, ...]

    def __post_init__(self) -> None:
        verify(self.graph, self.input_shapes)

    def __reduce__(self) -> tuple[Any, ...]:
        return (Architecture, (self.graph, self.input_shapes))

    @property
    def output_shapes(self) -> tuple[Shape, ...]:
        """The shapes (without batch) of what it gives."""
        shapes = node_shapes(self.graph, self.input_shapes)
        return tuple(shapes[index] for _, index in self.graph.outputs)

    @property
    def key(self) -> str:
        """32 hexadecimal digits, equal exactly for architectures that are isomorphic once simplified."""
        return canonical.graph_key(self.graph, self.input_shapes)

    def simplified(self) -> "Architecture":
        """The same function without identities, dead branches and weightless twins; the cells stay."""
        graph = simplify_graph(self.graph, self.input_shapes)
        return self if graph == self.graph else Architecture(graph, self.input_shapes)

    def flatten(self) -> "Architecture":
        """The same network as a plain graph without cells."""
        return Architecture(flatten(self.graph), self.input_shapes)

    def convolutionalized(self) -> "Architecture":
        """The twin whose dense head is made of convolutions and slides over larger inputs (see `convolutionalize`).

        Raises:
            InvalidArchitecture: some operation of the head has no convolutional form.
        """
        graph = convolutionalize(self.graph, self.input_shapes)
        return self if graph == self.graph else Architecture(graph, self.input_shapes)

    def to_networkx(self) -> "networkx.MultiDiGraph[int]":
        """A view of the flat graph; nodes carry `operation`, edges the `slot` of the input they feed."""
        import networkx

        view: networkx.MultiDiGraph[int] = networkx.MultiDiGraph()
        flat = flatten(self.graph)
        for index, node in enumerate(flat.nodes):
            view.add_node(index, name=node.name, operation=node.operation)
            for slot, source in enumerate(node.inputs):
                view.add_edge(source, index, slot=slot)
        return view

    def to_json(self) -> str:
        """Versioned JSON; equal cells are written once."""
        return json.dumps(encoding.encode(self.graph, self.input_shapes), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "Architecture":
        """Reads what `to_json` wrote, and verifies it.

        Raises:
            UserError: the text is not such JSON; `NewerFormat` where a newer version wrote it.
        """
        return cls(*encoding.decode(text))
