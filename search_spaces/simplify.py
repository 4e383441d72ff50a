"""placeholder"""

from search_spaces.graph import Graph
from search_spaces.ops import Shape


def simplify_graph(graph: Graph, input_shapes: tuple[Shape, ...]) -> Graph:
    return graph
