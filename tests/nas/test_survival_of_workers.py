"""What becomes of trials whose workers die, hang or run out of memory: real drivers, real workers, really killed."""

import json
import os
import signal
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

from db.store import Store
from db.trial import SearchState, TrialState
from tests.nas.driven import diary, finish, finished, nas, slow, start, wait_for_finished

pytestmark = pytest.mark.xdist_group("ray")
RAY = ("--executor", "ray", "--workers", "2")


def wait_for_line(directory: Path, count: int) -> None:
    deadline = time.monotonic() + 100
    while len(diary(directory)) < count:
        assert time.monotonic() < deadline, "the workers did not begin"
        time.sleep(0.02)


def test_a_worker_that_is_killed_costs_one_attempt_and_status_tells_of_the_next(tmp_path: Path) -> None:
    driver = start(tmp_path, *slow(tmp_path, seconds=1.0), *RAY, "--trials", "4")
    wait_for_line(tmp_path, 2)
    victim = diary(tmp_path)[0]
    os.kill(victim.pid, signal.SIGKILL)
    status = json.loads(finish(nas(tmp_path, "status", "s", "--json"))[0])
    assert status["state"] == "running"
    assert status["driver"]["alive"] is True
    assert "Workers" in finish(nas(tmp_path, "status", "s"))[0] or finished(tmp_path)
    finish(driver)
    trials = finished(tmp_path)
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}
    assert [trial.attempts for trial in trials].count(2) == 1
    assert [line.what for line in diary(tmp_path) if line.number == victim.number] == ["begin", "begin", "end"]


def test_a_candidate_that_kills_three_workers_is_quarantined(tmp_path: Path) -> None:
    driver = start(tmp_path, *slow(tmp_path, kills=[1]), *RAY)
    finish(driver)
    trials = finished(tmp_path)
    (quarantined,) = [trial for trial in trials if trial.state is not TrialState.COMPLETE]
    assert quarantined.number == 1
    assert quarantined.state is TrialState.FAILED
    assert quarantined.attempts == 3
    assert quarantined.reason is not None and quarantined.reason.startswith("quarantined: lost 3 workers")
    assert Counter(line.number for line in diary(tmp_path) if line.what == "begin")[1] == 3


def test_a_trial_that_hangs_is_killed_after_its_deadline(tmp_path: Path) -> None:
    driver = start(tmp_path, *slow(tmp_path, hangs=[0]), *RAY, "--deadline", "3")
    finish(driver)
    trials = finished(tmp_path)
    assert trials[0].state is TrialState.FAILED
    assert trials[0].reason == "killed: it showed nothing for 3 s"
    assert {trial.state for trial in trials[1:]} == {TrialState.COMPLETE}
    (begun,) = [line for line in diary(tmp_path) if line.number == 0]
    assert not psutil.pid_exists(begun.pid)


def test_what_runs_out_of_memory_is_tried_once_more_alone_and_harms_nobody(tmp_path: Path) -> None:
    driver = start(tmp_path, *slow(tmp_path, greedy=[2]), *RAY)
    finish(driver)
    trials = finished(tmp_path)
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}
    assert [trial.attempts for trial in trials] == [1, 1, 2, 1, 1, 1]


def test_sigterm_ends_as_cleanly_as_ctrl_c(tmp_path: Path) -> None:
    driver = start(tmp_path, *slow(tmp_path, seconds=0.5), *RAY, "--trials", "100")
    wait_for_finished(driver, tmp_path, 2)
    descendants = psutil.Process(driver.pid).children(recursive=True)
    os.kill(driver.pid, signal.SIGTERM)
    time.sleep(0.2)
    os.kill(driver.pid, signal.SIGTERM)
    _, err = driver.communicate(timeout=30)
    assert driver.returncode == 143, err
    assert "Traceback" not in err
    assert "nas resume s" in err
    _, alive = psutil.wait_procs(descendants, timeout=10)
    assert not alive, [process.cmdline() for process in alive]
    with Store.open(str(tmp_path / "nas.db"), mode="read") as store:
        assert store.search("s").state is SearchState.INTERRUPTED
