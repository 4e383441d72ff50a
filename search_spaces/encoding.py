"""The versioned JSON form of graphs: every distinct cell once, in a table, referred to by its number."""

import json
import re
import reprlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import MISSING, fields
from typing import Any, get_args

from search_spaces.errors import InvalidArchitecture, NewerFormat, UserError, unknown_name
from search_spaces.extent import LONGEST_NAME, check_extent
from search_spaces.graph import Cell, Graph, Node
from search_spaces.ops import LEAF_OPERATIONS, Operation, Shape
from search_spaces.verify import verify_graph

FORMAT = "nas.architecture"
VERSION = 1

_TYPES: dict[str, type[Operation]] = {operation.__name__: operation for operation in LEAF_OPERATIONS}
_FIELDS = {name: {item.name: item for item in fields(operation)} for name, operation in _TYPES.items()}
_GRAPH_KEYS = ("nodes", "outputs")
_WIDEST = 1 << 63
"""Numbers are smaller: no tensor has so many elements."""
_FROM_NAS = "give a file written by nas"

_HALF = re.compile("[\ud800-\udfff]")
"""Half of a character, as JSON can write it but no file can hold it."""

_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxstring = 2, 60


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
    """The graph, verified, and its input shapes from JSON text; whether these fit is not looked at yet.

    Raises:
        UserError: not such JSON; `NewerFormat` where a newer version wrote it.
    """
    document = _parse(text)
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise UserError(
            f'not an architecture: the JSON must be an object with "format": "{FORMAT}", as to_json writes it'
        )
    version = document.get("version")
    if type(version) is not int or version < 1:
        raise _malformed("version", f"must be a positive whole number, got {_shown(version)}")
    if version > VERSION:
        raise NewerFormat(
            f"this architecture has version {_shown(version)}, this nas reads up to {VERSION}; upgrade nas"
        )
    _check_keys("the document", document, ("format", "version", "input_shapes", "cells", "graph"))
    cells: list[Cell] = []
    unread: set[int] = set()
    for number, entry in enumerate(_list("cells", document["cells"])):
        cells.append(_decode_cell(f"cell {number}", entry, cells, unread))
        unread.add(number)
    _check_keys("graph", document["graph"], _GRAPH_KEYS)
    graph = _decode_graph("graph", document["graph"], cells, unread)
    if unread:
        raise _malformed(f"cell {min(unread)}", "stands nowhere", "leave it out")
    shapes = _list("input_shapes", document["input_shapes"])
    return graph, tuple([_value("input_shapes", Shape, shape) for shape in shapes])


def encode_operation(operation: Operation) -> dict[str, Any]:
    """The JSON object of an operation that is not a cell: its type and what differs from the defaults."""
    entry: dict[str, Any] = {"op": type(operation).__name__}
    for item in fields(operation):
        value = getattr(operation, item.name)
        if item.type is float:
            value = _plain(value)
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


def _plain(number: float) -> float:
    """One number for those that are equal but are written differently: 0, 0.0 and -0.0."""
    return float(number) + 0.0


