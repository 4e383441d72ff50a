"""What survives: real drivers killed or interrupted in the middle of a search, and resumed."""

import json
import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from db.store import Store
from db.trial import SearchState, TrialState
from tests.nas.driven import TRIALS, finish, finished, nas, outcome, start, unweighted, wait_for_finished

SERIAL = ("--executor", "serial", "--epochs", "1", "--controller", "evolution")
RAY = ("--executor", "ray", "--workers", "2", "--epochs", "3", "--controller", "random")


def test_driver_killed_and_resumed_serially_is_the_uninterrupted_search(tmp_path: Path) -> None:
    whole = start(tmp_path / "whole", *SERIAL)
    killed = start(tmp_path / "killed", *SERIAL)
    wait_for_finished(killed, tmp_path / "killed", 2)
    killed.kill()
    killed.communicate()
    before = finished(tmp_path / "killed")
    finish(nas(tmp_path / "killed", "resume", "s"))
    finish(whole)
    after = finished(tmp_path / "killed")
    assert len(after) == TRIALS
    assert unweighted(after[: len(before)]) == unweighted(before), "a finished trial was run again"
    assert outcome(after) == outcome(finished(tmp_path / "whole"))


@pytest.mark.xdist_group("ray")
def test_driver_killed_under_ray_loses_and_repeats_no_finished_trial_and_leaves_no_process(tmp_path: Path) -> None:
    driver = start(tmp_path, *RAY)
    wait_for_finished(driver, tmp_path, 2)
    descendants = psutil.Process(driver.pid).children(recursive=True)
    assert descendants
    driver.kill()
    driver.communicate()
    _, alive = psutil.wait_procs(descendants, timeout=10)
    assert not alive, [process.cmdline() for process in alive]
    before = finished(tmp_path)
    assert 2 <= len(before) < TRIALS
    finish(nas(tmp_path, "resume", "s"))
    after = finished(tmp_path)
    assert [trial.number for trial in after] == list(range(TRIALS))
    assert {trial.state for trial in after} == {TrialState.COMPLETE}
    kept = {trial.number for trial in before}
    assert unweighted([trial for trial in after if trial.number in kept]) == unweighted(before), "a trial was run again"
    out, _ = finish(nas(tmp_path, "results", "s", "--json"))
    assert json.loads(out)["state"] == "complete"


@pytest.mark.xdist_group("ray")
def test_a_killed_worker_costs_its_trial_one_attempt_and_the_search_goes_on(tmp_path: Path) -> None:
    driver = start(tmp_path, *RAY, "--epochs", "6")
    wait_for_finished(driver, tmp_path, 1)
    with Store.open(str(tmp_path / "nas.db"), mode="read") as store:
        victim = next(trial for trial in store.trials("s") if trial.state is TrialState.RUNNING)
    workers = [process for process in psutil.Process(driver.pid).children(recursive=True) if is_worker(process)]
    assert len(workers) == 2
    for worker in workers:
        worker.kill()
    finish(driver)
    after = finished(tmp_path)
    assert [trial.number for trial in after] == list(range(TRIALS))
    assert {trial.state for trial in after} == {TrialState.COMPLETE}
    assert after[victim.number or 0].attempts == 2
    assert sum(trial.attempts for trial in after) == TRIALS + 2


def is_worker(process: psutil.Process) -> bool:
    return " ".join(process.cmdline()).startswith("ray::Worker")


@pytest.mark.xdist_group("ray")
def test_ctrl_c_ends_cleanly_and_keeps_what_finished(tmp_path: Path) -> None:
    driver = start(tmp_path, *RAY)
    wait_for_finished(driver, tmp_path, 1)
    descendants = psutil.Process(driver.pid).children(recursive=True)
    for _ in range(2):  # as an impatient person's terminal does it, to the whole process group
        os.killpg(driver.pid, signal.SIGINT)
        time.sleep(0.3)
    _, err = driver.communicate(timeout=30)
    assert driver.returncode == 130, err
    assert "Traceback" not in err
    assert "nas resume s" in err
    _, alive = psutil.wait_procs(descendants, timeout=10)
    assert not alive, [process.cmdline() for process in alive]
    with Store.open(str(tmp_path / "nas.db"), mode="read") as store:
        assert store.search("s").state is SearchState.INTERRUPTED
        assert {trial.state for trial in store.trials("s")} <= {TrialState.COMPLETE, TrialState.WAITING}
    assert finished(tmp_path)


def test_a_search_that_is_being_driven_is_not_taken_over(tmp_path: Path) -> None:
    driver = start(tmp_path, *SERIAL)
    try:
        wait_for_finished(driver, tmp_path, 1)
        second = nas(tmp_path, "resume", "s")
        _, err = second.communicate(timeout=60)
        assert second.returncode == 4, err
        assert f"process {driver.pid}" in err
        assert err.count("\n") == 1
    finally:
        driver.kill()
        driver.communicate()
