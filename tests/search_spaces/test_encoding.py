"""The JSON form of architectures: what is written is read again, and what is malformed is refused."""

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings

from search_spaces import Architecture
from search_spaces.builder import GraphBuilder
from search_spaces.cells import basic_cell
from search_spaces.errors import NewerFormat, UserError
from search_spaces.ops import BatchNorm, Dropout, Pool
from tests.strategies import architectures


def residual_network() -> Architecture:
    builder = GraphBuilder()
    value = builder.chain(
        builder.input(),
        ("cell0", basic_cell(4, 4)),
        ("cell1", basic_cell(4, 4)),
        ("norm", BatchNorm(epsilon=1e-3)),
        ("pool", Pool("max", (2, 2))),
        ("dropout", Dropout(0.5)),
    )
    return Architecture(builder.graph(value), ((4, 8, 8),))


@settings(deadline=None)
@given(architectures(inputs=2, outputs=2))
def test_what_is_written_is_read_again(architecture: Architecture) -> None:
    text = architecture.to_json()
    again = Architecture.from_json(text)
    assert again == architecture
    assert hash(again) == hash(architecture)
    assert again.to_json() == text
    assert Architecture.from_json(architecture.flatten().to_json()) == architecture.flatten()


def test_equal_cells_are_written_once() -> None:
    document = json.loads(residual_network().to_json())
    families = [cell["family"] for cell in document["cells"]]
    assert families.count("residual_basic") == 1


Path = tuple[str | int, ...]


def changed(path: Path, value: Any) -> str:
    """The document of the residual network with the value at `path` replaced, or removed where it is `...`."""
    document = copy.deepcopy(json.loads(residual_network().to_json()))
    part = document
    for step in path[:-1]:
        part = part[step]
    if value is ...:
        del part[path[-1]]
    else:
        part[path[-1]] = value
    return json.dumps(document)


def test_the_change_of_nothing_is_accepted() -> None:
    assert Architecture.from_json(changed(("version",), 1)) == residual_network()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("format",), "onnx"),
        (("format",), ...),
        (("version",), "1"),
        (("version",), True),
        (("version",), 0),
        (("version",), ...),
        (("cells",), ...),
        (("cells",), 5),
        (("cells", 0, "family"), 7),
        (("cells", 0, "nodes"), ...),
        (("graph",), ...),
        (("graph",), []),
        (("graph", "nodes", 1), ["cell0"]),
        (("graph", "nodes", 1, 0), 3),
        (("graph", "nodes", 1, 1), "Conv"),
        (("graph", "nodes", 1, 1), {"cell": 99}),
        (("graph", "nodes", 1, 1), {"cell": -1}),
        (("graph", "nodes", 1, 1), {"cell": True}),
        (("graph", "nodes", 1, 1), {}),
        (("graph", "nodes", 1, 1), {"op": "Teleport"}),
        (("graph", "nodes", 1, 1), {"op": "Identity", "speed": 3}),
        (("graph", "nodes", 1, 1), {"op": "Conv", "out_channels": 4}),
        (("graph", "nodes", 1, 1), {"op": "Conv", "out_channels": "4", "kernel": [1, 1]}),
        (("graph", "nodes", 1, 1), {"op": "Conv", "out_channels": 4, "kernel": [1.5, 1]}),
        (("graph", "nodes", 1, 1), {"op": "Conv", "out_channels": 4, "kernel": 3}),
        (("graph", "nodes", 1, 1), {"op": "Conv", "out_channels": -4, "kernel": [3, 3]}),
        (("graph", "nodes", 1, 1), {"op": "Conv", "out_channels": 4, "kernel": [3, 3], "padding": [1, 1]}),
        (("graph", "nodes", 1, 1), {"op": "Conv", "out_channels": 4, "kernel": [3, 3], "padding": [[1], [1]]}),
        (("graph", "nodes", 1, 1), {"op": "BatchNorm", "affine": 1}),
        (("graph", "nodes", 1, 1), {"op": "BatchNorm", "epsilon": -1}),
        (("graph", "nodes", 1, 1), {"op": "BatchNorm", "epsilon": 1e30}),
        (("graph", "nodes", 1, 1), {"op": "Zero", "shape": 4}),
        (("graph", "nodes", 1, 1), {"op": "Zero", "shape": [[4]]}),
        (("graph", "nodes", 1, 1), {"op": "Zero", "shape": [4, 0, 8]}),
        (("graph", "nodes", 1, 1), {"op": "Zero", "shape": [4, -8, -8]}),
        (("graph", "nodes", 1, 1), {"op": "Dropout", "probability": 1.5}),
        (("graph", "nodes", 1, 2), [0.0]),
        (("graph", "nodes", 1, 2), [5]),
        (("graph", "nodes", 1, 2), None),
        (("graph", "outputs"), [["y", 99]]),
        (("graph", "outputs"), [["y"]]),
        (("graph", "outputs"), "y"),
        (("input_shapes",), []),
        (("input_shapes",), [[4, 8.0, 8]]),
        (("input_shapes",), [[4, 0, 8]]),
        (("input_shapes",), [4]),
        (("input_shapes",), ...),
    ],
)
def test_a_malformed_document_is_refused(path: Path, value: Any) -> None:
    with pytest.raises(UserError) as caught:
        Architecture.from_json(changed(path, value))
    assert "\n" not in str(caught.value)


