"""Places for checkpoints: local, by URL, in memory; what cannot be written says so in one line."""

import resource
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from search_spaces.errors import Conflict
from tests.permissions import unprivileged
from workers.checkpoint_place import CheckpointError, CheckpointPlace


@pytest.fixture(params=["path", "file", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "memory":
        return f"memory://{secrets.token_hex(8)}/a place"
    prefix = "" if request.param == "path" else "file://"
    return f"{prefix}{tmp_path}/deep/a [place]"


def test_files_are_written_replaced_listed_read_and_removed(url: str) -> None:
    place = CheckpointPlace(url)
    assert place.names("a") == []
    place.write("a.json", b"1")
    place.write("a.json", b"22")
    place.write("a.x.safetensors", b"3")
    place.write("ab.json", b"4")
    again = CheckpointPlace(place.url)
    assert sorted(again.names("a")) == ["a.json", "a.x.safetensors"]
    assert again.read("a.json", limit=2) == b"22"
    with pytest.raises(CheckpointError, match="more than the 1 bytes"):
        again.read("a.json", limit=1)
    again.remove("a.json")
    again.remove("a.json")
    assert place.names("a") == ["a.x.safetensors"]
    with pytest.raises(CheckpointError, match=r"a\.json cannot be read"):
        place.read("a.json", limit=9)


def test_trying_a_place_leaves_nothing_behind(tmp_path: Path) -> None:
    place = CheckpointPlace.checked(str(tmp_path / "deep/new"))
    assert place.url == str(tmp_path / "deep/new")
    (tmp_path / "old").mkdir()
    CheckpointPlace.checked(str(tmp_path / "old"))
    assert [(path.name, list(path.iterdir())) for path in tmp_path.iterdir()] == [("old", [])]


def test_a_relative_place_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert CheckpointPlace("a/b::c").url == str(tmp_path / "a/b::c")
    assert CheckpointPlace("file://a/b").url == str(tmp_path / "a/b")


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Within it this process can write no file beyond `size` bytes: the kernel refuses, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_write_that_fails_half_way_leaves_the_old_file_and_no_piece_of_the_new_one(tmp_path: Path) -> None:
    place = CheckpointPlace(str(tmp_path))
    place.write("a.json", b"old")
    with largest_file(100_000), pytest.raises(CheckpointError, match=f"'{tmp_path}' cannot be written: File too large"):
        place.write("a.json", bytes(300_000))
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    assert place.read("a.json", limit=9) == b"old"


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place, reason in (
        (f"{tmp_path}/file", "Not a directory"),
        (f"{tmp_path}/file/below", "Not a directory"),
        ("/proc/nowhere", "No such file or directory"),
        ("nosuch://x", "Protocol not known: nosuch"),
        ("simplecache::file:///x", "chain of file systems"),
    ):
        with pytest.raises(Conflict, match=reason) as refused:
            CheckpointPlace.checked(place)
        assert str(refused.value).startswith("no checkpoints can be kept: ")
        assert "\n" not in str(refused.value)
    with largest_file(1000), pytest.raises(Conflict, match="File too large"):
        CheckpointPlace.checked(str(tmp_path / "full"))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_directory_without_permission_is_refused() -> None:
    with tempfile.TemporaryDirectory() as directory:
        closed = Path(directory)
        closed.chmod(0o555)
        with unprivileged(), pytest.raises(Conflict, match="cannot be written: Permission denied"):
            CheckpointPlace.checked(directory)
        closed.chmod(0o755)