def _parse(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant)
    except UserError:
        raise
    except json.JSONDecodeError as error:
        raise UserError(f"not an architecture: the text is not JSON ({error}); {_FROM_NAS}") from None
    except (ValueError, RecursionError):
        raise UserError(
            f"not an architecture: brackets are nested too deep in the text, or a number is too long; {_FROM_NAS}"
        ) from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entry = dict(pairs)
    if len(entry) < len(pairs):
        ((twice, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise UserError(f"not an architecture: {_shown(twice)} stands twice in an object; leave one out")
    return entry


def _refuse_constant(name: str) -> None:
    raise UserError(f"not an architecture: {name} is no number of JSON; give finite ones")


def _decode_cell(where: str, entry: Any, cells: list[Cell], unread: set[int]) -> Cell:
    _check_keys(where, entry, ("family", *_GRAPH_KEYS))
    return Cell(_value(f"{where}, family", str, entry["family"]), _decode_graph(where, entry, cells, unread))


def _decode_graph(where: str, entry: dict[str, Any], cells: list[Cell], unread: set[int]) -> Graph:
    nodes = []
    for number, node in enumerate(_list(f"{where}, nodes", entry["nodes"])):
        if type(node) is not list or len(node) != 3:
            raise _malformed(f"{where}, node {number}", f"must be [name, operation, inputs], got {_shown(node)}")
        name = _value(f"{where}, name of node {number}", str, node[0])
        here = f"{where}, node {name!r}"
        operation = _decode_operation(here, node[1], cells, unread)
        nodes.append(Node(name, operation, _value(f"{here}, inputs", tuple[int, ...], node[2])))
    outputs = []
    for number, output in enumerate(_list(f"{where}, outputs", entry["outputs"])):
        if type(output) is not list or len(output) != 2:
            raise _malformed(f"{where}, output {number}", f"must be [name, node number], got {_shown(output)}")
        here = f"{where}, output {number}"
        outputs.append((_value(here, str, output[0]), _value(here, int, output[1])))
    graph = Graph(tuple(nodes), tuple(outputs))
    try:
        # Cell by cell, from the inside out, so that nothing ever walks cells that stand in each other too deep.
        verify_graph(graph)
        check_extent(graph)
    except InvalidArchitecture as error:
        raise InvalidArchitecture(f"{where}: {error}") from None
    return graph


def _decode_operation(where: str, entry: Any, cells: list[Cell], unread: set[int]) -> Operation:
    if type(entry) is not dict:
        raise _malformed(where, f"the operation must be an object, got {_shown(entry)}")
    if "cell" in entry:
        _check_keys(where, entry, ("cell",))
        number: int = _value(f"{where}, cell", int, entry["cell"])
        if not 0 <= number < len(cells):
            raise _malformed(
                where, f"cell number {number} is not among the {len(cells)} before it", "let cells stand in later ones"
            )
        unread.discard(number)
        return cells[number]
    name = entry.get("op")
    if type(name) is not str:
        raise _malformed(where, f'the operation must have a name, its "op", got {_shown(name)}')
    if name not in _FIELDS:
        raise UserError(f"not an architecture: {where}: {unknown_name('operation', name[:60], _FIELDS)}")
    arguments = {}
    for item, value in entry.items():
        if item == "op":
            continue
        if item not in _FIELDS[name]:
            raise _malformed(where, f"operation {name} has no field {_shown(item)}", "leave it out")
        arguments[item] = _value(f"{where}, {name}.{item}", _FIELDS[name][item].type, value)
    missing = [item.name for item in _FIELDS[name].values() if item.default is MISSING and item.name not in arguments]
    if missing:
        raise _malformed(where, f"operation {name} needs {missing[0]!r}", "add it")
    try:
        return _TYPES[name](**arguments)
    except InvalidArchitecture as error:
        raise InvalidArchitecture(f"{where}: {error}") from None


def _value(where: str, kind: Any, value: Any) -> Any:
    """`value` from JSON as the type that is declared: a whole number, a number, a text, a flag, or a tuple of these."""
    if kind is int:
        if type(value) is not int or not -_WIDEST < value < _WIDEST:
            raise _malformed(where, f"must be a whole number of at most 64 bits, got {_shown(value)}")
        return value
    if kind is float:
        if type(value) not in (int, float) or abs(value) > _WIDEST:
            raise _malformed(where, f"must be a finite number, got {_shown(value)}")
        return _plain(value)
    if kind is bool:
        if type(value) is not bool:
            raise _malformed(where, f"must be true or false, got {_shown(value)}")
        return value
    if kind is str:
        if type(value) is not str:
            raise _malformed(where, f"must be a text, got {_shown(value)}")
        if len(value) > LONGEST_NAME or _HALF.search(value):
            raise _malformed(
                where, f"must be {LONGEST_NAME} whole characters at most, got {_shown(value)}", "shorten it"
            )
        return value
    item, *rest = get_args(kind)
    parts = _list(where, value)
    if rest != [...] and len(parts) != 1 + len(rest):
        raise _malformed(where, f"must hold lists of {1 + len(rest)} numbers, got {_shown(value)}")
    return tuple([_value(where, item, part) for part in parts])


def _list(where: str, value: Any) -> list[Any]:
    if type(value) is not list:
        raise _malformed(where, f"must be a list, got {_shown(value)}")
    return value


def _check_keys(where: str, entry: Any, keys: Sequence[str]) -> None:
    """Refuses all but an object with these keys and no other."""
    if type(entry) is not dict:
        raise _malformed(where, f"must be an object, got {_shown(entry)}")
    for key in keys:
        if key not in entry:
            raise _malformed(where, f"{key!r} is missing", "add it")
    for key in entry:
        if key not in keys:
            raise _malformed(where, f"{_shown(key)} means nothing here", "leave it out")


def _malformed(where: str, what: str, remedy: str = _FROM_NAS) -> UserError:
    return UserError(f"not an architecture: {where}: {what}; {remedy}")


def _shown(value: Any) -> str:
    """The value in at most a line."""
    return _SHORT.repr(value)
