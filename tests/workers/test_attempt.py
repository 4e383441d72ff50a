from collections.abc import Generator

import pytest

from db.trial import Measurement, TrialState
from tests.contracts.executor import ToyEvaluator, tasks
from workers.attempt import attempt
from workers.task import Evaluation, EvaluationTask


class Interrupted(ToyEvaluator):
    def evaluate(self, task: EvaluationTask) -> Generator[Measurement, None, Evaluation]:
        raise KeyboardInterrupt
        yield


class Closing(ToyEvaluator):
    """Tells through the class whether its generator was closed."""

    closed = False

    def evaluate(self, task: EvaluationTask) -> Generator[Measurement, None, Evaluation]:
        try:
            yield Measurement(1, {"score": 1.0})
            pytest.fail("went on after it was stopped")
        finally:
            Closing.closed = True


def test_an_interruption_is_not_a_failure_of_the_task() -> None:
    with pytest.raises(KeyboardInterrupt):
        next(attempt(Interrupted(), tasks(1)[0], worker="w"))


def test_stopping_closes_the_evaluation() -> None:
    steps = attempt(Closing(), tasks(1)[0], worker="w")
    measurement = next(steps)
    with pytest.raises(StopIteration) as end:
        steps.send(False)
    assert Closing.closed
    assert end.value.value.state is TrialState.COMPLETE
    assert end.value.value.values == measurement.values


def test_a_reason_is_one_line_that_begins_with_the_type_of_the_exception() -> None:
    steps = attempt(ToyEvaluator(fails=frozenset({0})), tasks(1)[0], worker="w")
    next(steps)
    with pytest.raises(StopIteration) as end:
        steps.send(True)
    assert end.value.value.reason == "LookupError: no such thing"
    assert end.value.value.worker == "w"
