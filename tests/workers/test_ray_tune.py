import csv
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import pytest
import ray
from ray.tune import Callback

from db.trial import TrialState
from search_spaces.choices import Genotype
from search_spaces.errors import UserError
from tests.contracts.executor import ListSource, ProcessExecutorContract, ToyEvaluator, small_architecture, tasks
from workers.ray_cluster import local_cluster
from workers.ray_tune import RayTuneExecutor
from workers.serial import SerialExecutor
from workers.task import EvaluationTask, Outcome
from workers.training import TrainingEvaluator


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    with local_cluster(cpus=2):
        yield


@pytest.fixture(autouse=True)
def nothing_in_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Tune writes into ~/ray_results unless it is told where else."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    yield
    assert list(home.iterdir()) == []


class TestRayTuneExecutor(ProcessExecutorContract):
    def make(self, evaluator: ToyEvaluator) -> RayTuneExecutor:
        return RayTuneExecutor(evaluator, workers=2)


def test_the_same_tasks_give_the_same_outcomes_as_one_after_the_other() -> None:
    by_tune, by_serial = ListSource(tasks(5)), ListSource(tasks(5))
    evaluator = ToyEvaluator(fails=frozenset({2}), diverges=frozenset({3}))
    RayTuneExecutor(evaluator, workers=2).run(by_tune)
    SerialExecutor(evaluator).run(by_serial)
    for number in range(5):
        one, other = by_tune.outcomes[number], by_serial.outcomes[number]
        assert (one.state, one.values, one.reason, one.weights) == (
            other.state,
            other.values,
            other.reason,
            other.weights,
        )
        assert by_tune.reports[number] == by_serial.reports[number]


@pytest.mark.slow
def test_training_in_workers_gives_the_same_bits_as_here() -> None:
    by_tune, by_serial = ListSource(tasks(2, epochs=2)), ListSource(tasks(2, epochs=2))
    RayTuneExecutor(TrainingEvaluator(), workers=2).run(by_tune)
    SerialExecutor(TrainingEvaluator()).run(by_serial)
    for number in range(2):
        assert by_tune.outcomes[number].state is TrialState.COMPLETE
        assert by_tune.outcomes[number].values == by_serial.outcomes[number].values
        assert by_tune.outcomes[number].weights == by_serial.outcomes[number].weights
        assert by_tune.reports[number] == by_serial.reports[number]


def test_a_worker_that_is_killed_loses_its_own_attempt_only(caplog: pytest.LogCaptureFixture) -> None:
    source = ListSource(tasks(6))
    RayTuneExecutor(ToyEvaluator(dies=frozenset({1})), workers=2).run(source)
    assert [number for number, _ in source.losses] == [1]
    assert source.losses[0][1].startswith("the worker tune")
    assert "died" in source.losses[0][1]
    assert sorted(source.outcomes) == list(range(6))
    assert {outcome.values["score"] for outcome in source.outcomes.values()} == {3.0, 6.0, 9.0, 12.0, 15.0, 18.0}
    assert caplog.records == []


@pytest.mark.slow
def test_a_task_that_always_kills_its_worker_is_lost_as_often_as_it_is_handed_out() -> None:
    source = ListSource(tasks(3), max_attempts=2)
    RayTuneExecutor(ToyEvaluator(always_dies=frozenset({0})), workers=2).run(source)
    assert [number for number, _ in source.losses] == [0, 0]
    assert sorted(source.outcomes) == [1, 2]


def test_more_workers_than_cpus_wait_for_one_another() -> None:
    source = ListSource(tasks(5))
    RayTuneExecutor(ToyEvaluator(), workers=3).run(source)
    assert sorted(source.outcomes) == list(range(5))


def test_a_worker_that_shows_nothing_is_killed_and_its_task_has_failed(tmp_path: Path) -> None:
    source = ListSource(tasks(1, epochs=2))
    RayTuneExecutor(ToyEvaluator(epoch_seconds=60), workers=1, deadline_seconds=0.5).run(source)
    assert source.outcomes[0].state is TrialState.FAILED
    assert source.outcomes[0].reason == "killed: it showed nothing for 0.5 s"
    assert source.losses == []


