"""`check` finds what is damaged in a database, and `backup` copies a file while it is written to."""

import random
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest
from db_examples import complete, search, trial
from db_process import count_whole_results, start

import search_spaces
from db import ArchitectureRecord, Measurement, Store
from db.database import Database
from search_spaces.errors import Conflict, NotFound, UserError


@pytest.fixture(scope="module")
def real() -> ArchitectureRecord:
    """An architecture whose document can be read."""
    space = search_spaces.load("nasbench201", cells_per_stage=1)
    found = space.sample(rng=random.Random(0)).simplified()
    return ArchitectureRecord(found.key, "nasbench201", found.to_json(), {"params": 7})


@pytest.fixture
def filled(store: Store, real: ArchitectureRecord) -> Store:
    store.create_search(search())
    store.record_proposals("digits", [trial(number, key=real.key) for number in range(3)], [real])
    store.finish_trial("digits", complete(trial(0, key=real.key)), [Measurement(1, {"loss": 1.0})])
    return store


def damage(database: Database, *statements: str) -> None:
    """Changes rows as a fault would, past what guards them."""
    with database._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        lite = connection.dialect.name == "sqlite"
        connection.exec_driver_sql(
            "PRAGMA ignore_check_constraints = ON" if lite else "SET session_replication_role = replica"
        )
        if lite:
            connection.exec_driver_sql("PRAGMA foreign_keys = OFF")
        for statement in statements:
            connection.exec_driver_sql(statement)
        connection.detach()


class TestCheck:
    def test_sound(self, filled: Store) -> None:
        health = filled.check()
        assert health.problems == ()
        assert health.rows == {"searches": 1, "architectures": 1, "trials": 3, "measurements": 1}

    @pytest.mark.parametrize(
        ("statement", "expected"),
        [
            ("UPDATE trials SET metrics = '{' WHERE proposal = 1", "trials, search_id 1, proposal 1: "),
            ("UPDATE trials SET metrics = '[]' WHERE proposal = 1", "no JSON object"),
            ("UPDATE trials SET genotype = '7' WHERE proposal = 1", "trials, search_id 1, proposal 1: "),
            ("UPDATE trials SET information = '' WHERE proposal = 1", "trials, search_id 1, proposal 1: "),
            ("UPDATE measurements SET metrics = '3'", "measurements, search_id 1, proposal 0, epoch 1: "),
            ("UPDATE architectures SET document = '{}'", "architectures, key "),
            ("UPDATE architectures SET other_figures = ''", "architectures, key "),
            ("UPDATE searches SET run = '[]'", "searches, id 1: ValueError: run is no JSON object"),
        ],
    )
    def test_row_that_cannot_be_read(self, filled: Store, statement: str, expected: str) -> None:
        damage(filled._database, statement)
        (problem,) = filled.check().problems
        assert expected in problem
        assert "\n" not in problem

    @pytest.mark.parametrize(
        ("statement", "expected"),
        [
            ("DELETE FROM architectures", "trials: 3 rows refer to architectures that are not there"),
            ("DELETE FROM searches", "trials: 3 rows refer to searches that are not there"),
            ("DELETE FROM trials WHERE proposal = 0", "measurements: 1 rows refer to trials that are not there"),
        ],
    )
    def test_rows_that_refer_to_nothing(self, filled: Store, statement: str, expected: str) -> None:
        damage(filled._database, statement)
        assert filled.check().problems == (expected,)

    def test_everything_is_counted(self, filled: Store) -> None:
        damage(filled._database, "UPDATE trials SET metrics = 'x'", "UPDATE searches SET run = 'x'")
        assert len(filled.check().problems) == 4

    def test_column_or_table_that_is_gone(self, filled: Store) -> None:
        damage(filled._database, "ALTER TABLE trials DROP COLUMN mutation", "DROP TABLE measurements")
        problems = filled.check().problems
        assert "table trials has no column mutation" in problems
        assert "there is no table measurements" in problems


