"""What every executor must do, as tests to inherit, with a work source and an evaluator made for them."""

import os
import signal
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from db.trial import Measurement, TrialState
from search_spaces.architecture import Architecture
from search_spaces.builder import GraphBuilder
from search_spaces.errors import UserError
from search_spaces.ops import Activation, Flatten, GlobalPool, Linear, conv2d
from workers.task import Diverged, Evaluation, EvaluationTask, Executor, Outcome


def small_architecture(channels: int = 4) -> Architecture:
    builder = GraphBuilder()
    end = builder.chain(
        builder.input(),
        ("conv", conv2d(channels, 3)),
        ("relu", Activation("relu")),
        ("pool", GlobalPool("average")),
        ("flatten", Flatten()),
        ("linear", Linear(10)),
    )
    return Architecture(builder.graph(end), ((1, 8, 8),))


def tasks(count: int, *, epochs: int = 3) -> list[EvaluationTask]:
    return [EvaluationTask(number, small_architecture(1 + number), epochs, seed=number) for number in range(count)]


@dataclass(slots=True)
class ListSource:
    """A work source that hands out a list of tasks, keeps every call, and stops tasks at the epochs in `stop_at`."""

    waiting: list[EvaluationTask]
    stop_at: dict[int, int] = field(default_factory=dict)
    max_attempts: int = 3
    interrupt_after: int | None = None
    out: dict[int, EvaluationTask] = field(default_factory=dict)
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    reports: dict[int, list[Measurement]] = field(default_factory=dict)
    losses: list[tuple[int, str]] = field(default_factory=list)
    most_out: int = 0
    is_blocked: bool = False
    devices: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def finished(self) -> bool:
        return not self.waiting and not self.out

    def next_task(self, worker: str) -> EvaluationTask | None:
        if not self.waiting:
            return None
        task = self.waiting.pop(0)
        assert task.number not in self.out
        self.out[task.number] = task
        self.reports[task.number] = []
        self.most_out = max(self.most_out, len(self.out))
        return task

    def report(self, number: int, measurement: Measurement) -> bool:
        assert number in self.out
        self.reports[number].append(measurement)
        return measurement.epoch != self.stop_at.get(number)

    def finish(self, number: int, outcome: Outcome) -> None:
        del self.out[number]
        assert number not in self.outcomes
        self.outcomes[number] = outcome
        if len(self.outcomes) == self.interrupt_after:
            raise KeyboardInterrupt

    def heartbeat(self, devices: Mapping[str, tuple[int, int]]) -> None:
        self.devices = devices

    def lost(self, number: int, reason: str, *, out_of_memory: bool = False) -> None:
        task = self.out.pop(number)
        self.losses.append((number, reason))
        if task.attempt < self.max_attempts:
            self.waiting.append(replace(task, attempt=task.attempt + 1))


@dataclass(frozen=True, slots=True)
class ToyEvaluator:
    """Counts channels and epochs, and fails, diverges, dies or dawdles at the tasks it is told."""

    fails: frozenset[int] = frozenset()
    diverges: frozenset[int] = frozenset()
    dies: frozenset[int] = frozenset()
    """Tasks whose first attempt kills its process."""
    always_dies: frozenset[int] = frozenset()
    hangs: frozenset[int] = frozenset()
    epoch_seconds: float = 0.0
    diary: Path | None = None
    """A file to which every epoch begun is written."""

    metrics = ("score",)
    identity = '{"evaluator":"toy"}'

    def device_bytes(self, architecture: Architecture) -> int:
        return 0

    def evaluate(self, task: EvaluationTask) -> Generator[Measurement, None, Evaluation]:
        channels = task.architecture.graph.nodes[1].operation.out_channels  # type: ignore[attr-defined]
        for epoch in range(1, task.epochs + 1):
            if self.diary:
                with self.diary.open("a") as diary:
                    diary.write(f"{task.number} {epoch} {os.getpid()}\n")
            time.sleep(600 if task.number in self.hangs else self.epoch_seconds)
            if epoch == 2 and task.number in self.fails:
                raise LookupError("no such\nthing")
            if epoch == 2 and task.number in self.diverges:
                raise Diverged("loss is nan in epoch 2")
            if epoch == 2 and (task.number in self.always_dies or (task.number in self.dies and task.attempt == 1)):
                os.kill(os.getpid(), signal.SIGKILL)
            yield Measurement(epoch, {"score": float(channels * epoch)})
        return Evaluation({"score": float(channels * task.epochs)}, weights=bytes([task.number]) * 3)


