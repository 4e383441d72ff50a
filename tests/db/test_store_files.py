"""What may lie at the path of a database, and what becomes of it."""

import errno
import hashlib
import os
import resource
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from db_examples import architecture, search, trial

from db import Store, sqlite
from db.database import Mode
from search_spaces.errors import Conflict, NewerFormat, NotFound, UserError
from tests.permissions import unprivileged

MODES = ("create", "write", "read")


def contents(directory: Path) -> dict[str, tuple[str, int]]:
    """Every file with its digest and time of change."""
    return {
        path.name: (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in directory.iterdir()
    }


@pytest.fixture
def made(tmp_path: Path) -> Path:
    path = tmp_path / "nas.db"
    with Store.open(str(path), mode="create") as store:
        store.create_search(search())
    return path


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory with a database that anybody may write (pytest's own directories are closed to others)."""
    directory = Path(tempfile.mkdtemp())
    directory.chmod(0o777)
    path = directory / "nas.db"
    with Store.open(str(path), mode="create") as store:
        store.create_search(search())
    path.chmod(0o666)
    yield path
    directory.chmod(0o777)
    shutil.rmtree(directory)


class TestUrl:
    def test_accepted(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        for url in (f"sqlite:///{tmp_path}/a?#%20 b.db", "sqlite:///c.db", "d.db", "file:e.db"):
            Store.open(url, mode="create").close()
        assert sorted(contents(tmp_path)) == ["a?#%20 b.db", "c.db", "d.db", "file:e.db"]

    @pytest.mark.parametrize(
        "url",
        [
            "mysql://me:secret@host/nas",
            "sqlite://nas.db",
            "sqlite://",
            "sqlite:///",
            "sqlite:///:memory:",
            ":memory:",
            "",
            "a\0b",
        ],
    )
    def test_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
        monkeypatch.chdir(tmp_path)
        with pytest.raises(UserError, match=r"sqlite:///nas\.db") as caught:
            Store.open(url, mode="create")
        assert "secret" not in str(caught.value)
        assert contents(tmp_path) == {}


class TestAbsent:
    @pytest.mark.parametrize("mode", ["write", "read"])
    def test_only_create_makes_a_file(self, tmp_path: Path, mode: Mode) -> None:
        with pytest.raises(NotFound, match=r"nas\.db.*--db"):
            Store.open(str(tmp_path / "nas.db"), mode=mode)
        assert contents(tmp_path) == {}

    @pytest.mark.parametrize("mode", MODES)
    def test_directory(self, tmp_path: Path, mode: Mode) -> None:
        with pytest.raises(UserError, match="is a directory"):
            Store.open(str(tmp_path), mode=mode)

    def test_missing_directory(self, tmp_path: Path) -> None:
        with pytest.raises(NotFound, match=f"no directory {tmp_path}/there"):
            Store.open(str(tmp_path / "there" / "nas.db"), mode="create")

    def test_name_too_long(self, tmp_path: Path) -> None:
        with pytest.raises(Conflict, match=os.strerror(errno.ENAMETOOLONG)):
            Store.open(str(tmp_path / ("x" * 300)), mode="create")

    def test_pipe(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(UserError, match="regular file"):
            Store.open(str(tmp_path / "pipe"), mode="create")

    def test_directory_that_may_not_be_written(self, public: Path) -> None:
        public.parent.chmod(0o555)
        with unprivileged(), pytest.raises(Conflict, match="Permission denied"):
            Store.open(str(public.parent / "new.db"), mode="create")

    def test_nothing_is_left_of_a_file_that_could_not_be_made(self, tmp_path: Path) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
        try:
            with pytest.raises(Conflict, match="space"):
                Store.open(str(tmp_path / "nas.db"), mode="create")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert contents(tmp_path) == {}

    def test_empty_file_is_filled(self, tmp_path: Path) -> None:
        path = tmp_path / "nas.db"
        path.touch()
        with pytest.raises(NotFound, match="is empty; the first search makes its tables"):
            Store.open(str(path), mode="write")
        assert path.stat().st_size == 0
        with Store.open(str(path), mode="create") as store:
            assert store.searches() == []


class TestForeign:
    @pytest.mark.parametrize("mode", MODES)
    @pytest.mark.parametrize("data", [b"hello", b"x" * 5000, b"SQLite format 3\0" + b"\1" * 5000])
    def test_no_database(self, tmp_path: Path, mode: Mode, data: bytes) -> None:
        path = tmp_path / "notes.txt"
        path.write_bytes(data)
        before = contents(tmp_path)
        with pytest.raises(Conflict, match=r"notes\.txt is not a database.*--db"):
            Store.open(str(path), mode=mode)
        assert contents(tmp_path) == before

    @pytest.mark.parametrize("mode", MODES)
    @pytest.mark.parametrize("journal", ["delete", "wal"])
    def test_database_of_another_program(self, tmp_path: Path, mode: Mode, journal: str) -> None:
        path = tmp_path / "other.db"
        with closing(sqlite3.connect(path)) as connection:
            connection.execute(f"PRAGMA journal_mode = {journal}")
            connection.execute("CREATE TABLE trials (x)")
            connection.commit()
        before = contents(tmp_path)
        with pytest.raises(Conflict, match=r"other\.db was not made by nas.*--db"):
            Store.open(str(path), mode=mode)
        assert contents(tmp_path) == before

    @pytest.mark.parametrize("mode", MODES)
    def test_newer_schema(self, made: Path, mode: Mode) -> None:
        with closing(sqlite3.connect(made)) as connection:
            connection.execute("UPDATE nas_schema_version SET version_num = '9999'")
            connection.commit()
        before = contents(made.parent)
        with pytest.raises(NewerFormat, match=r"9999.*0002.*upgrade"):
            Store.open(str(made), mode=mode)
        assert contents(made.parent) == before


class TestReading:
    def test_changes_nothing_and_leaves_nothing(self, made: Path) -> None:
        before = contents(made.parent)
        with Store.open(str(made), mode="read") as store:
            assert store.search("digits") == search()
        assert contents(made.parent) == before

    def test_store_opened_to_read_cannot_write(self, made: Path) -> None:
        with Store.open(str(made), mode="read") as store, pytest.raises(AssertionError, match="reading"):
            store.create_search(search("other"))

    @pytest.mark.parametrize(("file_mode", "directory_mode"), [(0o444, 0o555), (0o444, 0o777), (0o666, 0o555)])
    def test_what_may_not_be_written_can_be_read(self, public: Path, file_mode: int, directory_mode: int) -> None:
        before = contents(public.parent)
        public.chmod(file_mode)
        public.parent.chmod(directory_mode)
        with unprivileged(), Store.open(str(public), mode="read") as store:
            assert store.search("digits") == search()
        assert contents(public.parent) == before

    def test_what_may_not_be_written_can_be_read_while_another_writes(self, public: Path) -> None:
        with Store.open(str(public), mode="write") as writer:
            writer.create_search(search("second"))
            public.chmod(0o444)
            with unprivileged(), Store.open(str(public), mode="read") as store:
                assert len(store.searches()) == 2
            writer.create_search(search("third"))


class TestWriting:
    @pytest.mark.parametrize("mode", ["create", "write"])
    @pytest.mark.parametrize(("file_mode", "directory_mode"), [(0o444, 0o777), (0o444, 0o555), (0o666, 0o555)])
    def test_what_may_not_be_written(self, public: Path, mode: Mode, file_mode: int, directory_mode: int) -> None:
        before = contents(public.parent)
        public.chmod(file_mode)
        public.parent.chmod(directory_mode)
        with unprivileged(), pytest.raises(Conflict, match=r"may not be written.*--db"):
            Store.open(str(public), mode=mode)
        assert {name: digest for name, digest in contents(public.parent).items() if name in before} == before

    def test_locked_for_too_long(self, made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.05)
        with closing(sqlite3.connect(made, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            with pytest.raises(Conflict, match=r"locked by another process for 0\.05 s"):
                Store.open(str(made), mode="write")
            with Store.open(str(made), mode="read") as store:
                assert store.search("digits") == search()

    def test_disk_that_fills_up_keeps_what_was_there(self, made: Path) -> None:
        big = search("big", run="x" * 1_000_000)
        with Store.open(str(made), mode="write") as store:
            soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
            try:
                with pytest.raises(Conflict, match="space"):
                    store.create_search(big)
                assert store.search("digits") == search()
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            store.create_search(big)
            assert store.search("big") == big

    def test_sqlite_pragmas(self, made: Path) -> None:
        with Store.open(str(made), mode="write") as store, store._database.reading() as connection:
            pragmas = {
                name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
                for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
            }
        assert pragmas == {"journal_mode": "wal", "synchronous": 1, "foreign_keys": 1, "busy_timeout": 30_000}

    def test_file_is_made_with_the_usual_permissions(self, made: Path, tmp_path: Path) -> None:
        (tmp_path / "plain").touch()
        assert stat.S_IMODE(made.stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


class TestDamaged:
    def test_pages_that_were_overwritten(self, made: Path) -> None:
        size = made.stat().st_size
        with made.open("r+b") as file:
            file.seek(4096)
            file.write(b"\xa5" * (size - 4096))
        with (
            pytest.raises(Conflict, match=r"nas\.db.*(damaged|cannot be used)") as caught,
            Store.open(str(made), mode="read") as store,
        ):
            store.searches()
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("change", ["state = 'asleep'", "metrics = '{'", "genotype = '[]'", "metrics = x'ff'"])
    def test_values_that_make_no_sense(self, made: Path, change: str) -> None:
        with Store.open(str(made), mode="write") as store:
            store.record_proposals("digits", [trial()], [architecture()])
        with closing(sqlite3.connect(made)) as connection:
            connection.execute("PRAGMA ignore_check_constraints = ON")
            connection.execute(f"UPDATE trials SET {change}")
            connection.commit()
        with Store.open(str(made), mode="read") as store, pytest.raises(UserError) as caught:
            store.trials("digits")
        assert "\n" not in str(caught.value)

    def test_table_that_is_gone(self, made: Path) -> None:
        with closing(sqlite3.connect(made)) as connection:
            connection.execute("DROP TABLE measurements")
            connection.execute("DROP TABLE trials")
        with Store.open(str(made), mode="read") as store, pytest.raises(Conflict, match=r"no such table: trials.*copy"):
            store.trials("digits")
