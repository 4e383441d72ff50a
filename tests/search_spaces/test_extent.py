"""What a graph takes once it is unfolded: counted as the unfolded graph counts, and bounded where a file is read."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings

from search_spaces import Architecture
from search_spaces.builder import GraphBuilder
from search_spaces.errors import InvalidArchitecture
from search_spaces.extent import LONGEST_NAME, MOST_LEVELS, MOST_NODES, MOST_READS, check_extent
from search_spaces.graph import Graph
from search_spaces.ops import Activation, Add, Conv, Identity
from tests.strategies import architectures


def residual_chain(length: int, *, in_cells: bool) -> Graph:
    """A sum of ever more terms: each step adds a convolution of the sum to the sum."""
    builder = GraphBuilder()
    value = builder.input()
    inner = GraphBuilder()
    x = inner.input()
    cell = inner.cell("residual", inner.add("sum", Add(), inner.add("skip", Identity(), x), inner.add("conv", CONV, x)))
    for _ in range(length):
        if in_cells:
            value = builder.add("cell", cell, value)
        else:
            value = builder.add("sum", Add(), value, builder.add("conv", CONV, value))
    return builder.graph(value)


CONV = Conv(2, (1,))


@pytest.mark.parametrize("in_cells", [False, True])
def test_sums_count_by_their_terms_once_they_are_joined(in_cells: bool) -> None:
    length = 20
    graph = residual_chain(length, in_cells=in_cells)
    simple = Architecture(graph, ((2, 5),)).flatten().simplified().graph
    sums = [len(node.inputs) for node in simple.nodes if isinstance(node.operation, Add)]
    assert sums == list(range(2, length + 2))
    extent = check_extent(graph)
    idle = length if in_cells else 0
    assert (
        sum(extent.reads.values()) == sum(len(node.inputs) for node in simple.nodes) + idle == sum(sums) + length + idle
    )
    assert sum(extent.terms.values()) == length + 1
    assert extent.levels == in_cells


@settings(deadline=None, max_examples=100)
@given(architectures(inputs=2, outputs=2))
def test_what_is_unfolded_is_no_larger_than_told(architecture: Architecture) -> None:
    extent = check_extent(architecture.graph)
    flat = architecture.flatten()
    unfolded = check_extent(flat.graph)
    assert (unfolded.terms, unfolded.reads) == (extent.terms, extent.reads)
    # A cell that only passes its input on leaves no node behind.
    assert unfolded.levels <= extent.levels
    assert len(flat.graph.nodes) == unfolded.nodes <= extent.nodes
    assert max(len(node.name) for node in flat.graph.nodes) == unfolded.longest_name <= extent.longest_name
    joined = flat.simplified().graph
    assert sum(len(node.inputs) for node in joined.nodes) <= sum(extent.reads.values())


def document(cells: list[Any], graph: Any) -> str:
    return json.dumps(
        {"format": "nas.architecture", "version": 1, "input_shapes": [[1, 4]], "cells": cells, "graph": graph}
    )


def body(*operations: Any) -> dict[str, Any]:
    """A chain of operations that each read the node before, twice where they are sums."""
    nodes: list[Any] = [["x", {"op": "Input"}, []]]
    for number, operation in enumerate(operations):
        nodes.append([f"node{number}", operation, [number] * (2 if operation == {"op": "Add"} else 1)])
    return {"nodes": nodes, "outputs": [["y", len(operations)]]}


def cells_of_two_cells(depth: int) -> str:
    cells = [{"family": "twice", **body({"op": "Activation"})}]
    cells += [{"family": "twice", **body({"cell": number}, {"cell": number})} for number in range(depth)]
    return document(cells, body({"cell": depth}))


def cells_in_cells(depth: int) -> str:
    cells = [{"family": "once", **body({"op": "Activation"})}]
    cells += [{"family": "once", **body({"cell": number})} for number in range(depth)]
    return document(cells, body({"cell": depth}))


def doubled_sums(depth: int) -> str:
    return document([], body(*[{"op": "Add"}] * depth))


def sums_in_cells(depth: int) -> str:
    cells = [{"family": "double", **body({"op": "Add"}, {"op": "Dropout", "probability": 0})}]
    return document(cells, body(*[{"cell": 0}] * depth))


def long_paths(length: int) -> str:
    cells: list[Any] = [{"family": "cell", **body({"op": "Activation"})}]
    graph = body({"cell": 0})
    graph["nodes"][1][0] = "n" * length
    return document(cells, graph)


def dotted(dots: int) -> str:
    graph = body({"op": "Activation"})
    graph["nodes"][1][0] = "a" + ".a" * dots
    return document([], graph)


@pytest.mark.parametrize(
    ("make", "most", "too_many", "says"),
    [
        (cells_of_two_cells, 13, 31, f"{MOST_NODES} at most"),
        (cells_in_cells, MOST_LEVELS - 1, 2_000, f"{MOST_LEVELS} at most"),
        (doubled_sums, 19, 60, f"{MOST_READS} at most"),
        (sums_in_cells, 18, 60, f"{MOST_READS} at most"),
        (long_paths, LONGEST_NAME - len(".node0"), LONGEST_NAME, f"{LONGEST_NAME} at most"),
        (dotted, MOST_LEVELS, 100, f"{MOST_LEVELS} at most"),
    ],
)
def test_a_short_file_that_stands_for_too_much_is_refused_at_once(
    make: Callable[[int], str], most: int, too_many: int, says: str
) -> None:
    fine = Architecture.from_json(make(most))
    assert fine.flatten().key == fine.key
    text = make(too_many)
    seconds = []
    # Once may be held up by a collection of all that the process has made before.
    for _ in range(3):
        began = time.process_time()
        with pytest.raises(InvalidArchitecture, match=rf"rule extent: up to node .*{says}") as caught:
            Architecture.from_json(text)
        seconds.append(time.process_time() - began)
        assert "\n" not in str(caught.value)
    assert min(seconds) < 1


def test_zoo_networks_and_what_they_become_are_far_from_the_bounds() -> None:
    from search_spaces import zoo

    for name in zoo.names():
        extent = check_extent(zoo.load(name).graph)
        assert extent.levels <= MOST_LEVELS // 4
        assert extent.longest_name <= LONGEST_NAME // 4
        assert extent.nodes <= MOST_NODES // 16
        assert sum(extent.reads.values()) <= MOST_READS // 16


def test_an_input_is_one_term_wherever_it_stands() -> None:
    builder = GraphBuilder()
    inner = GraphBuilder()
    first, second = inner.input("a"), inner.input("b")
    cell = inner.cell("swap", inner.add("sum", Add(), second, first, second))
    x = builder.input()
    total = builder.add("total", Add(), x, builder.add("relu", Activation(), x))
    extent = check_extent(builder.graph(builder.add("cell", cell, x, total)))
    # The relu reads 1 value, the total 2; the cell sums the total twice and x, which is 5 terms: x thrice, relu twice.
    assert sum(extent.reads.values()) == 1 + 2 + 5
    assert sorted(extent.terms.values()) == [2, 3]
