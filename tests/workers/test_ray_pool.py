import signal
from collections.abc import Iterator

import pytest

from search_spaces.errors import UserError
from tests.contracts.executor import ExecutorContract, ListSource, ToyEvaluator, tasks
from workers.ray_cluster import local_cluster
from workers.ray_pool import RayPoolExecutor
from workers.serial import SerialExecutor


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    handler = signal.getsignal(signal.SIGTERM)
    with local_cluster(cpus=2):
        assert signal.getsignal(signal.SIGTERM) is handler
        yield


class TestRayPoolExecutor(ExecutorContract):
    def make(self, evaluator: ToyEvaluator) -> RayPoolExecutor:
        return RayPoolExecutor(evaluator, workers=2)


def test_the_same_tasks_give_the_same_outcomes_as_one_after_the_other() -> None:
    by_pool, by_serial = ListSource(tasks(5)), ListSource(tasks(5))
    evaluator = ToyEvaluator(fails=frozenset({2}), diverges=frozenset({3}))
    RayPoolExecutor(evaluator, workers=2).run(by_pool)
    SerialExecutor(evaluator).run(by_serial)
    for number in range(5):
        one, other = by_pool.outcomes[number], by_serial.outcomes[number]
        assert (one.state, one.values, one.reason, one.weights) == (
            other.state,
            other.values,
            other.reason,
            other.weights,
        )
        assert by_pool.reports[number] == by_serial.reports[number]


def test_a_worker_that_is_killed_loses_its_own_attempt_only() -> None:
    source = ListSource(tasks(6))
    RayPoolExecutor(ToyEvaluator(dies=frozenset({1})), workers=2).run(source)
    assert [number for number, _ in source.losses] == [1]
    assert "died" in source.losses[0][1]
    assert sorted(source.outcomes) == list(range(6))
    assert {outcome.values["score"] for outcome in source.outcomes.values()} == {3.0, 6.0, 9.0, 12.0, 15.0, 18.0}


def test_a_task_that_always_kills_its_worker_is_lost_as_often_as_it_is_handed_out() -> None:
    source = ListSource(tasks(3), max_attempts=2)
    RayPoolExecutor(ToyEvaluator(always_dies=frozenset({0})), workers=2).run(source)
    assert [number for number, _ in source.losses] == [0, 0]
    assert sorted(source.outcomes) == [1, 2]


def test_more_workers_than_cpus_are_refused() -> None:
    with pytest.raises(UserError, match="3 workers need as many CPUs, this Ray has 2"):
        RayPoolExecutor(ToyEvaluator(), workers=3).run(ListSource(tasks(1)))


def test_no_workers_are_refused() -> None:
    with pytest.raises(UserError, match="at least 1"):
        RayPoolExecutor(ToyEvaluator(), workers=0)
