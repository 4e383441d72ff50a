"""The session: budgets, replays, twins, constraints, lost workers and kept weights, with a real store and instant work."""

import random
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

import search_spaces
from db.store import Store
from db.trial import Measurement, Search, Trial, TrialState
from nas.controllers import registry
from nas.objectives import Constraint, Direction, Objective
from nas.session import MAX_ATTEMPTS, SearchPlan, Session
from nas.weights import WeightsStore
from search_spaces.errors import UserError
from search_spaces.space import SearchSpace
from workers.serial import SerialExecutor
from workers.task import Evaluation, EvaluationTask, Outcome

ACCURACY = Objective("val_accuracy", Direction.MAXIMISE)
MACS = Objective("macs", Direction.MINIMISE)
BUDGET = 14


def accuracy_of(key: str) -> float:
    return random.Random(key).random()


@dataclass
class Instant:
    """An evaluator that takes no time; `before` is called with each task, and may raise."""

    before: Callable[[EvaluationTask], None] = lambda task: None
    metrics: tuple[str, ...] = ("val_accuracy",)
    identity: str = "instant"

    def evaluate(self, task: EvaluationTask) -> Generator[Measurement, None, Evaluation]:
        self.before(task)
        accuracy = accuracy_of(task.architecture.key)
        yield Measurement(1, {"val_accuracy": accuracy})
        return Evaluation({"val_accuracy": accuracy}, weights=task.architecture.key.encode())


@dataclass
class Bench:
    """A place for searches: a database, a weights directory, and what starts a session there."""

    directory: Path
    space: SearchSpace
    objectives: tuple[Objective, ...] = (ACCURACY,)
    constraints: tuple[Constraint, ...] = ()
    controller: str = "random"
    budget: int = BUDGET

    def __post_init__(self) -> None:
        self.store = Store.open(str(self.directory / "nas.db"), mode="create")
        self.weights = WeightsStore(self.directory / "weights")

    def create(self, name: str = "s") -> None:
        self.store.create_search(Search(name, "{}", self.space.name, self.controller, "toy", 0, self.budget))

    def session(self, name: str = "s") -> Session:
        plan = SearchPlan(
            name=name,
            space=self.space.name,
            data="toy",
            budget=self.budget,
            epochs=1,
            seed=7,
            training_seed=0,
            objectives=self.objectives,
            constraints=self.constraints,
            evaluation_key="instant",
        )
        controller = registry.load(self.controller, self.space, self.objectives, seed=7)
        return Session(plan, controller, self.store, self.weights)

    def run(self, name: str = "s", before: Callable[[EvaluationTask], None] = lambda task: None) -> list[Trial]:
        SerialExecutor(Instant(before)).run(self.session(name))
        return self.store.trials(name)

    def fresh(self, directory: str) -> "Bench":
        path = self.directory / directory
        path.mkdir()
        return replace(self, directory=path)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path, search_spaces.load("nasbench201", input_shape=(1, 8, 8), cells_per_stage=1))
    yield made
    made.store.close()


def essence(trials: list[Trial]) -> list[tuple[Any, ...]]:
    """What must be equal between two runs of one search: everything but clocks."""
    return [
        (t.proposal, t.number, t.state, t.genotype, t.key, t.parent, t.mutation, t.values, t.information, t.observed)
        for t in trials
    ]


def test_a_search_ends_with_its_exact_budget(bench: Bench) -> None:
    bench.create()
    trials = bench.run()
    assert [trial.number for trial in trials] == list(range(BUDGET))
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}
    assert [trial.observed for trial in bench.store.observed("s")] == list(range(BUDGET))
    assert all(trial.values["val_accuracy"] == accuracy_of(trial.key) for trial in trials)
    assert bench.session().finished


@pytest.mark.parametrize("controller", ["random", "evolution", "reinforce", "optuna:tpe", "optuna:nsga2"])
def test_interrupted_and_resumed_is_trial_for_trial_the_uninterrupted_search(bench: Bench, controller: str) -> None:
    bench = replace(bench, controller=controller, objectives=(ACCURACY, MACS), budget=24)
    whole = bench.fresh("whole")
    whole.create()
    expected = essence(whole.run())
    interrupted = bench.fresh("interrupted")
    interrupted.create()
    evaluated: list[str] = []
    fuse = iter([3, 1, 4, 1, 5, 10**6])

    def burn_out() -> Callable[[EvaluationTask], None]:
        left = next(fuse)

        def before(task: EvaluationTask) -> None:
            nonlocal left
            if left == 0:
                raise KeyboardInterrupt
            left -= 1
            evaluated.append(task.architecture.key)

        return before

    stops = 0
    while True:
        try:
            trials = interrupted.run(before=burn_out())
            break
        except KeyboardInterrupt:
            stops += 1
            interrupted.store.return_to_waiting("s")
    assert stops == 5
    assert essence(trials) == expected
    assert len(evaluated) == len(set(evaluated)), "a finished trial was run again"
    whole.store.close()
    interrupted.store.close()


def test_the_same_seed_gives_the_same_search_and_another_seed_another(bench: Bench) -> None:
    first, second = bench.fresh("first"), bench.fresh("second")
    for place in (first, second):
        place.create()
        place.run()
    assert essence(first.store.trials("s")) == essence(second.store.trials("s"))
    keys = [trial.key for trial in first.store.trials("s")]
    assert len(set(keys)) > 1
    first.store.close()
    second.store.close()


