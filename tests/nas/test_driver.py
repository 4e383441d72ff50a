"""Who drives a search: a search whose driver lives is left to it, one whose driver is gone can be resumed."""

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from db.store import Store
from db.trial import Search, SearchState
from nas import driver
from nas.config import RunConfig
from nas.progress import Progress
from nas.run import resume, search
from search_spaces.errors import Conflict


@pytest.fixture
def sleeper() -> Iterator["subprocess.Popen[bytes]"]:
    with subprocess.Popen(["sleep", "600"]) as process:
        yield process
        process.kill()


def config(directory: Path) -> RunConfig:
    return RunConfig(
        name="s",
        space="nasbench201",
        space_settings={"cells_per_stage": 1},
        controller="random",
        executor="serial",
        trials=1,
        epochs=1,
        db=str(directory / "nas.db"),
    )


def driven_by(pid: int, started_at: float, directory: Path, *, host: str | None = None, seen_ago: float = 0.0) -> str:
    """The database of a search that says to be driven by this process."""
    run = config(directory)
    with Store.open(run.db, mode="create") as store:
        store.create_search(
            Search(
                name="s",
                run=run.to_json(),
                space=run.space,
                controller=run.controller,
                data=run.data,
                seed=run.seed,
                budget=run.trials,
                driver_host=host or socket.gethostname(),
                driver_pid=pid,
                driver_started_at=started_at,
            )
        )
        with store._database.writing() as connection:
            connection.exec_driver_sql(f"UPDATE searches SET driver_seen_at = driver_seen_at - {seen_ago}")
    return run.db


def found(db: str) -> Search:
    with Store.open(db, mode="read") as store:
        return store.search("s")


def assert_driven_by_this_process(driven: Search) -> None:
    assert (driven.driver_host, driven.driver_pid) == (socket.gethostname(), os.getpid())
    assert driven.driver_started_at == pytest.approx(psutil.Process().create_time(), abs=1)
    assert driven.state is SearchState.RUNNING


def assert_complete(db: str) -> None:
    ended = found(db)
    assert ended.state is SearchState.COMPLETE
    assert (ended.driver_host, ended.driver_pid, ended.driver_started_at) == (None, None, None)


def test_a_new_search_says_who_drives_it(tmp_path: Path) -> None:
    seen: list[Search] = []

    def look(progress: Progress) -> None:
        seen.append(found(config(tmp_path).db))

    search(config(tmp_path), listener=look)
    assert_driven_by_this_process(seen[0])
    assert_complete(config(tmp_path).db)


@pytest.mark.parametrize("later", [-3600.0, 2.0])
def test_a_pid_that_another_process_was_given_holds_no_search(
    tmp_path: Path, sleeper: "subprocess.Popen[bytes]", later: float
) -> None:
    db = driven_by(sleeper.pid, psutil.Process(sleeper.pid).create_time() + later, tmp_path)
    seen: list[Search] = []
    resume("s", db, listener=lambda progress: seen.append(found(db)))
    assert_driven_by_this_process(seen[0])
    assert_complete(db)
    assert sleeper.poll() is None


def test_a_living_driver_keeps_its_search(tmp_path: Path, sleeper: "subprocess.Popen[bytes]") -> None:
    db = driven_by(sleeper.pid, psutil.Process(sleeper.pid).create_time(), tmp_path)
    before = found(db)
    with pytest.raises(Conflict, match=f"process {sleeper.pid} on this machine"):
        resume("s", db)
    assert found(db) == before


@pytest.mark.parametrize("reaped", [False, True])
def test_a_dead_driver_holds_no_search(tmp_path: Path, sleeper: "subprocess.Popen[bytes]", reaped: bool) -> None:
    db = driven_by(sleeper.pid, psutil.Process(sleeper.pid).create_time(), tmp_path)
    sleeper.send_signal(signal.SIGKILL)
    if reaped:
        sleeper.wait()
    else:
        # Waits for its end and leaves it the zombie that it is when its parent asks for nothing.
        os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
        assert psutil.Process(sleeper.pid).status() == psutil.STATUS_ZOMBIE
    resume("s", db)
    assert_complete(db)


class TestAnotherHost:
    """Its processes cannot be looked at: what counts is when the driver there was last seen."""

    def test_driver_that_was_just_seen_keeps_its_search(self, tmp_path: Path) -> None:
        db = driven_by(1, 5.0, tmp_path, host="elsewhere", seen_ago=50)
        before = found(db)
        with pytest.raises(Conflict, match="process 1 on elsewhere, which was seen 5"):
            resume("s", db)
        assert found(db) == before

    @pytest.mark.parametrize("seen_ago", [61.0, -3600.0])
    def test_driver_that_is_not_seen_any_more_loses_its_search(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seen_ago: float
    ) -> None:
        """Also where the clock was put back by an hour since it was last seen."""
        monkeypatch.setattr(driver, "WATCH_SECONDS", 0.1)
        db = driven_by(1, 5.0, tmp_path, host="elsewhere", seen_ago=seen_ago)
        resume("s", db)
        assert_complete(db)

    @pytest.mark.parametrize("jump", [3600.0, -3600.0])
    def test_driver_that_goes_on_after_the_clock_was_put_keeps_its_search(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump: float
    ) -> None:
        db = driven_by(1, 5.0, tmp_path, host="elsewhere")
        with Store.open(db, mode="write") as living:
            living.claim_search(living.search("s"), host="elsewhere", pid=1, started_at=5.0)
            with living._database.writing() as connection:
                connection.exec_driver_sql(f"UPDATE searches SET driver_seen_at = driver_seen_at - {jump}")

            def watch(seconds: float) -> None:
                assert seconds == driver.WATCH_SECONDS
                living.renew_search("s")

            monkeypatch.setattr(driver.time, "sleep", watch)
            with pytest.raises(Conflict, match="process 1 on elsewhere"):
                resume("s", db)
            living.renew_search("s")

    def test_driver_that_lost_its_search_writes_nothing_any_more(self, tmp_path: Path) -> None:
        db = driven_by(1, 5.0, tmp_path, host="elsewhere")
        with Store.open(db, mode="write") as first, Store.open(db, mode="write") as second:
            first.claim_search(first.search("s"), host="elsewhere", pid=1, started_at=5.0)
            with second._database.writing() as connection:
                connection.exec_driver_sql("UPDATE searches SET driver_seen_at = driver_seen_at - 61")
            second.claim_search(second.search("s"), host="here", pid=2, started_at=6.0)
            with pytest.raises(Conflict, match="driven by process 2 on here"):
                first.return_to_waiting("s")
