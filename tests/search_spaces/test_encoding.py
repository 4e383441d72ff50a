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


@pytest.mark.parametrize("text", ["", "null", "[]", "{", '"nas.architecture"', "[" * 100_000])
def test_what_is_no_document_at_all_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="not an architecture"):
        Architecture.from_json(text)


def test_a_newer_version_is_refused_as_such() -> None:
    with pytest.raises(NewerFormat, match=r"version 2.*upgrade"):
        Architecture.from_json(changed(("version",), 2))
