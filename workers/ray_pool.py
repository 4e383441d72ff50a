"""The executor that trains on long-lived Ray actors, each with its data loaded once, without waiting for one another."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError

from db.trial import Measurement, TrialState
from search_spaces.errors import UserError
from workers.attempt import attempt, stopped
from workers.ray_cluster import local_cluster
from workers.task import EvaluationTask, Evaluator, Outcome, WorkSource


@dataclass(frozen=True, slots=True)
class RayPoolExecutor:
    """Keeps `workers` actors busy, each on one CPU and, where there are GPUs, an equal share of one.

    Measurements arrive while a task runs. A worker learns that it is to stop between two epochs, so it may begin one
    epoch more, which is thrown away: the outcome is that of the measurement at which the source said stop, as with
    every executor. When a worker process dies its task is lost (the source decides whether it comes again) and a
    fresh worker takes its place.

    Runs in the Ray that this process is connected to, else in one of its own that is gone when `run` ends.

    Raises:
        UserError: less than one worker, or more than the Ray in use has CPUs.
        RuntimeError: workers cannot start, or the source has no task although none is out and it is not finished.
    """

    evaluator: Evaluator
    workers: int

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise UserError(f"workers must be at least 1, got {self.workers}")

    def run(self, source: WorkSource) -> None:
        with local_cluster(cpus=self.workers):
            pool = _Pool(source, self.evaluator, gpu_share=self._gpu_share())
            try:
                pool.run([f"ray{index}" for index in range(self.workers)])
            finally:
                pool.close()

    def _gpu_share(self) -> float:
        resources = ray.cluster_resources()
        if resources.get("CPU", 0) < self.workers:
            raise UserError(f"{self.workers} workers need as many CPUs, this Ray has {resources.get('CPU', 0):g}")
        gpus = int(resources.get("GPU", 0))
        # A worker must fit on one GPU, so the share is that of the fullest.
        return 1 / math.ceil(self.workers / gpus) if gpus else 0.0


class _Worker:
    """Evaluates one task at a time in a process of its own; `stop` is called from another thread meanwhile."""

    def __init__(self, evaluator: Evaluator, name: str) -> None:
        self._evaluator = evaluator
        self._name = name
        self._stopped: int | None = None

    def run(self, task: EvaluationTask) -> Iterator[Measurement | Outcome]:
        steps = attempt(self._evaluator, task, worker=self._name)
        try:
            measurement = next(steps)
            while True:
                yield measurement
                measurement = steps.send(self._stopped != task.number)
        except StopIteration as end:
            yield end.value

    def stop(self, number: int) -> None:
        self._stopped = number


_Actor: Any = ray.remote(num_cpus=1, max_restarts=0, max_task_retries=0, concurrency_groups={"control": 1})(_Worker)


@dataclass(slots=True)
class _Running:
    """A task on a worker, and the measurement at which it was stopped, if it was."""

    task: EvaluationTask
    worker: str
    stopped_at: Measurement | None = None


@dataclass(slots=True)
class _Pool:
    """The actors of one run, and what each of them does."""

    source: WorkSource
    evaluator: Evaluator
    gpu_share: float
    actors: dict[str, Any] = field(default_factory=dict)
    running: dict[Any, _Running] = field(default_factory=dict)
    """What is out, by the stream of its results."""

    def run(self, names: list[str]) -> None:
        for name in names:
            self._start(name)
        while not self.source.finished:
            self._hand_out()
            if self.running:
                self._take_one()
            elif not self.source.finished:
                raise RuntimeError("the work source has no task although none is out and it is not finished")

    def close(self) -> None:
        for actor in self.actors.values():
            ray.kill(actor)

    def _start(self, name: str) -> None:
        self.actors[name] = _Actor.options(num_gpus=self.gpu_share).remote(self.evaluator, name)

    def _hand_out(self) -> None:
        busy = {running.worker for running in self.running.values()}
        for name, actor in self.actors.items():
            if name not in busy:
                task = self.source.next_task(name)
                if task is None:
                    return
                stream = actor.run.options(num_returns="streaming").remote(task)
                self.running[stream] = _Running(task, name)

    def _take_one(self) -> None:
        """Waits for the next measurement or outcome of any worker and passes it on."""
        ready, _ = ray.wait(list(self.running), num_returns=1)
        stream = ready[0]
        running = self.running[stream]
        try:
            result = ray.get(next(stream))
        except RayTaskError as error:
            # Evaluators' exceptions never come this way: what did is a task or result that cannot be pickled.
            del self.running[stream]
            reason = " ".join(f"{type(error.cause).__name__}: {error.cause}".split())
            self.source.finish(running.task.number, Outcome(TrialState.FAILED, 0.0, running.worker, {}, reason))
        except RayError as error:
            del self.running[stream]
            self._lose(running, error)
        else:
            if isinstance(result, Measurement):
                self._report(running, result)
            else:
                del self.running[stream]
                outcome = stopped(result, running.stopped_at) if running.stopped_at else result
                self.source.finish(running.task.number, outcome)

    def _report(self, running: _Running, measurement: Measurement) -> None:
        if running.stopped_at is None and not self.source.report(running.task.number, measurement):
            running.stopped_at = measurement
            self.actors[running.worker].stop.options(concurrency_group="control").remote(running.task.number)

    def _lose(self, running: _Running, error: RayError) -> None:
        if isinstance(error, RayActorError) and error.actor_init_failed:
            raise RuntimeError(f"workers cannot start: {error}") from error
        ray.kill(self.actors[running.worker])
        self._start(running.worker)
        self.source.lost(running.task.number, f"the worker {running.worker} died: {_first_line(error)}")


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
