"""The session: budgets, replays, twins, constraints, lost workers and kept weights, with a real store and instant work."""

import itertools
import random
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

import search_spaces
from analysis import analyze
from db.store import Store
from db.trial import Measurement, Search, Trial, TrialState
from nas.controllers import registry
from nas.controllers.controller import Controller, Proposal
from nas.objectives import Constraint, Direction, Objective
from nas.progress import Progress
from nas.search_plan import SearchPlan
from nas.session import MAX_ATTEMPTS, Session
from nas.weights import WeightsStore
from search_spaces.architecture import Architecture
from search_spaces.errors import Conflict, UserError
from search_spaces.space import SearchSpace
from search_spaces.spaces.nasbench201 import NasBench201
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

    def session(self, name: str = "s", listener: Callable[[Progress], None] = lambda progress: None) -> Session:
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
        return Session(plan, controller, self.store, self.weights, listener=listener)

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


def test_a_clock_that_jumps_changes_nothing_but_the_moments_that_are_recorded(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.create()
    expected = essence(bench.run())
    jumping = bench.fresh("jumping")
    jumping.create()
    jumps = itertools.cycle([0.0, -86_400.0, 3e7, -1e9, 5.0])
    monkeypatch.setattr("nas.session.time.time", lambda now=time.time: now() + next(jumps))
    seen: list[Progress] = []
    session = jumping.session(listener=seen.append)
    SerialExecutor(Instant()).run(session)
    assert essence(jumping.store.trials("s")) == expected
    assert all(worker.seconds >= 0 for progress in seen for worker in progress.workers)
    assert all(progress.elapsed_seconds < 1e4 for progress in seen)
    assert jumping.session().finished


def test_a_search_ends_with_its_exact_budget(bench: Bench) -> None:
    bench.create()
    trials = bench.run()
    assert [trial.number for trial in trials] == list(range(BUDGET))
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}
    assert [trial.observed for trial in bench.store.observed("s")] == list(range(BUDGET))
    assert all(trial.values["val_accuracy"] == accuracy_of(trial.key) for trial in trials)
    assert bench.session().finished


QUICK = ("random", "evolution", "reinforce", "optuna:tpe", "optuna:nsga2")
SAMPLERS = ("tpe", "nsga2", "nsga3", "gp", "qmc")
"""Of Optuna; CMA-ES needs numbers to choose, which this space does not have."""
EVERY = (*(name for name in registry.names() if name != "optuna"), *(f"optuna:{sampler}" for sampler in SAMPLERS))


@pytest.mark.parametrize(
    "controller", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in EVERY]
)
def test_interrupted_and_resumed_is_trial_for_trial_the_uninterrupted_search(bench: Bench, controller: str) -> None:
    bench = replace(bench, controller=controller, objectives=(ACCURACY, MACS), budget=24)
    try:
        registry.load(controller, bench.space, bench.objectives, seed=7)
    except UserError as error:
        assert "objective" in str(error)
        bench = replace(bench, objectives=(ACCURACY,))
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
    proposal = session._admission._controller.propose(0, rng=random.Random(0))
    session._admission._controller.propose = lambda number, *, rng: proposal  # type: ignore[method-assign]
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


ISOMORPHS = (
    "|avg_pool_3x3~0|+|nor_conv_1x1~0|nor_conv_3x3~1|+|nor_conv_1x1~0|nor_conv_3x3~1|none~2|",
    "|avg_pool_3x3~0|+|skip_connect~0|none~1|+|none~0|nor_conv_3x3~1|nor_conv_1x1~2|",
)


class Fixed(Controller):
    """Proposes the given architecture strings in turn."""

    def __init__(self, space: SearchSpace, strings: tuple[str, ...]) -> None:
        super().__init__(space, (ACCURACY,))
        self._genotypes = [NasBench201.genotype_of(text) for text in strings]

    def propose(self, number: int, *, rng: random.Random) -> Proposal:
        return Proposal(self.space.replay(self._genotypes[number % len(self._genotypes)]))

    def observe(self, trial: Trial) -> None:
        pass


def fixed_session(bench: Bench, name: str, *strings: str, **changes: Any) -> Session:
    changes = {"budget": len(strings), **changes}
    plan = SearchPlan(name, "nasbench201", "toy", changes["budget"], 1, 7, 0, bench.objectives, (), changes["key"])
    bench.store.create_search(Search(name, "{}", "nasbench201", "fixed", "toy", 0, plan.budget))
    return Session(plan, Fixed(bench.space, strings), bench.store, bench.weights)


def test_the_first_of_isomorphic_architectures_stands_for_all(bench: Bench) -> None:
    one, other = (bench.space.from_arch_str(text).simplified() for text in ISOMORPHS)  # type: ignore[attr-defined]
    assert one.key == other.key and one != other
    seen: list[Architecture] = []
    for name, text in zip(("first", "second"), ISOMORPHS, strict=True):
        session = fixed_session(bench, name, text, key=name)
        SerialExecutor(Instant(lambda task: seen.append(task.architecture))).run(session)
    assert seen == [one, one]
    stored = Architecture.from_json(bench.store.architecture(one.key).document)
    assert stored == one
    assert bench.store.trial("second", 0).values["peak_inference_bytes"] == analyze(one).peak_inference_bytes


def test_a_result_taken_over_shares_the_weights_until_nobody_has_them(bench: Bench) -> None:
    last = ("nor_conv_1x1", "nor_conv_3x3")
    strings = tuple(f"|nor_conv_3x3~0|+|none~0|{each}~1|+|none~0|none~1|skip_connect~2|" for each in last)
    bench = replace(bench.fresh("shared"), objectives=(MACS,))
    for name in ("first", "second"):
        SerialExecutor(Instant()).run(fixed_session(bench, name, *strings, key="k"))
    cheap, dear = bench.store.trials("second")
    assert [cheap.reused_from, dear.reused_from] == [("first", 0), ("first", 1)]
    assert cheap.weights_sha256 == bench.store.trial("first", 0).weights_sha256
    assert bench.weights.load(str(cheap.weights_sha256)) == cheap.key.encode()
    assert dear.weights_sha256 is None
    bench.store.set_weights("first", 0, None)
    assert bench.store.weights_in_use(str(cheap.weights_sha256))
    bench.store.set_weights("second", 0, None)
    assert not bench.store.weights_in_use(str(cheap.weights_sha256))
    bench.store.close()


def test_interruptions_are_no_losses(bench: Bench) -> None:
    bench.create()
    for _ in range(MAX_ATTEMPTS + 1):
        session = bench.session()
        task = session.next_task("w")
        assert task is not None
    session.lost(task.number, "killed")
    again = session.next_task("w")
    assert again is not None and again.number == task.number


def test_an_evaluation_without_the_objective_is_a_failure(bench: Bench) -> None:
    bench.create()
    session = bench.session()
    task = session.next_task("w")
    assert task is not None
    session.finish(task.number, Outcome(TrialState.COMPLETE, 1.0, "w", {"accuracy": 0.5}))
    trial = bench.store.trial("s", task.number)
    assert (trial.state, trial.reason) == (TrialState.FAILED, "the evaluation gave no val_accuracy")


def test_a_weights_directory_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "w").write_text("")
    with pytest.raises(Conflict, match="no directory that can be written"):
        WeightsStore(tmp_path / "w").check()
    with pytest.raises(Conflict, match="cannot be written"):
        WeightsStore(tmp_path / "w").keep(b"tensors")
