"""How idle a thousand workers are that one driver feeds, whose trials last a minute.

    python benchmarks/many_workers.py [--workers 1000] [--seconds 60] [--minutes 3] [--json FILE]

Session, database, pool and the calls to Ray are real; only the workers are simulated: each is a sleep in a Ray actor
that stands for all of them, for no machine at hand has a thousand cores. A worker is idle from the moment in which its
trial has ended until the next one has arrived at it. The first round, in which all wait at once, is told apart.
"""

import argparse
import asyncio
import json
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import trivial
from machine import machine_line

from db.store import Store
from db.trial import Measurement, Search, TrialState
from nas.controllers import registry
from nas.objectives import Direction, Objective
from nas.search_plan import SearchPlan
from nas.session import Session
from nas.weights import WeightsStore
from workers.ray_cluster import local_cluster
from workers.ray_pool import _Pool
from workers.ray_worker import News, Place
from workers.task import EvaluationTask, Outcome

SCORE = Objective("score", Direction.MAXIMISE)


class Simulated:
    """Many workers in one process: each evaluates by sleeping."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._free_since: dict[str, float] = {}
        self._idle: list[tuple[float, float]] = []

    async def place(self, name: str) -> Place:
        """Every worker is at once where it is."""
        return Place("simulated")

    async def fetch(self, name: str, task: EvaluationTask) -> list[News]:
        """One trial, with one measurement on the way."""
        now = time.monotonic()
        if name in self._free_since:
            self._idle.append((now, now - self._free_since[name]))
        await asyncio.sleep(self._seconds)
        value = trivial.objective([int(str(answer)) for _, answer in task.genotype.values])
        outcome = Outcome(TrialState.COMPLETE, self._seconds, name, {"score": value})
        self._free_since[name] = time.monotonic()
        return [News(task.number, Measurement(1, {"score": value})), News(task.number, outcome)]

    async def idle(self) -> list[tuple[float, float]]:
        """When a worker got its next trial, and for how many seconds it had waited."""
        return self._idle


@dataclass(frozen=True, slots=True)
class Call:
    """A method of one of the simulated workers, called as an actor's is."""

    method: Any
    name: str

    def remote(self, *arguments: Any) -> Any:
        """Calls it."""
        return self.method.remote(self.name, *arguments)


@dataclass(frozen=True, slots=True)
class Handle:
    """One of the simulated workers, as the pool sees an actor."""

    place: Call
    fetch: Call


@dataclass(slots=True)
class SimulatedPool(_Pool):
    """The pool as it is, with workers that are parts of one actor."""

    host: Any = None

    def _start(self, name: str) -> None:
        self.actors[name] = Handle(Call(self.host.place, name), Call(self.host.fetch, name))
        self.calls[self.actors[name].place.remote()] = name


def main() -> None:
    """Runs the search and prints how idle the workers were."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=1_000)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    where = machine_line()
    print(where, flush=True)
    rounds = max(2, round(60 * arguments.minutes / arguments.seconds))
    trials = rounds * arguments.workers
    with tempfile.TemporaryDirectory() as directory, local_cluster(cpus=1):
        host = ray.remote(num_cpus=0, max_concurrency=2 * arguments.workers + 10)(Simulated).remote(arguments.seconds)
        with Store.open(f"{directory}/nas.db", mode="create") as store:
            store.create_search(Search("s", "{}", "widths", "random", "none", 0, trials))
            plan = SearchPlan(
                name="s",
                space="widths",
                data="none",
                budget=trials,
                epochs=1,
                seed=0,
                training_seed=0,
                objectives=(SCORE,),
                constraints=(),
                evaluation_key="trivial",
            )
            space = trivial.Widths()
            controller = registry.load("random", space, (SCORE,), seed=0)
            session = Session(plan, controller, store, WeightsStore(Path(directory) / "weights"))
            pool = SimulatedPool(
                session,
                trivial.TrivialEvaluator(),
                gpu_share=0.0,
                goes_by_memory=False,
                deadline_seconds=10 * arguments.seconds,
                host=host,
            )
            begun = time.monotonic()
            pool.run([f"simulated{index}" for index in range(arguments.workers)])
            seconds = time.monotonic() - begun
        idle = sorted(ray.get(host.idle.remote()))
    waits = [wait for _, wait in idle]
    share = sum(waits) / (sum(waits) + arguments.seconds * len(waits))
    found = {
        "workers": arguments.workers,
        "trials": trials,
        "idle_share": share,
        "longest_wait_seconds": max(waits),
        "median_wait_seconds": sorted(waits)[len(waits) // 2],
        "whole_seconds": seconds,
        "whole_idle_share": 1 - rounds * arguments.seconds / seconds,
    }
    print(
        f"{arguments.workers} workers, {trials} trials of {arguments.seconds:g} s: idle {share:.1%} between two trials "
        f"(median {found['median_wait_seconds']:.2f} s, longest {max(waits):.2f} s); "
        f"{seconds:.0f} s in all, {found['whole_idle_share']:.1%} of which beyond {rounds} rounds"
    )
    if arguments.json is not None:
        arguments.json.write_text(json.dumps({"where": where, **found}))


if __name__ == "__main__":
    main()
