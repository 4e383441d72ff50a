"""Files that somebody has made to do harm are refused in one line: nothing in them runs, and nothing else is touched."""

import io
import json
import os
import sqlite3
import time
import zipfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pyarrow
import pyarrow.parquet
import pytest
import torch

import nas
from nas.weights import WeightsStore
from search_spaces import zoo
from tests.nas.command_line import Run
from tests.nas.test_checkpoints import EPOCHS, SETTINGS, Trained
from tests.security.hostile import Canary, check_refused, state

SECONDS = 20.0
"""More than refusing a file may take on a busy machine."""


@pytest.fixture(autouse=True)
def nothing_runs(canary: Canary) -> Any:
    began = time.monotonic()
    yield
    assert canary.is_silent
    assert time.monotonic() - began < 3 * SECONDS


def safetensors(header: object, content: bytes = b"", *, length: int | None = None) -> bytes:
    text = json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + content


def zipped(canary: Canary) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", canary.pickle())
        archive.writestr("../../escaped", "escaped")
    return file.getvalue()


def npz(canary: Canary) -> bytes:
    file = io.BytesIO()
    np.savez(file, bomb=np.array([canary], dtype=object), allow_pickle=True)
    return file.getvalue()


def torch_saved(canary: Canary) -> bytes:
    file = io.BytesIO()
    torch.save({"weight": torch.zeros(2)}, file)
    return file.getvalue()


WEIGHTS: dict[str, Callable[[Canary], bytes]] = {
    "a pickle": lambda canary: canary.pickle(),
    "a zip with a pickle": zipped,
    "an npz with a pickle": npz,
    "what torch.save wrote": torch_saved,
    "nothing": lambda canary: b"",
    "a header of 2**62 bytes": lambda canary: safetensors({}, length=2**62),
    "a header of 2**64 - 1 bytes": lambda canary: safetensors({}, length=2**64 - 1),
    "nested without end": lambda canary: (100_000).to_bytes(8, "little") + b"[" * 100_000,
    "more elements than there are": lambda canary: safetensors(
        {"x": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}
    ),
    "a size that overflows": lambda canary: safetensors(
        {"x": {"dtype": "F32", "shape": [2**62, 4], "data_offsets": [0, 0]}}
    ),
    "offsets that overlap": lambda canary: safetensors(
        {name: {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]} for name in "ab"}, bytes(4)
    ),
    "an unknown number type": lambda canary: safetensors(
        {"x": {"dtype": "PICKLE", "shape": [4], "data_offsets": [0, 4]}}, bytes(4)
    ),
    "a number type that torch lacks": lambda canary: safetensors(
        {"x": {"dtype": "F6_E2M3", "shape": [4], "data_offsets": [0, 3]}}, bytes(3)
    ),
    "other names, one a path": lambda canary: safetensors(
        {"../../x": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}}, bytes(4)
    ),
    "a name that steers terminals": lambda canary: safetensors(
        {"\x1b[2J\u202e": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}}, bytes(4)
    ),
}


@pytest.mark.parametrize("content", WEIGHTS.values(), ids=WEIGHTS)
def test_weights_that_are_none(trained: Path, run: Run, canary: Canary, content: Callable[[Canary], bytes]) -> None:
    """Their hash is right: a database and its weights may both come from the same hand."""
    digest = WeightsStore(trained / "nas.db.weights").keep(content(canary))
    with sqlite3.connect(trained / "nas.db") as connection:
        connection.execute("UPDATE trials SET weights_sha256 = ?", (digest,))
    connection.close()
    before = state(trained)
    check_refused(run("export", "s:best", "--to", "python,json", "--out", "model"), 2, "the weights ")
    assert state(trained) == before


def test_weights_that_are_a_link_to_a_file_of_others(trained: Path, run: Run, others: Path) -> None:
    for path in (trained / "nas.db.weights").glob("*.safetensors"):
        path.unlink()
        path.symlink_to(others / "precious.txt")
    before = state(trained)
    check_refused(run("export", "s:best", "--out", "model"), 2, "their SHA-256 is not their name")
    assert state(trained) == before