class TestDamagedFile:
    """Pages of a real file that a disk has lost."""

    @pytest.fixture
    def file(self, tmp_path: Path, real: ArchitectureRecord) -> Path:
        path = tmp_path / "nas.db"
        with Store.open(str(path), mode="create") as store:
            store.create_search(search())
            store.record_proposals("digits", [trial(number, key=real.key) for number in range(200)], [real])
        return path

    def test_every_page_in_turn(self, file: Path) -> None:
        whole = file.read_bytes()
        said = 0
        for start_of_page in range(0, len(whole), 4096):
            file.write_bytes(whole[:start_of_page] + b"\xa5" * 4096 + whole[start_of_page + 4096 :])
            try:
                with Store.open(str(file), mode="read") as store:
                    problems = store.check().problems
                    assert not [problem for problem in problems if "\n" in problem]
                    said += bool(problems)
                    # What a reading meets of it, it says with a remedy.
                    store.trials("digits")
            except Conflict as error:
                assert "\n" not in str(error)
                assert "--db" in str(error)
                said += 1
        assert said >= len(whole) // 4096

    def test_file_that_was_cut_off(self, file: Path) -> None:
        file.write_bytes(file.read_bytes()[: 3 * 4096])
        with pytest.raises(Conflict, match=r"damaged|cannot be used"), Store.open(str(file), mode="read") as store:
            assert store.check().problems
            store.trials("digits")

    def test_no_copy_is_made_of_it(self, file: Path, tmp_path: Path) -> None:
        whole = file.read_bytes()
        with Store.open(str(file), mode="read") as store, store._database.reading() as connection:
            (root,) = connection.exec_driver_sql("SELECT rootpage FROM sqlite_master WHERE name = 'trials'").one()
        start_of_page = (root - 1) * 4096
        file.write_bytes(whole[:start_of_page] + b"\xa5" * 4096 + whole[start_of_page + 4096 :])
        with Store.open(str(file), mode="read") as store, pytest.raises(Conflict, match="damaged and was not copied"):
            store.backup(tmp_path / "copy.db")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["nas.db"]


class TestBackup:
    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        path = tmp_path / "nas.db"
        with Store.open(str(path), mode="create") as store:
            store.create_search(search())
        return path

    def test_copy_is_the_database(self, file: Path, tmp_path: Path) -> None:
        with Store.open(str(file), mode="read") as store:
            store.backup(tmp_path / "copy.db")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["copy.db", "nas.db"]
        with Store.open(str(tmp_path / "copy.db"), mode="write") as copy:
            assert copy.search("digits") == search()
            copy.create_search(search("more"))

    def test_while_another_process_writes(self, file: Path, tmp_path: Path) -> None:
        with start("write", str(file), "digits") as writer:
            assert writer.stdout is not None
            acknowledged = int(writer.stdout.readline())
            for number in range(10):
                copied = tmp_path / f"{number}.db"
                with Store.open(str(file), mode="read") as store:
                    store.backup(copied)
                with Store.open(str(copied), mode="read") as copy:
                    # Whole, and not older than what was stored before.
                    assert count_whole_results(copy) > acknowledged
                    assert [one for one in copy.check().problems if not one.startswith("architectures")] == []
                acknowledged = int(writer.stdout.readline())
            assert writer.poll() is None
            writer.kill()

    @pytest.mark.parametrize("kind", ["file", "directory", "link"])
    def test_what_is_there_stays(self, file: Path, tmp_path: Path, kind: str) -> None:
        target = tmp_path / "target"
        if kind == "file":
            target.write_text("precious")
        elif kind == "directory":
            target.mkdir()
        else:
            target.symlink_to(tmp_path / "nowhere")
        with Store.open(str(file), mode="read") as store, pytest.raises(Conflict, match="exists already"):
            store.backup(target)
        assert kind != "file" or target.read_text() == "precious"
        assert not (tmp_path / "nowhere").exists()

    def test_of_two_to_the_same_place_one_is_kept(self, file: Path, tmp_path: Path) -> None:
        outcomes: list[str] = []

        def copy() -> None:
            try:
                with Store.open(str(file), mode="read") as store:
                    store.backup(tmp_path / "copy.db")
                outcomes.append("copied")
            except UserError:
                outcomes.append("refused")

        threads = [threading.Thread(target=copy) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(outcomes) == ["copied", "refused", "refused", "refused"]
        with closing(sqlite3.connect(tmp_path / "copy.db")) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]

    def test_no_directory(self, file: Path, tmp_path: Path) -> None:
        with Store.open(str(file), mode="read") as store, pytest.raises(NotFound, match="no directory"):
            store.backup(tmp_path / "absent" / "copy.db")
