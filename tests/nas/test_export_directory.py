"""An exported directory appears whole and verified, or not at all."""

import os
import stat
import tempfile
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save

from nas.export import registry
from nas.export.directory import export
from nas.export.exporter import Exporter, Model, NotVerified
from nas.export.formats import JsonExporter, PythonExporter
from search_spaces import Architecture, plugins, to_module
from search_spaces.builder import GraphBuilder
from search_spaces.errors import Conflict, UserError
from search_spaces.ops import Linear
from tests.permissions import unprivileged


def small(features: int = 2) -> Architecture:
    builder = GraphBuilder()
    return Architecture(builder.graph(builder.chain(builder.input(), ("linear", Linear(features)))), ((3,),))


def everything_in(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))


class Failing:
    """An exporter that writes half of its files and then fails."""

    def __init__(self, error: BaseException, *, when: str) -> None:
        self.error = error
        self.when = when

    def write(self, model: Model, directory: Path) -> tuple[str, ...]:
        (directory / "half").write_text("half")
        if self.when == "write":
            raise self.error
        return ("half",)

    def verify(self, model: Model, directory: Path) -> None:
        raise self.error


def offer(monkeypatch: pytest.MonkeyPatch, name: str, exporter: Exporter) -> None:
    found = registry.load
    monkeypatch.setattr(registry, "load", lambda wanted: exporter if wanted == name else found(wanted))


def test_both_formats_and_the_weights(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = to_module(small())
    weights = save(module.state_dict())
    images = np.ones((4, 3), dtype=np.float32)
    out = tmp_path / "runs" / "best"
    paths = export(small(), out=out, weights=weights, title="Best", notes=("params: 8",), inputs=(images,))
    assert [path.relative_to(out) for path in paths] == list(
        map(Path, ("weights.safetensors", "model.py", "architecture.json"))
    )
    assert everything_in(tmp_path) == [
        "runs",
        "runs/best",
        *sorted(f"runs/best/{path.name}" for path in paths),
    ]
    assert Architecture.from_json((out / "architecture.json").read_text()) == small()
    assert (out / "weights.safetensors").read_bytes() == weights
    assert (out / "model.py").read_text().startswith('"""Best\n\nparams: 8\n"""\n')
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(out.stat().st_mode) == 0o777 & ~umask


def test_an_empty_directory_is_used(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert export(small(), to=("json", "json"), out=tmp_path / "out") == [tmp_path / "out" / "architecture.json"]
    assert everything_in(tmp_path) == ["out", "out/architecture.json"]


def test_what_is_there_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full, file, link = tmp_path / "full", tmp_path / "file", tmp_path / "link"
    full.mkdir()
    (full / "kept").write_text("kept")
    file.write_text("kept")
    link.symlink_to(tmp_path / "nowhere")
    before = everything_in(tmp_path)
    for out, remedy in ((full, "not empty; choose another or remove"), (file, "not a directory"), (link, "remove")):
        with pytest.raises(Conflict, match=remedy):
            export(small(), to=("json",), out=out)
    empty = tmp_path / "full" / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    with pytest.raises(Conflict, match="working directory"):
        export(small(), to=("json",), out=Path())
    empty.rmdir()
    assert everything_in(tmp_path) == before


def test_a_directory_that_fills_meanwhile_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(JsonExporter):
        def verify(self, model: Model, directory: Path) -> None:
            (tmp_path / "out").mkdir()
            (tmp_path / "out" / "theirs").write_text("theirs")

    offer(monkeypatch, "slow", Slow())
    with pytest.raises(Conflict, match="not empty"):
        export(small(), to=("slow",), out=tmp_path / "out")
    assert everything_in(tmp_path) == ["out", "out/theirs"]


@pytest.mark.parametrize("when", ["write", "verify"])
@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (NotVerified("off by 1"), NotVerified),
        (OSError(28, "No space left on device"), UserError),
        (RuntimeError("a bug"), RuntimeError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
def test_a_failure_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, raised: type[BaseException], when: str
) -> None:
    offer(monkeypatch, "failing", Failing(error, when=when))
    with pytest.raises(raised):
        export(small(), to=("json", "failing"), out=tmp_path / "new" / "out")
    assert everything_in(tmp_path) == []


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write .*: Not a directory; choose another directory") as caught:
        export(small(), to=("json",), out=tmp_path / "file" / "out")
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="File name too long"):
        export(small(), to=("json",), out=tmp_path / ("long" * 100))
    assert everything_in(tmp_path) == ["file"]


def test_a_read_only_directory_is_one_line() -> None:
    # Not pytest's directory, which is closed to others anyway.
    directory = Path(tempfile.mkdtemp())
    directory.chmod(0o555)
    with unprivileged(), pytest.raises(UserError, match="Permission denied"):
        export(small(), to=("json",), out=directory / "out")
    assert everything_in(directory) == []
    directory.rmdir()


def test_formats_are_known_by_name(tmp_path: Path) -> None:
    assert registry.names() == ("json", "python")
    assert isinstance(registry.load("python"), PythonExporter)
    with pytest.raises(UserError, match="unknown export format 'pyhton'; did you mean 'python'"):
        export(small(), to=("json", "pyhton"), out=tmp_path / "out")
    with pytest.raises(UserError, match="choose from: json, python"):
        export(small(), to=(), out=tmp_path / "out")
    assert everything_in(tmp_path) == []


def test_other_packages_offer_formats_but_take_no_name_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    offered = [
        EntryPoint("json", "nowhere:Taken", "nas.exporters"),
        EntryPoint("again", "nas.export.formats:JsonExporter", "nas.exporters"),
        EntryPoint("broken", "nowhere:Broken", "nas.exporters"),
        EntryPoint("unfit", "nas.export.formats:render", "nas.exporters"),
    ]
    monkeypatch.setattr(plugins, "entry_points", lambda *, group: [point for point in offered if point.group == group])
    assert registry.names() == ("again", "broken", "json", "python", "unfit")
    assert isinstance(registry.load("json"), JsonExporter)
    assert isinstance(registry.load("again"), JsonExporter)
    with pytest.raises(UserError, match=r"'broken' \(nowhere:Broken\) cannot be imported"):
        registry.load("broken")
    with pytest.raises(
        UserError, match=r"'unfit' \(nas.export.formats:render\) is not a class with .* write and verify"
    ):
        registry.load("unfit")


def test_weights_that_do_not_fit_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    for weights, reason in ((b"", "not a safetensors file"), (save(to_module(small(5)).state_dict()), "do not fit")):
        with pytest.raises(UserError, match=reason):
            export(small(), to=("json",), out=tmp_path / "out", weights=weights)
    assert everything_in(tmp_path) == []
