"""What a valid graph is: a table of named rules, run on every graph that is built, loaded or mutated."""

from collections.abc import Callable
from keyword import iskeyword

from search_spaces.errors import InvalidArchitecture
from search_spaces.graph import Cell, Graph, node_shapes
from search_spaces.operation import check_shape
from search_spaces.ops import Input, Operation, Shape

Rule = Callable[[Graph], str | None]
"""A rule answers None, or what is wrong, naming the node."""


def _has_input_and_output(graph: Graph) -> str | None:
    if not graph.inputs:
        return "the graph has no input; add a node with the operation Input"
    return None if graph.outputs else "the graph has no output; name a node that is one"


def _names_are_unique(graph: Graph) -> str | None:
    # A name with dots is the path of a node that stood in a cell before `flatten`; it becomes code in an export.
    seen: set[str] = set()
    prefixes: set[str] = set()
    for node in graph.nodes:
        name = node.name
        if name in seen:
            return f"node name {name!r} stands twice; rename one"
        seen.add(name)
        if name.isidentifier() and not iskeyword(name):
            continue
        parts = name.split(".")
        if not all(part.isidentifier() and not iskeyword(part) for part in parts):
            return f"node name {name!r} must be a Python identifier, or several joined by dots"
        prefixes.update(".".join(parts[:length]) for length in range(1, len(parts)))
    if seen & prefixes:
        return f"node name {min(seen & prefixes)!r} is also the beginning of another node's path; rename one"
    names = [name for name, _ in graph.outputs]
    return None if len(set(names)) == len(names) else f"output names {names} are not unique; rename one"


def _order_is_topological(graph: Graph) -> str | None:
    for index, node in enumerate(graph.nodes):
        for source in node.inputs:
            if not 0 <= source < index:
                return (
                    f"node {node.name!r} (number {index}) reads node number {source}, which is not before it; "
                    "let it read earlier nodes alone"
                )
    for name, index in graph.outputs:
        if not 0 <= index < len(graph.nodes):
            return f"output {name!r} is node number {index}, which must be from 0 to {len(graph.nodes) - 1}"
    return None


def _arity_fits(graph: Graph) -> str | None:
    for node in graph.nodes:
        if isinstance(node.operation, Cell):
            least = most = len(node.operation.body.inputs)
        else:
            least, limit = node.operation.arity
            most = len(node.inputs) if limit is None else limit
        if not least <= len(node.inputs) <= most:
            wanted = str(least) if least == most else f"at least {least}"
            return f"node {node.name!r} ({type(node.operation).__name__}) has {len(node.inputs)} inputs, needs {wanted}"
    return None


def _nothing_dangles(graph: Graph) -> str | None:
    used = {index for _, index in graph.outputs}
    for index in reversed(range(len(graph.nodes))):
        node = graph.nodes[index]
        if index in used:
            used.update(node.inputs)
        elif not isinstance(node.operation, Input):
            return f"node {node.name!r} is used by no output; remove it or join it to one"
    return None


def _outputs_see_an_input(graph: Graph) -> str | None:
    reached = set(graph.inputs)
    for index, node in enumerate(graph.nodes):
        if not reached.isdisjoint(node.inputs):
            reached.add(index)
    for name, index in graph.outputs:
        if index not in reached:
            return f"output {name!r} is reached from no input; let it read one"
    return None


def _cells_are_valid(graph: Graph) -> str | None:
    previous: Operation | None = None
    for node in graph.nodes:
        # A stage repeats one cell many times.
        if isinstance(node.operation, Cell) and node.operation is not previous:
            previous = node.operation
            body = node.operation.body
            if len(body.outputs) != 1:
                return f"cell {node.name!r} has {len(body.outputs)} outputs, needs exactly 1"
            read = {source for inner in body.nodes for source in inner.inputs} | {body.outputs[0][1]}
            for index in body.inputs:
                # Else what feeds it would dangle once the cell is replaced by its body.
                if index not in read:
                    return f"in cell {node.name!r}: input {body.nodes[index].name!r} is read by nothing; leave it out"
            try:
                verify_graph(body)
            except InvalidArchitecture as error:
                return f"in cell {node.name!r}: {error}"
    return None


RULES: dict[str, Rule] = {
    "order": _order_is_topological,
    "ends": _has_input_and_output,
    "names": _names_are_unique,
    "arity": _arity_fits,
    "dangling": _nothing_dangles,
    "reached": _outputs_see_an_input,
    "cells": _cells_are_valid,
}
"""The rules on the structure, in the order in which they are run; each may rely on those before it."""


def verify_graph(graph: Graph) -> None:
    """Runs every rule on the structure of `graph` and of its cells; a graph remembers that it is valid.

    Raises:
        InvalidArchitecture: with the name of the broken rule and of the node.
    """
    if graph.known.get("valid"):
        return
    for name, rule in RULES.items():
        complaint = rule(graph)
        if complaint is not None:
            raise InvalidArchitecture(f"rule {name}: {complaint}")
    graph.known["valid"] = True


def verify(graph: Graph, input_shapes: tuple[Shape, ...]) -> None:
    """Runs the structural rules, and the rule that all shapes agree for inputs of these shapes.

    Raises:
        InvalidArchitecture: with the name of the broken rule and of the node.
    """
    verify_graph(graph)
    for shape in input_shapes:
        check_shape("rule shapes: input shape", shape)
    try:
        node_shapes(graph, input_shapes)
    except InvalidArchitecture as error:
        raise InvalidArchitecture(f"rule shapes: {error}") from None
