"""The canonical key: equal exactly for architectures that are isomorphic once they are simplified and flattened.

The flat simplified graph is first reduced: a run of operations without branches becomes one vertex, and twins (equal
vertices that read the same and are read the same, as parallel branches of equal convolutions are) become one vertex
with a count. Both steps can be undone, so nothing is lost, and they remove nearly all the symmetry that networks have.
What is left is labelled canonically by colour refinement; where that leaves vertices of equal colour, one after the
other is singled out and the least certificate wins, skipping those that an automorphism shows to give the certificate
of one before.

References:
    McKay & Piperno, Practical graph isomorphism, II (2014), section 2: the search tree of individualisation and
    refinement, and its pruning by automorphisms found at the leaves.
"""

import json
from collections import Counter, defaultdict
from functools import lru_cache
from hashlib import blake2b

from search_spaces.encoding import encode_operation
from search_spaces.graph import Graph, flatten
from search_spaces.ops import Input, Operation, Shape
from search_spaces.simplify import simplify_graph

_KEY_BYTES = 16


@lru_cache(maxsize=4_096)
def graph_key(graph: Graph, input_shapes: tuple[Shape, ...]) -> str:
    """32 hexadecimal digits that depend on nothing but the simplified flat graph and its input shapes, up to isomorphism."""
    simple = simplify_graph(graph, input_shapes)
    flat = flatten(simple)
    if flat is not simple:
        flat = simplify_graph(flat, input_shapes)
    vertices = _Vertices(flat, input_shapes)
    vertices.reduce()
    return _digest(vertices.certificate()).hex()


@lru_cache(maxsize=4_096)
def _operation_label(operation: Operation) -> bytes:
    return json.dumps(encode_operation(operation), sort_keys=True).encode()


def _digest(*parts: bytes) -> bytes:
    return blake2b(b"\x00".join(parts), digest_size=_KEY_BYTES).digest()


