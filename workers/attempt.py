"""One attempt at a task: runs the evaluator and turns whatever becomes of it into an outcome."""

import time
from collections.abc import Generator
from dataclasses import replace

from db.trial import Measurement, TrialState
from workers.stopping import Stopped
from workers.task import Diverged, EvaluationTask, Evaluator, Outcome


def attempt(evaluator: Evaluator, task: EvaluationTask, *, worker: str) -> Generator[Measurement, bool, Outcome]:
    """Yields every measurement, is sent whether to go on, and returns the outcome.

    An evaluator that raises `Diverged` makes the outcome diverged, one that raises anything else makes it failed with
    the exception as the reason. `KeyboardInterrupt` and its like pass through: they concern the worker, not the task.
    A task that is told to stop is complete, as `stopped` says; at a stop point, without values. An attempt that ends leaves no checkpoint; one that is
    interrupted may, and one that ran out of memory with others beside it, because its task comes again.
    """
    outcome = yield from _attempt(evaluator, task, worker=worker)
    comes_again = outcome.out_of_memory and not task.alone
    if task.checkpoints is not None and not comes_again:
        from workers.checkpoint import Checkpoints

        Checkpoints(task, evaluator.identity).discard()
    return outcome


def _attempt(evaluator: Evaluator, task: EvaluationTask, *, worker: str) -> Generator[Measurement, bool, Outcome]:
    start = time.perf_counter()

    def outcome(state: TrialState, *, reason: str | None = None) -> Outcome:
        return Outcome(state, time.perf_counter() - start, worker, values={}, reason=reason)

    try:
        steps = evaluator.evaluate(task)
        while True:
            try:
                measurement = next(steps)
            except StopIteration as end:
                evaluation = end.value
                break
            if not (yield measurement):
                steps.close()
                return stopped(outcome(TrialState.COMPLETE), measurement)
    except Stopped:
        return outcome(TrialState.COMPLETE)
    except Diverged as error:
        return outcome(TrialState.DIVERGED, reason=_one_line(str(error)))
    except Exception as error:  # noqa: BLE001 - a task may fail in any way, and must not take its worker along
        failed = outcome(TrialState.FAILED, reason=_one_line(f"{type(error).__name__}: {error}"))
        return replace(failed, out_of_memory=is_out_of_memory(error))
    ended = outcome(TrialState.COMPLETE, reason=evaluation.note)
    return replace(ended, values=evaluation.values, weights=evaluation.weights)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that host or device had no memory left; torch is not loaded for asking."""
    # torch.OutOfMemoryError is told by its name, and its CPU allocator raises a plain RuntimeError.
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(names & {"MemoryError", "OutOfMemoryError"}) or "can't allocate memory" in str(error)


def stopped(outcome: Outcome, measurement: Measurement) -> Outcome:
    """The outcome of a task that its source stopped at `measurement`: complete, with those values and no weights."""
    return replace(outcome, state=TrialState.COMPLETE, values=measurement.values, reason=None, weights=None)


def _one_line(text: str) -> str:
    return " ".join(text.split())