def test_what_is_known_is_not_evaluated_again(bench: Bench) -> None:
    bench.create("first")
    before: list[str] = []
    first = bench.run("first", before=lambda task: before.append(task.architecture.key))
    bench.create("second")
    again: list[str] = []
    second = bench.run("second", before=lambda task: again.append(task.architecture.key))
    assert len(before) == len({trial.key for trial in first})
    assert not again
    assert [trial.key for trial in second] == [trial.key for trial in first]
    assert [trial.values for trial in second] == [trial.values for trial in first]
    assert {trial.attempts for trial in second} == {0}
    assert {trial.reused_from[0] for trial in second if trial.reused_from} == {"first"}


def test_a_twin_of_what_is_running_waits_for_its_result(tmp_path: Path) -> None:
    # Five genotypes only: with five tasks out at once, twins are certain.
    space = search_spaces.load("nasbench201", input_shape=(1, 8, 8), cells_per_stage=1)
    bench = Bench(tmp_path, space, budget=6, controller="evolution")
    bench.create()
    session = bench.session()
    proposal = session._controller.propose(0, rng=random.Random(0))
    session._controller.propose = lambda number, *, rng: proposal  # type: ignore[method-assign]
    task = session.next_task("one")
    assert task is not None
    assert session.next_task("two") is None
    assert not session.finished
    session.finish(task.number, Outcome(TrialState.COMPLETE, 1.0, "one", {"val_accuracy": 0.5}))
    assert session.next_task("two") is None
    assert session.finished
    trials = bench.store.trials("s")
    assert [trial.attempts for trial in trials] == [1, 0, 0, 0, 0, 0]
    assert [trial.reused_from for trial in trials] == [None] + [("s", 0)] * 5
    assert [trial.values["val_accuracy"] for trial in trials] == [0.5] * 6
    bench.store.close()


def test_constraints_hold_for_every_trial_and_rejections_are_recorded(bench: Bench) -> None:
    bound = Constraint("macs", "<=", 1_500_000)
    bench = replace(bench.fresh("c"), constraints=(bound,))
    bench.create()
    trials = bench.run()
    assert len(trials) == BUDGET
    assert all(trial.values["macs"] <= 1_500_000 for trial in trials)
    everything = bench.store.trials("s", include_rejected=True)
    rejected = [trial for trial in everything if trial.state is TrialState.REJECTED]
    assert rejected
    assert all(trial.values["macs"] > 1_500_000 and "macs<=1,500,000" in str(trial.reason) for trial in rejected)
    assert [trial.proposal for trial in everything] == list(range(len(everything)))
    assert len(bench.store.observed("s")) == len(everything)
    bench.store.close()


def test_a_controller_that_only_breaks_the_constraints_ends_the_search_with_one_line(bench: Bench) -> None:
    bench = replace(bench.fresh("c"), constraints=(Constraint("macs", ">=", 10**11),))
    bench.create()
    with pytest.raises(UserError, match=r"all broke a constraint .*macs .* breaks macs>=100,000,000,000"):
        bench.run()
    bench.store.close()


def test_a_lost_worker_costs_its_attempt_and_the_third_the_trial(bench: Bench) -> None:
    bench.create()
    session = bench.session()
    task = session.next_task("w")
    assert task is not None
    for attempt in range(1, MAX_ATTEMPTS):
        session.lost(task.number, "killed")
        again = session.next_task("w")
        assert again is not None
        assert (again.number, again.attempt) == (task.number, attempt + 1)
        assert again.architecture == task.architecture
    session.lost(task.number, "killed by signal 9")
    trial = bench.store.trial("s", task.number)
    assert (trial.state, trial.attempts) == (TrialState.FAILED, MAX_ATTEMPTS)
    assert "killed by signal 9" in str(trial.reason)
    SerialExecutor(Instant()).run(session)
    assert sum(trial.state is TrialState.COMPLETE for trial in bench.store.trials("s")) == BUDGET - 1


def test_only_the_weights_on_the_pareto_front_are_kept(bench: Bench) -> None:
    bench = replace(bench.fresh("w"), objectives=(ACCURACY, MACS))
    bench.create()
    trials = bench.run()
    kept = {trial.weights_sha256 for trial in trials if trial.weights_sha256}
    assert {path.stem for path in bench.weights.directory.iterdir()} == kept
    evaluated = [trial for trial in trials if trial.reused_from is None]
    for trial in evaluated:
        beaten = any(
            other.values["val_accuracy"] >= trial.values["val_accuracy"]
            and other.values["macs"] <= trial.values["macs"]
            and other.values != trial.values
            for other in evaluated
        )
        assert (trial.weights_sha256 is None) == beaten
        if trial.weights_sha256:
            assert bench.weights.load(trial.weights_sha256) == trial.key.encode()
    bench.store.close()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_objective_that_is_not_finite_is_a_divergence(bench: Bench, value: float) -> None:
    bench.create()
    session = bench.session()
    task = session.next_task("w")
    assert task is not None
    session.finish(task.number, Outcome(TrialState.COMPLETE, 1.0, "w", {"val_accuracy": value}))
    trial = bench.store.trial("s", task.number)
    assert trial.state is TrialState.DIVERGED
    assert "val_accuracy" in str(trial.reason)


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    weights = WeightsStore(tmp_path)
    digest = weights.keep(b"tensors")
    assert weights.load(digest) == b"tensors"
    weights.path(digest).write_bytes(b"tensor")
    with pytest.raises(UserError, match="damaged"):
        weights.load(digest)