class _Vertices:
    """A labelled directed acyclic multigraph whose vertices may read their inputs in order or as a multiset."""

    def __init__(self, graph: Graph, input_shapes: tuple[Shape, ...]) -> None:
        self.label: dict[int, bytes] = {}
        self.inputs: dict[int, tuple[int, ...]] = {}
        self.unordered: dict[int, bool] = {}
        shapes = iter(input_shapes)
        for index, node in enumerate(graph.nodes):
            label = _operation_label(node.operation)
            if isinstance(node.operation, Input):
                # Inputs differ by their place and shape, not by their name.
                label = _digest(b"input", str(index).encode(), str(next(shapes)).encode())
            self.label[index] = label
            self.inputs[index] = node.inputs
            self.unordered[index] = node.operation.commutative
        for place, (_, index) in enumerate(graph.outputs):
            self.label[index] = _digest(self.label[index], b"output", str(place).encode())
        self._ends = {index for _, index in graph.outputs} | set(graph.inputs)

    def _readers(self) -> dict[int, list[tuple[int, int]]]:
        """For each vertex its readers, each with the place at which it reads, or -1 where the place has no meaning."""
        readers: dict[int, list[tuple[int, int]]] = {vertex: [] for vertex in self.label}
        for vertex, sources in self.inputs.items():
            for place, source in enumerate(sources):
                readers[source].append((vertex, -1 if self.unordered[vertex] else place))
        return readers

    def reduce(self) -> None:
        """Merges runs and twins until none is left."""
        while self._merge_runs() | self._merge_twins():
            pass

    def _merge_runs(self) -> bool:
        readers = self._readers()
        changed = False
        for vertex in list(self.label):
            sources = self.inputs[vertex]
            while len(sources) == 1 and sources[0] not in self._ends and len(readers[sources[0]]) == 1:
                source = sources[0]
                self.label[vertex] = _digest(b"run", self.label.pop(source), self.label[vertex])
                self.unordered[vertex] = self.unordered.pop(source)
                sources = self.inputs[vertex] = self.inputs.pop(source)
                changed = True
        return changed

    def _merge_twins(self) -> bool:
        readers = self._readers()
        groups: defaultdict[object, list[int]] = defaultdict(list)
        for vertex, label in self.label.items():
            if vertex not in self._ends:
                sources = self.inputs[vertex]
                if self.unordered[vertex]:
                    sources = tuple(sorted(sources))
                groups[label, sources, self.unordered[vertex], tuple(sorted(readers[vertex]))].append(vertex)
        changed = False
        for first, *others in groups.values():
            if others:
                changed = True
                self.label[first] = _digest(b"twins", self.label[first], str(len(others) + 1).encode())
                for vertex in others:
                    del self.label[vertex], self.inputs[vertex], self.unordered[vertex]
                gone = set(others)
                for reader in {reader for reader, _ in readers[first]}:
                    self.inputs[reader] = tuple(source for source in self.inputs[reader] if source not in gone)
        return changed

    def certificate(self) -> bytes:
        """A text that is equal exactly for isomorphic vertices."""
        order = sorted(self.label)
        readers = self._readers()
        colours = self._refine({vertex: self.label[vertex] for vertex in order}, order, readers)
        return self._search(colours, order, readers)

    def _refine(
        self, colours: dict[int, bytes], order: list[int], readers: dict[int, list[tuple[int, int]]]
    ) -> dict[int, bytes]:
        """Colours that also tell what a vertex reads and who reads it, to any distance."""
        classes = len(set(colours.values()))
        while True:
            seen: dict[int, bytes] = {}
            for vertex in order:
                below = [seen[source] for source in self.inputs[vertex]]
                if self.unordered[vertex]:
                    below.sort()
                seen[vertex] = _digest(colours[vertex], *below)
            result: dict[int, bytes] = {}
            for vertex in reversed(order):
                above = sorted(b"%d:%b" % (place, result[reader]) for reader, place in readers[vertex])
                result[vertex] = _digest(seen[vertex], *above)
            refined = len(set(result.values()))
            if refined == len(order) or refined == classes:
                return result
            classes, colours = refined, result

    def _search(self, colours: dict[int, bytes], order: list[int], readers: dict[int, list[tuple[int, int]]]) -> bytes:
        """The least certificate that any order of singling vertices out leads to, from a refined colouring."""
        while tied := self._tied(colours, order):
            singled = {vertex: self._single_out(colours, vertex, order, readers) for vertex in tied}
            first, *others = singled.values()
            if not all(self._is_symmetry(first, other) for other in others):
                return self._search_each(list(singled.values()), order, readers)
            # All lead to the same certificates.
            colours = first
        return self._leaf(colours)

    def _search_each(
        self, choices: list[dict[int, bytes]], order: list[int], readers: dict[int, list[tuple[int, int]]]
    ) -> bytes:
        """The least certificate of several refined colourings."""
        paths: set[bytes] = set()
        certificates = []
        for colours in choices:
            path = self._first_path(colours, order, readers)
            if path not in paths:  # Else an automorphism takes an earlier choice to this one: the same certificates.
                paths.add(path)
                certificates.append(self._search(colours, order, readers))
        return min(certificates)

    def _first_path(
        self, colours: dict[int, bytes], order: list[int], readers: dict[int, list[tuple[int, int]]]
    ) -> bytes:
        """The certificate at the end of the path that always singles out the first vertex of those in question."""
        while tied := self._tied(colours, order):
            colours = self._single_out(colours, tied[0], order, readers)
        return self._leaf(colours)

    def _tied(self, colours: dict[int, bytes], order: list[int]) -> list[int]:
        """The vertices of the smallest colour that is shared, none if all differ."""
        shared = [(size, colour) for colour, size in Counter(colours.values()).items() if size > 1]
        if not shared:
            return []
        target = min(shared)[1]
        return [vertex for vertex in order if colours[vertex] == target]

    def _single_out(
        self, colours: dict[int, bytes], vertex: int, order: list[int], readers: dict[int, list[tuple[int, int]]]
    ) -> dict[int, bytes]:
        return self._refine({**colours, vertex: _digest(colours[vertex], b"single")}, order, readers)

    def _is_symmetry(self, one: dict[int, bytes], other: dict[int, bytes]) -> bool:
        """Whether the vertices of equal colours, and otherwise each itself, are exchanged by an automorphism."""
        places: defaultdict[bytes, list[int]] = defaultdict(list)
        for vertex, colour in other.items():
            places[colour].append(vertex)
        image: dict[int, int] = {}
        for vertex, colour in one.items():
            found = places[colour]
            if len(found) != 1 and other[vertex] != colour:
                return False
            image[vertex] = found[0] if len(found) == 1 else vertex
        if len(set(image.values())) < len(image):
            return False
        for vertex, sources in self.inputs.items():
            moved, expected = [image[source] for source in sources], list(self.inputs[image[vertex]])
            if moved != expected and not (self.unordered[vertex] and sorted(moved) == sorted(expected)):
                return False
        return True

    def _leaf(self, colours: dict[int, bytes]) -> bytes:
        place = {vertex: index for index, vertex in enumerate(sorted(colours, key=lambda vertex: colours[vertex]))}
        rows = []
        for vertex in place:
            sources = [place[source] for source in self.inputs[vertex]]
            if self.unordered[vertex]:
                sources.sort()
            rows.append(b"%b %b" % (colours[vertex], str(sources).encode()))
        return b"\n".join(rows)