def test_a_task_that_is_to_run_alone_does(tmp_path: Path) -> None:
    diary = tmp_path / "diary"
    given = tasks(4)
    given[1] = replace(given[1], alone=True)
    source = ListSource(given)
    RayTuneExecutor(ToyEvaluator(epoch_seconds=0.05, diary=diary), workers=2).run(source)
    assert sorted(source.outcomes) == list(range(4))
    begun = [line.split()[0] for line in diary.read_text().splitlines()]
    assert begun[:6] == ["0"] * 3 + ["1"] * 3


@dataclass(slots=True)
class BlockedSource(ListSource):
    """Has its work only from the third time it is asked on."""

    asked: int = 0

    def next_task(self, worker: str) -> EvaluationTask | None:
        self.asked += 1
        self.is_blocked = self.asked < 3
        return None if self.is_blocked else ListSource.next_task(self, worker)


def test_a_source_that_is_blocked_is_asked_again() -> None:
    source = BlockedSource(tasks(2))
    RayTuneExecutor(ToyEvaluator(), workers=1).run(source)
    assert sorted(source.outcomes) == [0, 1]


def test_no_workers_are_refused() -> None:
    with pytest.raises(UserError, match="at least 1"):
        RayTuneExecutor(ToyEvaluator(), workers=0)


def test_tune_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    RayTuneExecutor(ToyEvaluator(fails=frozenset({1})), workers=1).run(ListSource(tasks(2)))
    assert capfd.readouterr() == ("", "")


class Diary(Callback):
    """Keeps what Tune tells its callbacks."""

    def __init__(self) -> None:
        self.results: list[dict] = []
        self.configs: dict[int, dict] = {}
        self.errors: list[int] = []
        self.has_ended = False

    def on_trial_start(self, iteration, trials, trial, **info):
        self.configs[trial.config["trial"]] = trial.config

    def on_trial_result(self, iteration, trials, trial, result, **info):
        self.results.append(dict(result))

    def on_trial_error(self, iteration, trials, trial, **info):
        self.errors.append(trial.config["trial"])

    def on_experiment_end(self, trials, **info):
        self.has_ended = True


def test_callbacks_see_every_measurement_the_outcome_and_what_is_tried() -> None:
    diary = Diary()
    genotype = Genotype((("width", 3), ("inputs", ("a", "b"))))
    given = [EvaluationTask(number, small_architecture(3), 2, seed=5, genotype=genotype) for number in range(3)]
    RayTuneExecutor(ToyEvaluator(diverges=frozenset({2})), workers=1, callbacks=(diary,)).run(ListSource([*given]))
    assert diary.has_ended
    assert {number: config["key"] for number, config in diary.configs.items()} == dict.fromkeys(
        range(3), given[0].architecture.key
    )
    assert diary.configs[0]["genotype"] == {"width": 3, "inputs": ["a", "b"]}
    shown = ("training_iteration", "score", "done", "state", "reason")
    rows = [
        (result["config"]["trial"], *(result.get(name) for name in shown))
        for result in sorted(diary.results, key=lambda result: result["config"]["trial"])
    ]
    whole = [(1, 3.0, False, None, None), (2, 6.0, False, None, None), (2, 6.0, True, "complete", None)]
    assert rows == [
        *((0, *row) for row in whole),
        *((1, *row) for row in whole),
        (2, 1, 3.0, False, None, None),
        (2, 1, None, True, "diverged", "loss is nan in epoch 2"),
    ]
    # Neither tasks nor outcomes, which have weights, are for loggers.
    assert not any({"sealed", "task"} & {*result, *result["config"]} for result in diary.results)