CONV = {"op": "Conv", "out_channels": 4, "kernel": [3, 3]}


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (
            ("graph", "nodes", 1, 1),
            {"op": "Convv"},
            "graph, node 'cell0': unknown operation 'Convv'; did you mean 'Conv'?",
        ),
        (("graph", "nodes", 1, 1), {"op": ["Conv"]}, "graph, node 'cell0': the operation must have a name"),
        (("graph", "nodes", 1, 1), "Conv", "graph, node 'cell0': the operation must be an object, got 'Conv'; give"),
        (
            ("graph", "nodes", 1, 1),
            {**CONV, "speed": 3},
            "graph, node 'cell0': operation Conv has no field 'speed'; leave",
        ),
        (
            ("graph", "nodes", 1, 1),
            {"op": "Conv", "kernel": [1, 1]},
            "graph, node 'cell0': operation Conv needs 'out_channels'; add",
        ),
        (("graph", "nodes", 1, 1), {**CONV, "kernel": 3}, "graph, node 'cell0', Conv.kernel: must be a list, got 3;"),
        (
            ("graph", "nodes", 1, 1),
            {**CONV, "groups": True},
            "graph, node 'cell0', Conv.groups: must be a whole number of",
        ),
        (
            ("graph", "nodes", 1, 1),
            {**CONV, "groups": 10**30},
            "graph, node 'cell0', Conv.groups: must be a whole number of at most 64 bits, got 10",
        ),
        (
            ("graph", "nodes", 1, 1),
            {**CONV, "groups": 3},
            "graph, node 'cell0': Conv: out_channels 4 must be a positive multiple of groups 3",
        ),
        (
            ("graph", "nodes", 1, 1),
            {**CONV, "bias": "no"},
            "graph, node 'cell0', Conv.bias: must be true or false, got 'no'",
        ),
        (
            ("graph", "nodes", 1, 1),
            {**CONV, "padding": [[1, 1, 1], [1, 1]]},
            "Conv.padding: must hold lists of 2 numbers, got [1, 1, 1]",
        ),
        (
            ("graph", "nodes", 1, 1),
            {"cell": 7},
            "graph, node 'cell0': cell number 7 is not among the 3 before it; let cells",
        ),
        (("graph", "nodes", 1, 2), [2.0], "graph, node 'cell0', inputs: must be a whole number"),
        (
            ("graph", "nodes", 1, 2),
            [4],
            "graph: rule order: node 'cell0' (number 1) reads node number 4, which is not before it; let",
        ),
        (("graph", "nodes", 1, 0), "two words", "graph: rule names: node name 'two words' must be a Python identifier"),
        (("graph", "nodes", 1, 0), "n" * 999, "graph, name of node 1: must be 256 whole characters at most, got 'nnn"),
        (
            ("graph", "nodes", 1, 0),
            "\ud800",
            "graph, name of node 1: must be 256 whole characters at most, got '\\ud800'",
        ),
        (("graph", "nodes", 1), ["cell0"], "graph, node 1: must be [name, operation, inputs], got ['cell0']"),
        (
            ("graph", "outputs"),
            [["y", 99]],
            "graph: rule order: output 'y' is node number 99, which must be from 0 to",
        ),
        (("graph", "edges"), [], "graph: 'edges' means nothing here; leave it out"),
        (("comment",), "x" * 999, "the document: 'comment' means nothing here; leave it out"),
        (
            ("cells", 0, "nodes", 1, 1),
            {"cell": 0},
            "cell 0, node 'conv': cell number 0 is not among the 0 before it; let",
        ),
        (("cells", 0, "nodes", 2, 2), [0, 0], "cell 0: rule arity: node 'norm' (BatchNorm) has 2 inputs, needs 1"),
        (("cells", 0, "family"), [], "cell 0, family: must be a text, got []"),
        (("cells", 2), ..., "graph, node 'cell0': cell number 2 is not among the 2 before it"),
        (
            ("graph", "nodes", 3, 1, "epsilon"),
            "1",
            "graph, node 'norm', BatchNorm.epsilon: must be a finite number, got '1'",
        ),
        (
            ("graph", "nodes", 3, 1, "epsilon"),
            -0.5,
            "graph, node 'norm': BatchNorm: epsilon must be a finite number of at least 0, got -0.5",
        ),
        (
            ("input_shapes",),
            [[4, 1, 1]],
            "rule shapes: node 'pool': Pool: the kernel (2, 2) is larger than its padded input (1, 1); use",
        ),
        (("input_shapes",), [[4, 1, 0]], "rule shapes: input shape (4, 1, 0) must be of positive sizes"),
        (("input_shapes",), [4], "input_shapes: must be a list, got 4"),
        (("version",), 10**400, "version 1000"),
    ],
)
def test_the_error_says_where_and_what(path: Path, value: Any, says: str) -> None:
    with pytest.raises(UserError) as caught:
        Architecture.from_json(changed(path, value))
    assert says in str(caught.value)
    assert len(str(caught.value)) < 250
    assert "\n" not in str(caught.value)