class ExecutorContract(ABC):
    """Every executor passes these."""

    @abstractmethod
    def make(self, evaluator: ToyEvaluator) -> Executor:
        """The executor under test."""

    def test_every_task_is_finished_once_with_what_the_evaluator_found(self) -> None:
        source = ListSource(tasks(7))
        self.make(ToyEvaluator()).run(source)
        assert sorted(source.outcomes) == list(range(7))
        for number, outcome in source.outcomes.items():
            assert outcome.state is TrialState.COMPLETE
            assert outcome.values == {"score": 3.0 * (number + 1)}
            assert outcome.weights == bytes([number]) * 3
            assert outcome.reason is None
            assert outcome.seconds > 0
            assert outcome.worker
            assert source.reports[number] == [
                Measurement(epoch, {"score": (number + 1.0) * epoch}) for epoch in (1, 2, 3)
            ]
        assert source.losses == []

    def test_a_source_without_tasks_ends_at_once(self) -> None:
        source = ListSource([])
        self.make(ToyEvaluator()).run(source)
        assert source.outcomes == {}

    def test_no_more_tasks_are_out_than_workers(self) -> None:
        executor = self.make(ToyEvaluator())
        source = ListSource(tasks(6))
        executor.run(source)
        assert 1 <= source.most_out <= executor.workers

    def test_a_task_that_is_told_to_stop_is_complete_with_the_values_of_that_moment(self, tmp_path: Path) -> None:
        source = ListSource(tasks(3, epochs=20), stop_at={1: 4})
        self.make(ToyEvaluator(epoch_seconds=0.02, diary=tmp_path / "diary")).run(source)
        assert source.outcomes[1].state is TrialState.COMPLETE
        assert source.outcomes[1].values == {"score": 8.0}
        assert source.outcomes[1].weights is None
        assert [measurement.epoch for measurement in source.reports[1]] == [1, 2, 3, 4]
        assert source.outcomes[0].values == {"score": 20.0}
        assert source.outcomes[2].values == {"score": 60.0}
        begun = [line.split() for line in (tmp_path / "diary").read_text().splitlines()]
        # The epoch that ran while the answer was under way may be wasted, and with a slow machine a little more.
        assert len([number for number, *_ in begun if number == "1"]) < 20

    def test_failing_and_diverging_tasks_do_not_touch_the_others(self) -> None:
        source = ListSource(tasks(6))
        self.make(ToyEvaluator(fails=frozenset({1, 2}), diverges=frozenset({4}))).run(source)
        states = [source.outcomes[number].state for number in range(6)]
        complete, failed, diverged = TrialState.COMPLETE, TrialState.FAILED, TrialState.DIVERGED
        assert states == [complete, failed, failed, complete, diverged, complete]
        assert source.outcomes[1].reason == "LookupError: no such thing"
        assert source.outcomes[4].reason == "loss is nan in epoch 2"
        assert source.outcomes[1].values == source.outcomes[4].values == {}
        assert source.losses == []

    def test_an_interruption_passes_through_and_leaves_tasks_neither_finished_nor_lost(self) -> None:
        source = ListSource(tasks(8), interrupt_after=2)
        with pytest.raises(KeyboardInterrupt):
            self.make(ToyEvaluator(epoch_seconds=0.01)).run(source)
        assert len(source.outcomes) == 2
        assert source.losses == []

    def test_a_source_that_has_neither_work_nor_an_end_is_refused(self) -> None:
        source = ListSource([])
        source.out[99] = tasks(1)[0]
        with pytest.raises(RuntimeError, match="no task"):
            self.make(ToyEvaluator()).run(source)


class Unpicklable(ToyEvaluator):
    """Finds what cannot be sent back, at the first task."""

    def evaluate(self, task: EvaluationTask) -> Generator[Measurement, None, Evaluation]:
        evaluation = yield from super().evaluate(task)
        return Evaluation({"score": threading.Lock()}) if task.number == 0 else evaluation


def explode() -> ToyEvaluator:
    raise LookupError("cannot be unpickled")


class Explosive(ToyEvaluator):
    """Can be sent to a worker, but not be received there."""

    def __reduce__(self):
        return explode, ()


class ProcessExecutorContract(ExecutorContract):
    """Every executor whose workers are processes passes these too."""

    def test_a_result_that_cannot_be_sent_fails_its_task_only(self) -> None:
        source = ListSource(tasks(4))
        self.make(Unpicklable()).run(source)
        assert source.outcomes[0].state is TrialState.FAILED
        assert source.outcomes[0].reason is not None
        assert source.outcomes[0].reason.startswith("TypeError: ")
        assert "\n" not in source.outcomes[0].reason
        assert [source.outcomes[number].state for number in (1, 2, 3)] == [TrialState.COMPLETE] * 3

    def test_an_evaluator_that_no_worker_can_receive_is_an_error_and_not_a_storm_of_lost_tasks(self) -> None:
        source = ListSource(tasks(4))
        with pytest.raises(UserError, match="workers cannot start: LookupError: cannot be unpickled; mend"):
            self.make(Explosive()).run(source)
        assert source.outcomes == {}
        assert source.losses == []
