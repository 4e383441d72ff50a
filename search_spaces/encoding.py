"""The versioned JSON form of graphs: every distinct cell once, in a table, referred to by its number."""

import json
from dataclasses import MISSING, Field, fields
from typing import Any

from search_spaces.errors import InvalidArchitecture, NewerFormat, UserError
from search_spaces.graph import Cell, Graph, Node
from search_spaces.ops import LEAF_OPERATIONS, Operation, Shape

FORMAT = "nas.architecture"
VERSION = 1

_TYPES = {operation.__name__: operation for operation in LEAF_OPERATIONS}


def encode(graph: Graph, input_shapes: tuple[Shape, ...]) -> dict[str, Any]:
    """The JSON object for a graph and the shapes of its inputs."""
    numbers: dict[Cell, int] = {}
    table: list[dict[str, Any]] = []
    body = _encode_graph(graph, numbers, table)
    return {
        "format": FORMAT,
        "version": VERSION,
        "input_shapes": [list(shape) for shape in input_shapes],
        "cells": table,
        "graph": body,
    }


def decode(text: str) -> tuple[Graph, tuple[Shape, ...]]:
    """The graph and its input shapes from JSON text; the graph is not verified yet.

    Raises:
        UserError: not such JSON; `NewerFormat` where a newer version wrote it.
    """
    try:
        document = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise UserError(f"not an architecture: the text is not JSON ({error}); give a file written by nas") from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise UserError(f'not an architecture: the JSON must be an object with "format": "{FORMAT}"')
    version = document.get("version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise UserError(f"not an architecture: version must be a positive whole number, got {version!r}")
    if version > VERSION:
        raise NewerFormat(f"this architecture has version {version}, this nas reads up to {VERSION}; upgrade nas")
    try:
        cells: list[Cell] = []
        for entry in document["cells"]:
            cells.append(Cell(_text(entry["family"]), _decode_graph(entry, cells)))
        shapes = tuple(tuple(_integer(size) for size in shape) for shape in document["input_shapes"])
        return _decode_graph(document["graph"], cells), shapes
    except InvalidArchitecture:
        raise
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        what = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
        raise UserError(f"not an architecture: {what}; give a file written by nas") from None


def encode_operation(operation: Operation) -> dict[str, Any]:
    """The JSON object of an operation that is not a cell: its type and what differs from the defaults."""
    entry: dict[str, Any] = {"op": type(operation).__name__}
    for item in fields(operation):
        value = getattr(operation, item.name)
        if item.default is MISSING or value != item.default:
            entry[item.name] = value
    return entry


def _encode_graph(graph: Graph, numbers: dict[Cell, int], table: list[dict[str, Any]]) -> dict[str, Any]:
    nodes = []
    for node in graph.nodes:
        operation = node.operation
        if isinstance(operation, Cell):
            if operation not in numbers:
                entry = {"family": operation.family, **_encode_graph(operation.body, numbers, table)}
                numbers[operation] = len(table)
                table.append(entry)
            nodes.append([node.name, {"cell": numbers[operation]}, list(node.inputs)])
        else:
            nodes.append([node.name, encode_operation(operation), list(node.inputs)])
    return {"nodes": nodes, "outputs": [list(output) for output in graph.outputs]}


def _decode_graph(entry: dict[str, Any], cells: list[Cell]) -> Graph:
    nodes = []
    for name, operation, inputs in entry["nodes"]:
        nodes.append(Node(_text(name), _decode_operation(operation, cells), tuple(_integer(i) for i in inputs)))
    return Graph(tuple(nodes), tuple((_text(name), _integer(index)) for name, index in entry["outputs"]))


def _decode_operation(entry: dict[str, Any], cells: list[Cell]) -> Operation:
    if "cell" in entry:
        number = _integer(entry["cell"])
        if not 0 <= number < len(cells):
            raise ValueError(f"cell number {number} is not among the {len(cells)} cells before it")
        return cells[number]
    kind = _TYPES.get(entry["op"])
    if kind is None:
        raise ValueError(f"unknown operation {entry['op']!r}")
    known = {item.name: item for item in fields(kind)}
    arguments = {}
    for name, value in entry.items():
        if name == "op":
            continue
        if name not in known:
            raise ValueError(f"operation {entry['op']} has no field {name!r}")
        arguments[name] = _field_value(f"{entry['op']}.{name}", known[name], value)
    return kind(**arguments)


def _field_value(where: str, item: "Field[Any]", value: Any) -> Any:
    """`value` from JSON as the type the field is declared with, or a ValueError."""
    if item.type is float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{where} must be a number, got {value!r}")
        return float(value)
    if item.type in (int, str, bool):
        if type(value) is not item.type:
            raise ValueError(f"{where} must be of type {item.type.__name__}, got {value!r}")
        return value
    return _integers(where, value)


def _integers(where: str, value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_integers(where, part) for part in value)
    if type(value) is not int:
        raise ValueError(f"{where} must hold whole numbers, got {value!r}")
    return value


def _integer(value: Any) -> int:
    if type(value) is not int:
        raise ValueError(f"expected a whole number, got {value!r}")
    return value


def _text(value: Any) -> str:
    if type(value) is not str:
        raise ValueError(f"expected a name, got {value!r}")
    return value