def test_a_cell_that_stands_nowhere_is_refused() -> None:
    document = json.loads(residual_network().to_json())
    document["cells"].append(document["cells"][0])
    with pytest.raises(UserError, match="cell 3: stands nowhere; leave it out"):
        Architecture.from_json(json.dumps(document))


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_numbers_that_json_has_not_are_refused(number: str) -> None:
    text = changed(("graph", "nodes", 3, 1, "epsilon"), 7).replace('"epsilon": 7', f'"epsilon": {number}')
    with pytest.raises(UserError, match=f"{number} is no number of JSON"):
        Architecture.from_json(text)
    with pytest.raises(UserError, match="finite number, got inf"):
        Architecture.from_json(text.replace(number, "1e999"))
    with pytest.raises(UserError, match="a number is too long"):
        Architecture.from_json(text.replace(number, "1" * 5_000))


def test_a_name_that_stands_twice_is_refused() -> None:
    text = residual_network().to_json().replace('"version":1', '"version":1,"version":1')
    with pytest.raises(UserError, match="'version' stands twice"):
        Architecture.from_json(text)


def test_equal_numbers_are_written_alike() -> None:
    text = changed(("graph", "nodes", 5, 1, "probability"), 7)
    read = [Architecture.from_json(text.replace(": 7", f": {number}")) for number in ("0", "0.0", "-0.0", "0e9")]
    assert len({each.to_json() for each in read}) == 1
    builder = GraphBuilder()
    whole = Architecture(builder.graph(builder.add("dropout", Dropout(0), builder.input())), ((4,),))
    assert '"probability":0.0' in whole.to_json()


@pytest.mark.parametrize("text", ["", "null", "[]", "{", '"nas.architecture"', "[" * 100_000])
def test_what_is_no_document_at_all_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="not an architecture"):
        Architecture.from_json(text)


def test_a_newer_version_is_refused_as_such() -> None:
    with pytest.raises(NewerFormat, match=r"version 2.*upgrade"):
        Architecture.from_json(changed(("version",), 2))
