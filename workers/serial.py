"""The executor that evaluates in this process, one task after the other: for tables, proxies, tests and debugging."""

import time
from dataclasses import dataclass

from workers.attempt import attempt
from workers.stopping import watch
from workers.task import EvaluationTask, Evaluator, Outcome, WorkSource

WORKER = "serial"

HEARTBEAT_SECONDS = 1.0

BLOCKED_SECONDS = 0.5
"""How long to wait before a source that has work, but not now, is asked again."""


@dataclass(frozen=True, slots=True)
class SerialExecutor:
    """Runs every task of a source here and now.

    Raises:
        RuntimeError: the source has no task although none is out and it is not finished.
    """

    evaluator: Evaluator

    @property
    def workers(self) -> int:
        return 1

    def run(self, source: WorkSource) -> None:
        beat = _Heartbeat(source)
        # Stop points come with every batch, so that a long epoch is no silence.
        before = watch(beat)
        try:
            self._run(source, beat)
        finally:
            watch(before)

    def _run(self, source: WorkSource, beat: "_Heartbeat") -> None:
        while not source.finished:
            task = source.next_task(WORKER)
            if task is not None:
                source.finish(task.number, self._outcome(task, source))
                beat()
            elif source.is_blocked:
                time.sleep(BLOCKED_SECONDS)
                beat()
            elif not source.finished:
                raise RuntimeError("the work source has no task although none is out and it is not finished")

    def _outcome(self, task: EvaluationTask, source: WorkSource) -> Outcome:
        steps = attempt(self.evaluator, task, worker=WORKER)
        try:
            measurement = next(steps)
            while True:
                measurement = steps.send(source.report(task.number, measurement))
        except StopIteration as end:
            outcome: Outcome = end.value
            return outcome


class _Heartbeat:
    """Tells a source now and then that its work goes on; as a question whether to stop, it says no."""

    def __init__(self, source: WorkSource) -> None:
        self._source = source
        self._last = time.monotonic()

    def __call__(self) -> bool:
        if time.monotonic() - self._last >= HEARTBEAT_SECONDS:
            self._last = time.monotonic()
            self._source.heartbeat({})
        return False
