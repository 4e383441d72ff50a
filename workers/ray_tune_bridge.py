"""Between a work source and Ray Tune: a searcher that hands out, a stopper that reports, a callback that sees deaths.

Tune turns exceptions of its plug-ins into texts, or swallows them. So those of the work source are kept here, end the
Tune run, and are raised again behind it.
"""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray import cloudpickle
from ray.exceptions import RayActorError, RayTaskError
from ray.tune import Callback, Stopper
from ray.tune.result import TIME_TOTAL_S
from ray.tune.search import Searcher

from db.trial import Measurement, TrialState
from workers.attempt import stopped
from workers.ray_executors import cannot_start
from workers.ray_tune_worker import SEALED, TASK, Sealed
from workers.task import EvaluationTask, Outcome, WorkSource

LOOK_SECONDS = 1.0
"""How often the work source is told that the run goes on, and deadlines are looked at."""


@dataclass(slots=True)
class _Running:
    """A task that a Tune trial stands for, when it last showed something, and how it ended, once it has.

    `heard_at` is infinite before its worker has started.
    """

    task: EvaluationTask
    worker: str
    actor: Any = None
    heard_at: float = math.inf
    outcome: Outcome | None = None


class Bridge:
    """What Tune's plug-ins share: the work source, the tasks that are out, by Tune's trial id, and the live workers."""

    def __init__(self, source: WorkSource, *, workers: int, deadline_seconds: float) -> None:
        self.error: BaseException | None = None
        """What ends the run, if anything does."""
        self._source = source
        self._deadline_seconds = deadline_seconds
        self._free = [f"tune{index}" for index in range(workers)]
        self._held: EvaluationTask | None = None
        """A task that is to run alone, and waits for the others to end."""
        self._running: dict[str, _Running] = {}
        self._actors: set[Any] = set()
        self._looked_at = time.monotonic()

    def next_config(self, trial_id: str) -> dict[str, Any] | str | None:
        """The Tune config of the next task; None when there is none now, `Searcher.FINISHED` when none will come."""
        with self._keeping_errors():
            if self.error is None and not self._source.finished:
                task = self._next_task()
                if task is None:
                    return None
                running = self._running[trial_id] = _Running(task, self._free.pop(0))
                return _config(task, running.worker)
        return Searcher.FINISHED  # type: ignore[no-any-return]

    def _next_task(self) -> EvaluationTask | None:
        if any(running.task.alone for running in self._running.values()):
            return None
        task, self._held = self._held or self._source.next_task(self._free[0]), None
        if task is not None and task.alone and self._running:
            self._held, task = task, None
        if task is None and not (self._running or self._source.is_blocked or self._source.finished):
            raise RuntimeError("the work source has no task although none is out and it is not finished")
        return task

    def result(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Takes a Tune result, and what is sealed out of it; says whether the trial is to be stopped."""
        sealed = result.pop(SEALED).value
        running = self._running[trial_id]
        running.heard_at = time.monotonic()
        if isinstance(sealed, Outcome):
            running.outcome = sealed
            return False
        with self._keeping_errors():
            if self.error is not None or self._source.report(running.task.number, sealed):
                return False
            result["state"] = TrialState.STOPPED.value
            running.outcome = _stopped(sealed, running.worker, seconds=result[TIME_TOTAL_S])
        return True

    def ended(self, trial_id: str) -> None:
        """Takes the end of a Tune trial that gave all its results."""
        running = self._end(trial_id)
        if self.error is None and running is not None and running.outcome is not None:
            with self._keeping_errors():
                self._source.finish(running.task.number, running.outcome)

    def failed(self, trial_id: str, error: Exception) -> None:
        """Takes the end of a Tune trial by an error, which evaluators' exceptions never are."""
        running = self._end(trial_id)
        if self.error is not None or running is None:
            return
        number = running.task.number
        with self._keeping_errors():
            if running.outcome is not None:
                # Killed, so this is the error that was to come.
                self._source.finish(number, running.outcome)
            elif isinstance(error, RayActorError) and error.actor_init_failed:
                raise cannot_start(error) from error
            elif isinstance(error, RayTaskError):
                # A result that cannot be pickled.
                reason = " ".join(f"{type(error.cause).__name__}: {error.cause}".split())
                self._source.finish(number, Outcome(TrialState.FAILED, 0.0, running.worker, {}, reason))
            else:
                first_line = next(iter(str(error).splitlines()), type(error).__name__)
                self._source.lost(number, f"the worker {running.worker} died: {first_line}")

    def started(self, trial_id: str, actor: Any) -> None:
        """Remembers the worker of a Tune trial that begins."""
        self._actors.add(actor)
        running = self._running[trial_id]
        running.actor = actor
        running.heard_at = time.monotonic()

    def look(self) -> None:
        """Tells the work source that the run goes on, and kills workers that have shown nothing for too long."""
        now = time.monotonic()
        if self.error is not None or now - self._looked_at < LOOK_SECONDS:
            return
        self._looked_at = now
        with self._keeping_errors():
            self._source.heartbeat({})
        for running in self._running.values():
            silent_seconds = now - running.heard_at
            if running.outcome is None and silent_seconds > self._deadline_seconds:
                reason = f"killed: it showed nothing for {self._deadline_seconds:g} s"
                running.outcome = Outcome(TrialState.FAILED, silent_seconds, running.worker, {}, reason)
                ray.kill(running.actor)

    def kill_workers(self) -> None:
        """Ends the workers at once, whatever they do."""
        while self._actors:
            ray.kill(self._actors.pop())

    def _end(self, trial_id: str) -> _Running | None:
        running = self._running.pop(trial_id, None)
        if running is not None:
            self._free.append(running.worker)
        return running

    @contextmanager
    def _keeping_errors(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:  # noqa: BLE001 - raised again when Tune has ended
            self.error = error


def _config(task: EvaluationTask, worker: str) -> dict[str, Any]:
    """What Tune and its loggers see of a task."""
    return {
        "trial": task.number,
        "key": task.architecture.key,
        "genotype": {name: list(value) if isinstance(value, tuple) else value for name, value in task.genotype.values},
        "epochs": task.epochs,
        "seed": task.seed,
        "attempt": task.attempt,
        "worker": worker,
        TASK: Sealed(task, f"trial {task.number}"),
    }


def _stopped(measurement: Measurement, worker: str, *, seconds: float) -> Outcome:
    return stopped(Outcome(TrialState.COMPLETE, seconds, worker, {}), measurement)


class _Plugin:
    """A plug-in of Tune that is of use in this process only, though Tune writes it down so that it might restore it."""

    def __init__(self, bridge: Bridge) -> None:
        super().__init__()
        self._bridge = bridge

    def __getstate__(self) -> dict[str, Any]:
        return {}


class SourceSearcher(_Plugin, Searcher):  # type: ignore[misc] # ray has no types
    """Suggests the tasks of the work source."""

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        return self._bridge.next_config(trial_id)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        # What the error was only the callback learns, which comes next.
        if not error:
            self._bridge.ended(trial_id)

    def save(self, checkpoint_path: str) -> None:
        """Saves nothing: a search is continued from the database."""


class SourceStopper(_Plugin, Stopper):  # type: ignore[misc] # ray has no types
    """Reports measurements to the work source, before any logger sees them, and stops what it says."""

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return self._bridge.result(trial_id, result)

    def stop_all(self) -> bool:
        # Tune asks at every step.
        self._bridge.look()
        if self._bridge.error is None:
            return False
        # Tune would wait for the epochs under way.
        self._bridge.kill_workers()
        return True


class WorkerCallback(_Plugin, Callback):  # type: ignore[misc] # ray has no types
    """Watches workers start and die."""

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._bridge.started(trial.trial_id, trial.temporary_state.ray_actor)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._bridge.failed(trial.trial_id, _error(trial))


def _error(trial: Any) -> Exception:
    """What a Tune trial failed of; Tune keeps it in files."""
    if trial.pickled_error_file is not None:
        error = cloudpickle.loads(Path(trial.pickled_error_file).read_bytes())
        assert isinstance(error, Exception)
        return error
    return RuntimeError(Path(trial.error_file).read_text(encoding="utf-8"))
