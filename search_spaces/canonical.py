"""placeholder"""

from search_spaces.graph import Graph
from search_spaces.ops import Shape


def graph_key(graph: Graph, input_shapes: tuple[Shape, ...]) -> str:
    return ""
