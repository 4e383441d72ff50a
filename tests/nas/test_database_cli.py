"""`nas` on a PostgreSQL database, and `nas db`: what they print, where weights go, and that no password is shown."""

import json
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

import search_spaces
from db.store import Store
from db.trial import ArchitectureRecord, Search
from nas.config import RunConfig, make_config
from search_spaces.errors import UserError
from tests.db.postgresql_server import PASSWORD, Server, free_port
from tests.nas.command_line import Run

SEARCH = ("search", "--executor", "serial", "--trials", "2", "--epochs", "1", "--controller", "random", "--name", "s")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    started = Server()
    yield started
    started.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """An SQLite database with one architecture that can be read."""
    path = tmp_path / "nas.db"
    found = search_spaces.load("nasbench201", cells_per_stage=1).sample(rng=random.Random(0)).simplified()
    with Store.open(str(path), mode="create") as store:
        store.create_search(Search("s", RunConfig().to_json(), "nasbench201", "random", "digits", seed=0, budget=1))
        store.record_proposals("s", [], [ArchitectureRecord(found.key, "nasbench201", found.to_json(), {})])
    return path


def test_search_on_postgresql_from_its_start_to_its_export(
    run: Run, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    db = ("--db", server.url("postgres"))
    printed = [run(*SEARCH, *db)]
    assert printed[0].code == 0
    assert [path.suffix for path in (tmp_path / "nas-weights").iterdir()] == [".safetensors"]
    # Weights are found from wherever one looks.
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    printed += [
        run("list", *db),
        run("results", "s", *db, "--json"),
        run("resume", "s", *db),
        run("db", "check", *db, "--json"),
        run("search", *db, "--dry-run"),
        run("search", *db, "--dry-run", "--json"),
    ]
    assert [ran.code for ran in printed] == [0] * 7
    best = max(printed[2].document["trials"], key=lambda trial: trial["val_accuracy"])
    printed.append(run("show", best["key"], *db))
    exported = run("export", "s:best", *db, "--out", "model", "--json")
    assert exported.document["has_weights"]
    assert exported.document["val_accuracy"] == best["val_accuracy"]
    printed += [
        exported,
        run(*SEARCH, *db),
        run("results", "absent", *db),
        run("db", "backup", "copy", *db),
        run("list", "--db", server.url("absent")),
        run("list", "--db", server.url("postgres", password=f"{PASSWORD}@x")),
        run("list", "--db", server.url("postgres", port=free_port())),
    ]
    assert [ran.code for ran in printed[-6:]] == [4, 3, 2, 3, 2, 4]
    assert all(ran.err.count("\n") == 1 for ran in printed[-6:])
    assert not [ran for ran in printed if PASSWORD in ran.out + ran.err]
    with Store.open(db[1], mode="read") as store:
        recorded = store.search("s").run
    assert PASSWORD not in recorded
    assert json.loads(recorded)["weights"] == str(tmp_path / "nas-weights")


def test_weights_go_where_the_run_says(run: Run, tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text('weights = "kept/here"\n')
    assert run("search", "run.toml", *SEARCH[1:]).code == 0
    assert len(list((tmp_path / "kept/here").iterdir())) == 1
    assert not (tmp_path / "nas.db.weights").exists()
    assert run("export", "s:best", "--out", "model", "--json").document["has_weights"]
    # Another search takes the result over; its weights stay where they were made.
    assert run(*SEARCH[:-1], "t").code == 0
    assert run("export", "t:best", "--out", "other", "--json").document["has_weights"]


def test_password_of_a_run_is_not_shown() -> None:
    config = make_config({"db": f"postgresql://me:{PASSWORD}@host/nas"})
    assert config.db == f"postgresql://me:{PASSWORD}@host/nas"
    for text in (repr(config), str(config), config.to_json(), str(config.model_dump())):
        assert PASSWORD not in text
        assert "me:***@host" in text
    with pytest.raises(UserError, match="printable") as caught:
        make_config({"db": f"postgresql://me:{PASSWORD}@host/nas\n"})
    assert PASSWORD not in str(caught.value)


class TestCheck:
    def test_sound(self, run: Run, file: Path) -> None:
        ran = run("db", "check")
        assert ran.code == 0
        assert "architectures" in ran.out
        assert "no problem found" in ran.err
        document = run("db", "check", "--json").document
        assert document["problems"] == []
        assert document["rows"] == {"searches": 1, "architectures": 1, "trials": 0, "measurements": 0}

    def test_damaged_rows(self, run: Run, file: Path) -> None:
        with closing(sqlite3.connect(file)) as connection:
            connection.execute("UPDATE architectures SET document = '{'")
            connection.execute("UPDATE searches SET run = '{'")
            connection.commit()
        ran = run("db", "check")
        assert ran.code == 4
        assert "searches, id 1: " in ran.out
        assert ran.err == "nas: nas.db is damaged (2 problems); restore it from a copy\n"
        assert len(run("db", "check", "--json").document["problems"]) == 2

    def test_damaged_pages(self, run: Run, file: Path) -> None:
        whole = file.read_bytes()
        for start_of_page in range(0, len(whole), 4096):
            file.write_bytes(whole[:start_of_page] + b"\xa5" * 4096 + whole[start_of_page + 4096 :])
            ran = run("db", "check")
            assert ran.code == 4
            assert ran.err.startswith("nas: ")
            assert ran.err.count("\n") == 1

    def test_absent(self, run: Run) -> None:
        assert run("db", "check").code == 3


class TestBackup:
    def test_copy(self, run: Run, file: Path) -> None:
        assert run("db", "backup", "copy.db").code == 0
        assert run("db", "check", "--db", "copy.db").code == 0
        again = run("db", "backup", "copy.db")
        assert again.code == 4
        assert "exists already" in again.err

    def test_absent(self, run: Run, tmp_path: Path) -> None:
        assert run("db", "backup", "copy.db").code == 3
        assert list(tmp_path.iterdir()) == []