def test_a_trial_that_is_stopped_says_so_and_one_that_dies_is_an_error() -> None:
    diary = Diary()
    source = ListSource(tasks(3), stop_at={1: 2})
    RayTuneExecutor(ToyEvaluator(dies=frozenset({2})), workers=2, callbacks=(diary,)).run(source)
    stopped = [result for result in diary.results if result["config"]["trial"] == 1]
    assert [(result["training_iteration"], result["done"]) for result in stopped] == [(1, False), (2, True)]
    assert stopped[-1]["state"] == "stopped"
    assert source.outcomes[1].seconds > 0
    assert diary.errors == [2]
    assert source.outcomes[2].values == {"score": 9.0}


def test_with_a_directory_tune_leaves_its_files_there(tmp_path: Path) -> None:
    directory = tmp_path / "for tune" / "results"
    source = ListSource(tasks(2), max_attempts=1)
    RayTuneExecutor(ToyEvaluator(always_dies=frozenset({1})), workers=1, storage_path=directory).run(source)
    (run,) = directory.iterdir()
    trial = run / "trial-00000-1"
    results = [json.loads(line) for line in (trial / "result.json").read_text().splitlines()]
    assert [result["score"] for result in results] == [1.0, 2.0, 3.0, 3.0]
    with (trial / "progress.csv").open() as progress:
        assert [row["training_iteration"] for row in csv.DictReader(progress)] == ["1", "2", "3", "3"]
    assert json.loads((trial / "params.json").read_text())["key"] == small_architecture(1).key
    assert list(trial.glob("events.out.tfevents.*"))
    assert (run / "trial-00001-1" / "error.txt").exists()


def test_a_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    source = ListSource(tasks(1))
    with pytest.raises(UserError, match="cannot make the directory"):
        RayTuneExecutor(ToyEvaluator(), workers=1, storage_path=tmp_path / "file" / "inside").run(source)
    assert source.outcomes == {}


def test_without_one_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    session = Path(ray._private.worker._global_node.get_session_dir_path())
    RayTuneExecutor(ToyEvaluator(), workers=1).run(ListSource(tasks(1)))
    assert [path.name for path in tmp_path.iterdir()] == ["home"]
    assert list(session.glob("tune-*")) == []


class Broken(Callback):
    """Fails at the first result."""

    def on_trial_result(self, **info):
        raise LookupError("no such experiment")


def test_a_callback_that_fails_ends_the_run_with_its_error() -> None:
    source = ListSource(tasks(3))
    with pytest.raises(Exception, match="no such experiment"):
        RayTuneExecutor(ToyEvaluator(), workers=1, callbacks=(Broken(),)).run(source)
    assert source.outcomes == {}


class BrokenSource(ListSource):
    """Cannot take results."""

    def finish(self, number: int, outcome: Outcome) -> None:
        raise LookupError("the database is gone")


def test_an_error_of_the_source_comes_through_as_it_is() -> None:
    with pytest.raises(LookupError, match="the database is gone"):
        RayTuneExecutor(ToyEvaluator(), workers=1).run(BrokenSource(tasks(2)))


def test_ctrl_c_ends_workers_in_the_middle_of_an_epoch(tmp_path: Path) -> None:
    diary = tmp_path / "diary"

    def interrupt() -> None:
        while not diary.exists() or len(diary.read_text().splitlines()) < 2:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    usr1_handler = signal.getsignal(signal.SIGUSR1)
    thread = threading.Thread(target=interrupt)
    thread.start()
    source = ListSource(tasks(4))
    try:
        with pytest.raises(KeyboardInterrupt):
            RayTuneExecutor(ToyEvaluator(epoch_seconds=60, diary=diary), workers=2).run(source)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        assert signal.getsignal(signal.SIGUSR1) is usr1_handler
    finally:
        thread.join()
        signal.signal(signal.SIGINT, handler)
    assert source.outcomes == {}
    assert source.losses == []
    workers = {int(line.split()[2]) for line in diary.read_text().splitlines()}
    _, alive = psutil.wait_procs([psutil.Process(pid) for pid in workers if psutil.pid_exists(pid)], timeout=10)
    assert alive == []
