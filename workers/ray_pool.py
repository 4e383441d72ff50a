"""The executor that trains on long-lived Ray actors, each with its data loaded once, without waiting for one another."""

import math
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import OutOfMemoryError, RayActorError, RayError, RayTaskError

from db.trial import Measurement, TrialState
from search_spaces.errors import UserError
from workers.attempt import stopped
from workers.gpu_memory import GpuMemory
from workers.ray_cluster import cluster
from workers.ray_connection import Connection
from workers.ray_executors import cannot_start, check_settings, gpu_count, gpu_share
from workers.ray_worker import News, Place, Worker
from workers.task import EvaluationTask, Evaluator, Outcome, WorkSource

START_SECONDS = 180.0
"""How long the first worker may take to start before the run is given up."""

LOOK_SECONDS = 0.5
"""How often deadlines are looked at while nothing happens."""

MOST_HELD = 4
"""How many candidates may wait for room on a GPU while smaller ones go before them."""


@dataclass(frozen=True, slots=True)
class RayPoolExecutor:
    """Keeps up to `workers` actors busy, each on one CPU and, where there are GPUs, a share of one.

    Measurements arrive while a task runs. A worker learns that it is to stop at the next stop point of its evaluator,
    which a training has before every batch; what it has done since is thrown away: the outcome is that of the
    measurement at which the source said stop, as with every executor. When a worker process dies its task is lost (the source decides whether it comes again) and a
    fresh worker takes its place, on any node that has room: nodes may go and come. A worker that has shown nothing for
    `deadline_seconds` is killed, and its task has failed.

    On GPUs `slots_per_gpu` workers share one. Without it the workers are spread evenly and a candidate is only begun
    where its predicted memory still fits (see `gpu_memory`).

    Runs in the Ray that this process is connected to, else in that of `connection`: by default one of its own that is
    gone when `run` ends.

    Raises:
        UserError: less than one worker or slot, no time at all, a Ray that cannot be used, or workers that cannot start.
        RuntimeError: the source has no task although none is out and it is not finished.
    """

    evaluator: Evaluator
    workers: int
    slots_per_gpu: int | None = None
    deadline_seconds: float = math.inf
    connection: Connection | None = None

    def __post_init__(self) -> None:
        check_settings(self.workers, self.slots_per_gpu, self.deadline_seconds)

    def run(self, source: WorkSource) -> None:
        with cluster(self.connection, cpus=self.workers):
            pool = _Pool(
                source,
                self.evaluator,
                gpu_share=gpu_share(self.workers, self.slots_per_gpu),
                goes_by_memory=gpu_count() > 0 and self.slots_per_gpu is None,
                deadline_seconds=self.deadline_seconds,
            )
            try:
                pool.run([f"ray{index}" for index in range(self.workers)])
            finally:
                pool.close()


_Actor: Any = ray.remote(num_cpus=1, max_restarts=0, max_task_retries=0, concurrency_groups={"control": 1})(Worker)


@dataclass(slots=True)
class _Running:
    """A task on a worker, when it last showed something, and the measurement at which it was stopped, if it was."""

    task: EvaluationTask
    worker: str
    heard_at: float
    predicted_bytes: int = 0
    stopped_at: Measurement | None = None


