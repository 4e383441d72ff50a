"""The database goes away in the middle of a search and comes back: nothing is lost, nothing is run twice."""

import json
import os
import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from db.store import Store
from db.trial import TrialState
from nas.spool import Spool
from nas.weights import WeightsStore
from tests.db.postgresql_server import Server
from tests.nas.driven import diary, finish, nas, slow

TRIALS = 30
WEIGHTS = "nas-weights"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    started = Server()
    yield started
    started.close()


@pytest.fixture
def url(server: Server) -> str:
    return server.url("postgres")


def begin(directory: Path, url: str, name: str, *, seed: int) -> "subprocess.Popen[str]":
    """A search whose seed no other of this database has, for results are shared."""
    flags = ("--seed", str(seed), "--db", url, "--workers", "2", *slow(directory, seconds=0.2))
    return nas(directory, "search", "--name", name, "--trials", str(TRIALS), *flags)


def ended(directory: Path) -> int:
    return sum(line.what == "end" for line in diary(directory))


def wait_until(condition: Callable[[], object], seconds: float = 100) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.05)


def spool(directory: Path, name: str) -> Spool:
    return Spool(name, WeightsStore(directory / WEIGHTS))


def check_everything_ran_once(directory: Path, url: str, name: str) -> None:
    with Store.open(url, mode="read") as store:
        trials = store.trials(name)
    assert [trial.number for trial in trials] == list(range(TRIALS))
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}
    runs = Counter(line.number for line in diary(directory) if line.what == "end")
    fresh = [trial.number for trial in trials if trial.reused_from is None]
    assert runs == Counter(fresh), "a finished trial was run again, or one never ran"
    assert sorted(trial.observed for trial in trials) == list(range(TRIALS))  # type: ignore[type-var]
    assert not spool(directory, name).path.exists()


@pytest.mark.xdist_group("ray")
@pytest.mark.parametrize("away_seconds", [6, pytest.param(60, marks=pytest.mark.slow)])
def test_results_wait_on_disk_while_the_database_is_away(
    tmp_path: Path, server: Server, url: str, away_seconds: int
) -> None:
    name = f"away{away_seconds}"
    driver = begin(tmp_path, url, name, seed=away_seconds)
    wait_until(lambda: ended(tmp_path) >= 6)
    server.stop()
    try:
        wait_until(lambda: spool(tmp_path, name).load(), 30)
        refused = nas(tmp_path, "status", name, "--db", url)
        _, err = refused.communicate(timeout=60)
        assert refused.returncode == 4
        assert err.count("\n") == 1
        assert "results" in err or "answer" in err
        time.sleep(away_seconds)
        assert driver.poll() is None
    finally:
        server.start()
    finish(driver)
    check_everything_ran_once(tmp_path, url, name)


@pytest.mark.xdist_group("ray")
def test_a_driver_that_is_killed_while_the_database_is_away_loses_nothing(
    tmp_path: Path, server: Server, url: str
) -> None:
    driver = begin(tmp_path, url, "killed", seed=1)
    wait_until(lambda: ended(tmp_path) >= 6)
    server.stop("immediate")
    try:
        wait_until(lambda: len(spool(tmp_path, "killed").load()) == 2, 30)
        processes = psutil.Process(driver.pid).children(recursive=True)
        driver.kill()
        driver.communicate()
        _, alive = psutil.wait_procs(processes, timeout=10)
        assert not alive
    finally:
        server.start()
    status = json.loads(finish(nas(tmp_path, "status", "killed", "--db", url, "--json"))[0])
    assert status["spooled"] == 2
    assert status["driver"]["alive"] is False
    finish(nas(tmp_path, "resume", "killed", "--db", url, "--trust-code"))
    check_everything_ran_once(tmp_path, url, "killed")


def test_a_full_disk_ends_the_search_in_one_line_and_it_goes_on_when_there_is_room(tmp_path: Path) -> None:
    flags = ("search", "--name", "s", "--trials", "200", "--executor", "serial", *slow(tmp_path, seconds=0.0))
    limited = (
        "import resource, sys; from nas.cli import main; "
        f"resource.setrlimit(resource.RLIMIT_FSIZE, (180_000, {resource.RLIM_INFINITY})); "
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", limited, *flags],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert done.returncode == 4, done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("nas: ") and "disk" in last
    assert "Traceback" not in done.stderr
    before = sum(line.what == "end" for line in diary(tmp_path))
    assert 0 < before < 200
    finish(nas(tmp_path, "resume", "s", "--trust-code"))
    with Store.open(str(tmp_path / "nas.db"), mode="read") as store:
        trials = store.trials("s")
    assert len(trials) == 200
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}