@pytest.mark.parametrize("kind", ["pickle", "path", "header", "link"])
def test_checkpoints_that_somebody_has_made(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, canary: Canary, others: Path, kind: str
) -> None:
    training = Trained(monkeypatch)
    training.interrupt_at = EPOCHS
    with pytest.raises(KeyboardInterrupt):
        nas.search(**SETTINGS, db="nas.db", name="s")
    place = tmp_path / "nas.db.checkpoints"
    (document,) = place.glob("*.json")
    (tensors,) = place.glob("*.safetensors")
    said: dict[str, Any] = json.loads(document.read_text())
    match kind:
        case "pickle":
            content = canary.pickle()
        case "header":
            content = safetensors({}, length=2**62)
        case _:
            content = canary.pickle()
            target = others / ("x.safetensors" if kind == "path" else "linked.safetensors")
            target.write_bytes(content)
            if kind == "path":
                said["tensors"] = os.path.relpath(target, place)
            else:
                tensors.unlink()
                tensors.symlink_to(target)
    if not tensors.is_symlink():
        tensors.write_bytes(content)
    said["sha256"] = sha256(content).hexdigest()
    document.write_text(json.dumps(said))
    before = state(others)
    training.interrupt_at = None
    ran = run("resume", "s", "--json")
    assert ran.code == 0, ran.err
    reasons = [trial["reason"] for trial in ran.document["trials"] if trial["reason"]]
    assert len(reasons) == 1 and "begun anew, the checkpoint is of no use" in reasons[0]
    assert state(others) == before


def architecture(**changes: Any) -> dict[str, Any]:
    return {**json.loads(zoo.load("lenet5").to_json()), **changes}


def doubling(levels: int, times: int) -> dict[str, Any]:
    """Cells of `times` cells each, so many levels deep."""
    ends = [["x", {"op": "Input"}, []]]
    cells: list[dict[str, Any]] = [
        {"family": "x", "nodes": [*ends, ["y", {"op": "Activation", "kind": "relu"}, [0]]], "outputs": [["out", 1]]}
    ]
    for level in range(levels):
        nodes = [*ends, *([f"c{number}", {"cell": level}, [number]] for number in range(times))]
        cells.append({"family": "x", "nodes": nodes, "outputs": [["out", times]]})
    graph = {"nodes": [*ends, ["c", {"cell": levels}, [0]]], "outputs": [["out", 1]]}
    return architecture(input_shapes=[[1, 8, 8]], cells=cells, graph=graph)


def named(name: str) -> dict[str, Any]:
    nodes = [["x", {"op": "Input"}, []], [name, {"op": "Activation", "kind": "relu"}, [0]]]
    return architecture(input_shapes=[[1, 8, 8]], cells=[], graph={"nodes": nodes, "outputs": [["out", 1]]})


ARCHITECTURES: dict[str, tuple[Callable[[Canary], str], str]] = {
    "four billion cells": (lambda canary: json.dumps(doubling(32, 2)), "rule extent"),
    "a thousand to the 30th": (lambda canary: json.dumps(doubling(30, 1000)), "rule extent"),
    "brackets without end": (lambda canary: "[" * 1_000_000, "nested too deep"),
    "objects without end": (lambda canary: '{"format":' * 1_000_000, "nested too deep"),
    "a number without end": (lambda canary: '{"format": ' + "1" * 1_000_000 + "}", "a number is too long"),
    "a name that steers terminals": (lambda canary: json.dumps(named("\x1b]0;owned\x07")), "Python identifier"),
    "a name that turns text around": (lambda canary: json.dumps(named("\u202etxt.exe")), "Python identifier"),
    "a name that is code": (lambda canary: json.dumps(named(f"x = {canary.source}")), "Python identifier"),
    "a name with lines": (lambda canary: json.dumps(named(f"x\n{canary.source}\n")), "Python identifier"),
    "an operation that steers terminals": (
        lambda canary: json.dumps(architecture(graph={"nodes": [["x", {"op": "\x1b[2J"}, []]], "outputs": []})),
        "unknown operation",
    ),
    "an operation that is code": (
        lambda canary: json.dumps(architecture(graph={"nodes": [["x", {"op": "os:system"}, []]], "outputs": []})),
        "unknown operation 'os:system'",
    ),
    "a pickle": (lambda canary: canary.pickle().decode("latin-1"), "not JSON"),
}


@pytest.mark.parametrize(("content", "says"), ARCHITECTURES.values(), ids=ARCHITECTURES)
def test_architectures(run: Run, tmp_path: Path, canary: Canary, content: Callable[[Canary], str], says: str) -> None:
    (tmp_path / "network.json").write_text(content(canary))
    before = state(tmp_path)
    for more in ([], ["--json"], ["--draw", "network.svg"], ["--convolutionalize"]):
        check_refused(run("analyze", "network.json", *more), 2, says)
    assert state(tmp_path) == before


def with_pickled_extension(canary: Canary) -> bytes:
    """A Parquet file whose column has the extension type that pyarrow once unpickled (CVE-2023-47248)."""
    metadata = {"ARROW:extension:name": "arrow.py_extension_type", "ARROW:extension:metadata": canary.pickle()}
    field = pyarrow.field("val_accuracy", pyarrow.float64(), metadata=metadata)
    file = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table([[0.5]], schema=pyarrow.schema([field])), file)
    return file.getvalue()


