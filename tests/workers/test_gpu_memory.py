"""Candidates share GPUs by predicted memory: laws of the ledger, and a pool whose workers say that they have a GPU."""

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import ray
from hypothesis import given
from hypothesis import strategies as st

from db.trial import Measurement, TrialState
from search_spaces.architecture import Architecture
from tests.contracts.executor import ListSource, ToyEvaluator, tasks
from workers.gpu_memory import CONTEXT_BYTES, GpuMemory
from workers.ray_cluster import local_cluster
from workers.ray_pool import _Pool
from workers.ray_worker import Place, Worker
from workers.task import Outcome

GIB = 2**30


def ledger(*workers: str, size_bytes: int = 16 * GIB, device: str = "g") -> GpuMemory:
    memory = GpuMemory()
    for worker in workers:
        memory.add_worker(worker, device, size_bytes)
    return memory


@given(st.lists(st.integers(1, 20 * GIB), max_size=30), st.integers(1, 8))
def test_what_is_admitted_beside_others_fits_and_only_one_that_is_too_large_is_ever_alone(
    predictions: list[int], workers: int
) -> None:
    memory = ledger(*(f"w{index}" for index in range(workers)))
    running: dict[int, int] = {}
    for number, prediction in enumerate(predictions):
        if len(running) < workers and memory.admits("g", prediction):
            memory.begin("g", number, prediction)
            running[number] = prediction
        used, size = memory.usage["g"]
        assert used == workers * CONTEXT_BYTES + sum(running.values())
        assert used <= size or len(running) == 1
        if len(running) == workers:
            memory.end("g", first := next(iter(running)))
            del running[first]
    for number in running:
        memory.end("g", number)
    assert memory.usage["g"][0] == workers * CONTEXT_BYTES


def test_who_is_to_be_alone_is_alone() -> None:
    memory = ledger("a", "b")
    memory.begin("g", 1, GIB)
    assert not memory.admits("g", GIB, alone=True)
    memory.end("g", 1)
    assert memory.admits("g", GIB, alone=True)
    memory.begin("g", 2, GIB, alone=True)
    assert not memory.admits("g", 1)
    memory.end("g", 2)
    assert memory.admits("g", 1)


def test_what_was_measured_corrects_the_prediction_and_running_out_of_memory_more() -> None:
    memory = ledger("a", "b", "c")
    memory.learn(GIB, 2 * GIB)
    assert memory.correction == pytest.approx(2.0)
    memory.begin("g", 1, 5 * GIB)
    assert not memory.admits("g", 5 * GIB)
    assert memory.admits("g", 2 * GIB)
    memory.ran_out()
    assert memory.correction == pytest.approx(3.0)
    for _ in range(60):
        memory.learn(GIB, GIB)
    assert memory.correction == pytest.approx(1.0), "what is long ago is forgotten"


def test_a_worker_that_is_gone_holds_no_context() -> None:
    memory = ledger("a", "b")
    memory.remove_worker("b")
    assert memory.usage["g"] == (CONTEXT_BYTES, 16 * GIB)


class Equipped(Worker):
    """Says that it has a share of a GPU of 10 GiB, as all workers here."""

    def place(self) -> Place:
        return Place("0123456789", "0", 10 * GIB)


_Equipped: Any = ray.remote(num_cpus=1, max_restarts=0, concurrency_groups={"control": 1})(Equipped)


@dataclass(slots=True)
class EquippedPool(_Pool):
    def _start(self, name: str) -> None:
        self.actors[name] = _Equipped.remote(self.evaluator, name)
        self.calls[self.actors[name].place.remote()] = name


@dataclass(frozen=True, slots=True)
class Hungry(ToyEvaluator):
    """Takes a number of GiB that is its number of channels."""

    def device_bytes(self, architecture: Architecture) -> int:
        channels: int = architecture.graph.nodes[1].operation.out_channels  # type: ignore[attr-defined]
        return channels * GIB


@dataclass(slots=True)
class Weighing(ListSource):
    """Keeps what was out at the same time."""

    together: list[frozenset[int]] = field(default_factory=list)

    def report(self, number: int, measurement: Measurement) -> bool:
        # What is held for want of room is out of the source, but begins to show something only when it has a worker.
        self.together.append(frozenset(self.showing | {number}))
        self.showing.add(number)
        return ListSource.report(self, number, measurement)

    def finish(self, number: int, outcome: Outcome) -> None:
        self.showing.discard(number)
        ListSource.finish(self, number, outcome)

    showing: set[int] = field(default_factory=set)


@pytest.mark.xdist_group("ray")
def test_a_pool_begins_on_a_gpu_what_fits_and_lets_the_smaller_go_first() -> None:
    # Of 1 to 6 GiB each, on one GPU of 10 GiB with three workers.
    source = Weighing([*tasks(6, epochs=4), replace(tasks(1, epochs=4)[0], number=6, alone=True)])
    with local_cluster(cpus=3):
        pool = EquippedPool(
            source, Hungry(epoch_seconds=0.1), gpu_share=0.0, goes_by_memory=True, deadline_seconds=100.0
        )
        try:
            pool.run(["a", "b", "c"])
        finally:
            pool.close()
    assert sorted(source.outcomes) == list(range(7))
    assert {outcome.state for outcome in source.outcomes.values()} == {TrialState.COMPLETE}
    room = 10 * GIB - 3 * CONTEXT_BYTES
    assert all(sum((number + 1) * GIB for number in group) <= room for group in source.together if 6 not in group)
    assert max(len(group) for group in source.together) >= 2, "nothing ran beside anything"
    assert {group for group in source.together if 6 in group} == {frozenset({6})}
    assert source.devices == {"01234567/0": (3 * CONTEXT_BYTES, 10 * GIB)} or source.devices