@dataclass(slots=True)
class _Pool:
    """The actors of one run, and what each of them does."""

    source: WorkSource
    evaluator: Evaluator
    gpu_share: float
    goes_by_memory: bool
    deadline_seconds: float
    actors: dict[str, Any] = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)
    """Where the workers run that have started."""
    idle: dict[str, None] = field(default_factory=dict)
    """Those of them that have no task, the longest idle first."""
    running: dict[str, _Running] = field(default_factory=dict)
    held: deque[EvaluationTask] = field(default_factory=deque)
    """Tasks that wait for room on a GPU."""
    calls: dict[Any, str] = field(default_factory=dict)
    """The worker of each call that has not come back: the first one tells its place, all others news."""
    memory: GpuMemory = field(default_factory=GpuMemory)
    began_at: float = field(default_factory=time.monotonic)
    looked_at: float = -math.inf

    def run(self, names: list[str]) -> None:
        for name in names:
            self._start(name)
        while not self.source.finished:
            self._hand_out()
            if self.running or len(self.places) < len(self.actors):
                self._take()
            elif self.source.is_blocked:
                time.sleep(LOOK_SECONDS)
                self._watch()
            elif not self.source.finished:
                raise RuntimeError("the work source has no task although none is out and it is not finished")

    def close(self) -> None:
        for actor in self.actors.values():
            ray.kill(actor)

    def _start(self, name: str) -> None:
        actor = _Actor.options(num_gpus=self.gpu_share).remote(self.evaluator, name)
        self.actors[name] = actor
        self.calls[actor.place.remote()] = name

    def _hand_out(self) -> None:
        for name in list(self.idle):
            task = self._task_for(name)
            if task is None and not self.held:
                return
            if task is not None:
                self._begin(task, name)

    def _task_for(self, name: str) -> EvaluationTask | None:
        """The next task that fits where this worker runs; others are held until there is room for them."""
        device = self.places[name].device
        for task in list(self.held):
            if self.memory.admits(device, self._predicted_bytes(task), alone=task.alone):
                self.held.remove(task)
                return task
            if task.alone:
                # Its turn comes when the GPU is empty, so nothing may begin there before it.
                return None
        while len(self.held) < MOST_HELD:
            drawn = self.source.next_task(name)
            if drawn is None:
                return None
            if self.memory.admits(device, self._predicted_bytes(drawn), alone=drawn.alone):
                return drawn
            self.held.append(drawn)
        return None

    def _predicted_bytes(self, task: EvaluationTask) -> int:
        """What a task is predicted to take of a GPU, where that decides."""
        return self.evaluator.device_bytes(task.architecture) if self.goes_by_memory else 0

    def _begin(self, task: EvaluationTask, name: str) -> None:
        del self.idle[name]
        running = _Running(task, name, time.monotonic(), self._predicted_bytes(task))
        self.memory.begin(self.places[name].device, task.number, running.predicted_bytes, alone=task.alone)
        self.running[name] = running
        self.calls[self.actors[name].fetch.remote(task)] = name

    def _take(self) -> None:
        """Waits until a worker has started, has news or is gone, and passes on what all of them have by then."""
        ready, others = ray.wait(list(self.calls), num_returns=1, timeout=LOOK_SECONDS)
        if not ready:
            self._watch()
            return
        if others:
            # One after the other would let those at the end of the list wait.
            ready += ray.wait(others, num_returns=len(others), timeout=0)[0]
        for call in ready:
            name = self.calls.pop(call)
            try:
                found = ray.get(call)
            except RayTaskError as error:
                # Evaluators' exceptions never come this way: what did is a task or result that cannot be pickled.
                reason = " ".join(f"{type(error.cause).__name__}: {error.cause}".split())
                if name not in self.running:
                    raise UserError(f"workers cannot start: {reason}; mend that on every node") from error
                self._fail(name, reason)
            except RayError as error:
                self._lose(name, error)
            else:
                if isinstance(found, Place):
                    self._place(name, found)
                else:
                    self._pass_on(name, found)
        self._watch()

    def _place(self, name: str, place: Place) -> None:
        self.places[name] = place
        self.idle[name] = None
        self.memory.add_worker(name, place.device, place.memory_bytes)

    def _pass_on(self, name: str, news: list[News]) -> None:
        running = self.running[name]
        running.heard_at = time.monotonic()
        for one in news:
            # What a task that has failed here still had to tell is nobody's.
            if one.number != running.task.number:
                continue
            if isinstance(one.result, Measurement):
                self._report(running, one.result)
            else:
                self._finish(running, one.result)
                return
        self.calls[self.actors[name].fetch.remote(None)] = name

    def _report(self, running: _Running, measurement: Measurement) -> None:
        if running.stopped_at is None and not self.source.report(running.task.number, measurement):
            running.stopped_at = measurement
            self._stop(running)

    def _finish(self, running: _Running, result: Outcome) -> None:
        self._end(running)
        if result.out_of_memory:
            self.memory.ran_out()
        elif result.peak_device_bytes is not None:
            self.memory.learn(running.predicted_bytes, result.peak_device_bytes)
        outcome = stopped(result, running.stopped_at) if running.stopped_at else result
        self.source.finish(running.task.number, outcome)

    def _fail(self, name: str, reason: str) -> None:
        """Ends the task of a worker that is well, but of which nothing more is wanted."""
        running = self.running[name]
        self._stop(running)
        self._end(running)
        self.source.finish(running.task.number, Outcome(TrialState.FAILED, 0.0, name, {}, reason))

    def _stop(self, running: _Running) -> None:
        self.actors[running.worker].stop.options(concurrency_group="control").remote(running.task.number)

    def _end(self, running: _Running) -> None:
        """The worker of a task has nothing to do any more, and holds no memory for it."""
        del self.running[running.worker]
        self.idle[running.worker] = None
        self._free(running)

    def _free(self, running: _Running) -> None:
        self.memory.end(self.places[running.worker].device, running.task.number)

    def _lose(self, name: str, error: RayError) -> None:
        """A worker is dead: another one starts, and what it was at is lost."""
        if isinstance(error, RayActorError) and error.actor_init_failed:
            raise cannot_start(error) from error
        running = self._replace(name)
        if running is not None:
            reason = f"the worker {name} died: {_first_line(error)}"
            self.source.lost(running.task.number, reason, out_of_memory=isinstance(error, OutOfMemoryError))

    def _replace(self, name: str) -> _Running | None:
        """Starts a worker in the place of one that is dead or shall be; returns what that was at."""
        ray.kill(self.actors[name])
        running = self.running.pop(name, None)
        if running is not None:
            self._free(running)
        self.places.pop(name, None)
        self.idle.pop(name, None)
        self.memory.remove_worker(name)
        self.calls = {call: other for call, other in self.calls.items() if other != name}
        self._start(name)
        return running

    def _watch(self) -> None:
        """Kills workers that have shown nothing for too long, and gives up where none has ever started."""
        now = time.monotonic()
        if now - self.looked_at < LOOK_SECONDS:
            return
        self.looked_at = now
        self.source.heartbeat(self.memory.usage)
        if not self.places and now - self.began_at > START_SECONDS:
            free = ray.available_resources()
            raise UserError(
                f"no worker has started within {START_SECONDS:g} s; this Ray has {free.get('CPU', 0):g} CPUs and "
                f"{free.get('GPU', 0):g} GPUs free: end what holds the others, or ask for fewer workers"
            )
        for running in [each for each in self.running.values() if now - each.heard_at > self.deadline_seconds]:
            self._replace(running.worker)
            reason = f"killed: it showed nothing for {self.deadline_seconds:g} s"
            failed = Outcome(TrialState.FAILED, now - running.heard_at, running.worker, {}, reason)
            outcome = stopped(failed, running.stopped_at) if running.stopped_at else failed
            self.source.finish(running.task.number, outcome)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
