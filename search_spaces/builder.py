"""Builds graphs node by node: `GraphBuilder` hands out references, and closes into a verified graph, cell or architecture."""

from collections import Counter

from search_spaces.graph import Cell, Graph, Node
from search_spaces.ops import Input, Operation
from search_spaces.verify import verify_graph


class GraphBuilder:
    """A graph under construction.

    `add` returns the index of the new node, to be used as an input of later ones. Names are made unique by a number
    behind them (`conv`, `conv2`, …); dots are for paths through cells and are refused by `verify`.
    """

    def __init__(self) -> None:
        self._nodes: list[Node] = []
        self._taken: set[str] = set()
        self._counts: Counter[str] = Counter()

    def input(self, name: str = "x") -> int:
        """Adds a value that comes from outside."""
        return self.add(name, Input())

    def add(self, name: str, operation: Operation, *inputs: int) -> int:
        """Adds a node that applies `operation` to the values of `inputs`."""
        unique = name
        while unique in self._taken:
            self._counts[name] += 1
            unique = f"{name}{self._counts[name] + 1}"
        self._taken.add(unique)
        self._nodes.append(Node(unique, operation, inputs))
        return len(self._nodes) - 1

    def chain(self, source: int, *operations: tuple[str, Operation]) -> int:
        """Adds operations one behind the other, from `source` on, and returns the last."""
        for name, operation in operations:
            source = self.add(name, operation, source)
        return source

    def graph(self, *outputs: int, names: tuple[str, ...] = ("y",)) -> Graph:
        """The verified graph of all nodes so far.

        Raises:
            InvalidArchitecture: a rule of `verify` is broken.
        """
        graph = Graph(tuple(self._nodes), tuple(zip(names, outputs, strict=True)))
        verify_graph(graph)
        return graph

    def cell(self, family: str, output: int) -> Cell:
        """The graph so far as the body of a cell."""
        return Cell(family, self.graph(output))