def with_index_in_metadata(canary: Canary) -> bytes:
    """A Parquet file whose metadata for pandas are no object of pandas at all."""
    table = pyarrow.table({"key": ["x"]}).replace_schema_metadata({"pandas": '{"columns": 3, "index_columns": [[[]]]}'})
    file = io.BytesIO()
    pyarrow.parquet.write_table(table, file)
    return file.getvalue()


def pickled_objects(canary: Canary) -> bytes:
    file = io.BytesIO()
    pandas.DataFrame({"key": [canary.pickle()], "val_accuracy": [canary.pickle()]}).to_parquet(file)
    return file.getvalue()


TABLES: dict[str, tuple[str, Callable[[Canary], bytes]]] = {
    "a pickle as Parquet": (".parquet", lambda canary: canary.pickle()),
    "a pickle as CSV": (".csv", lambda canary: canary.pickle()),
    "a zip as CSV": (".csv", zipped),
    "a pickle by its name": (".pkl", lambda canary: canary.pickle()),
    "nothing as Parquet": (".parquet", lambda canary: b""),
    "nothing as CSV": (".csv", lambda canary: b""),
    "half a Parquet": (".parquet", lambda canary: pickled_objects(canary)[:-40] + b"PAR1"),
    "a footer of 4 GB": (".parquet", lambda canary: b"PAR1" + b"\xff\xff\xff\xff" + b"PAR1"),
    "a footer of noise": (".parquet", lambda canary: b"PAR1" + b"\x15" * 400 + (400).to_bytes(4, "little") + b"PAR1"),
    "an extension type that is a pickle": (".parquet", with_pickled_extension),
    "metadata that make no sense": (".parquet", with_index_in_metadata),
    "columns of pickles": (".parquet", pickled_objects),
    "names that steer terminals": (".csv", lambda canary: "\x1b[2J,\u202ex\n1,2\n".encode()),
}


@pytest.mark.parametrize(("suffix", "content"), TABLES.values(), ids=TABLES)
def test_tables(run: Run, tmp_path: Path, canary: Canary, suffix: str, content: Callable[[Canary], bytes]) -> None:
    (tmp_path / f"table{suffix}").write_bytes(content(canary))
    before = state(tmp_path)
    given = ["--space", "digits201", "--evaluator", "tabular", "--table", f"table{suffix}", "--signal", "val_accuracy"]
    check_refused(run("search", *given, "--executor", "serial"), 2, f"table{suffix}")
    assert state(tmp_path) == before


RUN_FILES: dict[str, tuple[str, str]] = {
    "a path as a space": ('space = "./evil.py:Space"', "write module:attribute"),
    "a call as a controller": ("controller = \"os:system('true')\"", "write module:attribute"),
    "code that is no space": ('space = "os:system"', "space"),
    "code that is no controller": ('controller = "os:system"', "is not a subclass"),
    "brackets without end": (f"space = {'[' * 100_000}", "TOML"),
    "tables without end": (f"{'a.' * 2_000}b = 1", "unknown key"),
    "an unknown key that steers terminals": ('"\\u001b[2J" = 1', "unknown key"),
    "a name that steers terminals": ('name = "\\u001b[2J"', "printable"),
    "a database that steers terminals": ('db = "\\u001b[2J"', "printable"),
}


@pytest.mark.parametrize(("text", "says"), RUN_FILES.values(), ids=RUN_FILES)
def test_run_files(run: Run, tmp_path: Path, canary: Canary, text: str, says: str) -> None:
    """A run file is trusted to name code, but has no other way to bring it along."""
    (tmp_path / "run.toml").write_text(f"{text}\n")
    (tmp_path / "evil.py").write_text(canary.source)
    before = state(tmp_path)
    check_refused(run("search", "run.toml", "--executor", "serial"), 2, says)
    assert state(tmp_path) == before


@pytest.mark.parametrize("kind", ["link", "dangling link", "link to a file", "links in it"])
def test_exports_never_go_through_links(trained: Path, run: Run, others: Path, kind: str) -> None:
    out = trained / "model"
    match kind:
        case "link":
            empty = others / "empty"
            empty.mkdir()
            out.symlink_to(empty)
        case "dangling link":
            out.symlink_to(others / "not yet")
        case "link to a file":
            out.symlink_to(others / "precious.txt")
        case _:
            out.mkdir()
            for name in ("model.py", "weights.safetensors", "architecture.json"):
                (out / name).symlink_to(others / "precious.txt")
    before, theirs = state(trained), state(others)
    check_refused(run("export", "s:best", "--to", "python,json", "--out", "model"), 4, "model")
    assert (state(trained), state(others)) == (before, theirs)
