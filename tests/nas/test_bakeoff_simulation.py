"""The searches of a bake-off are, trial for trial, those of `nas search --executor serial`; incumbents and stops."""

import math
import random
from pathlib import Path
from typing import Any

import pytest

import nas
from db.store import Store
from db.trial import Trial, TrialState
from nas.bake_off.contest import Searches, make_contest
from nas.bake_off.simulation import Simulation
from nas.controllers import registry
from nas.controllers.controller import Controller, Proposal
from search_spaces.choices import RandomChooser
from search_spaces.errors import Fault, UserError
from tests.nas.bake_off_table import SPACE, SPACE_SETTINGS, write_table

BUDGET = 30
SEED = 3


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tables")
    write_table(path)
    write_table(path, holes=True)
    return path


def searches(directory: Path, controllers: str = "random", *, table: str = "table", **settings: Any) -> Searches:
    """The searches of a contest on the made-up table; what is not said is the plain case."""
    plain: dict[str, Any] = {"budget": BUDGET, "signal": "late", "report": "test"}
    given = {
        "space": SPACE,
        "space_settings": SPACE_SETTINGS,
        "table": str(directory / f"{table}.parquet"),
        **plain,
        **settings,
    }
    return Searches(make_contest(controllers, **given))


def finished(simulation: Simulation) -> Simulation:
    while not simulation.finished:
        simulation.step()
    return simulation


def essence(trial: Trial) -> dict[str, Any]:
    """What must be equal: everything but clocks, workers, and the names of searches."""
    return {
        "proposal": trial.proposal,
        "number": trial.number,
        "state": trial.state,
        "genotype": trial.genotype,
        "key": trial.key,
        "evaluation": (trial.evaluation_key, trial.data, trial.fidelity, trial.seed),
        "origin": (trial.parent, trial.mutation, dict(trial.information)),
        "values": dict(trial.values),
        "reason": trial.reason,
        "reused": None if trial.reused_from is None else trial.reused_from[1],
        "observed": trial.observed,
    }


CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "holes": {"table": "holes"},
    "constraints": {"constraints": ["params<=250_000", "depth>=9"], "objectives": ["signal", "macs:min"]},
    "asha": {"signal": "early,middle,late", "cost": "seconds*0.1,seconds*0.3,seconds", "stopping": "asha"},
    "hyperband with holes": {"table": "holes", "signal": "early,middle,late", "stopping": "hyperband"},
    "time": {"cost": "seconds", "time_budget": 300.0, "budget": None},
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("controller", ["random", "evolution", "local-search", "reinforce", "optuna:tpe"])
def test_trajectories_are_those_of_the_session(directory: Path, tmp_path: Path, controller: str, case: str) -> None:
    settings = dict(CASES[case])
    if controller == "optuna:tpe" and case == "constraints":
        settings["objectives"] = ["signal"]
    simulation = finished(searches(directory, controller, **settings).simulation(0, SEED))
    table = {
        "table": str(directory / f"{settings.pop('table', 'table')}.parquet"),
        "signal": settings.pop("signal", "late"),
        "cost": settings.pop("cost", ""),
        "report": "test",
    }
    budget = settings.pop("budget", BUDGET)
    nas.search(
        name="s",
        space=SPACE,
        space_settings=SPACE_SETTINGS,
        evaluator="tabular",
        evaluator_settings={key: value for key, value in table.items() if value},
        controller=controller,
        trials=budget,
        seed=SEED,
        executor="serial",
        db=str(tmp_path / "nas.db"),
        **settings,
    )
    with Store.open(str(tmp_path / "nas.db"), mode="read") as store:
        recorded = store.trials("s", include_rejected=True)
        seconds = sum(trial.seconds or 0.0 for trial in recorded)
    simulated = sorted([*simulation.trials, *simulation.rejected], key=lambda trial: trial.proposal)
    assert [essence(trial) for trial in simulated] == [essence(trial) for trial in recorded]
    if table["cost"]:
        assert simulation.spent_seconds == pytest.approx(seconds)
    # Each case is of what it says.
    if case == "constraints":
        assert simulation.rejected
    if case == "asha":
        assert any(trial.state is TrialState.STOPPED for trial in simulated)
    if case == "holes":
        assert {TrialState.FAILED, TrialState.DIVERGED} & {trial.state for trial in simulated}
    if case == "time":
        assert seconds - 11 < 300 <= seconds


def test_an_exhausted_controller_ends_its_search_and_keeps_its_incumbent(directory: Path) -> None:
    run = searches(directory, "enumerate", budget=2_000, at=(10, 2_000)).run(0, 0)
    assert run.evaluations < 729
    assert run.reused == 0
    last = run.points[-1]
    assert last.evaluations == run.evaluations
    assert last.values[0] == max(point.values[0] for point in run.points)


class Spy(Controller):
    """Random, remembers what it observed, and takes the first trial that it saw for the best."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.observed: list[Trial] = []
        self.asked: list[int] = []
        self.answer: int | None = None

    def propose(self, number: int, *, rng: random.Random) -> Proposal:
        return Proposal(self.space.elaborate(RandomChooser(rng=rng)))

    def observe(self, trial: Trial) -> None:
        self.observed.append(trial)

    def incumbent(self) -> int | None:
        self.asked.append(len(self.observed))
        return self.answer


def spied(directory: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> tuple[Searches, list[Spy]]:
    made = searches(directory, **settings)
    spies: list[Spy] = []

    def load(name: str, space: Any, objectives: Any, *, seed: int) -> Controller:
        spies.append(Spy(space, objectives, seed=seed))
        return spies[-1]

    monkeypatch.setattr(registry, "load", load)
    return made, spies


def test_no_controller_sees_what_is_reported(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, spies = spied(directory, monkeypatch)
    made.run(0, 0)
    assert len(spies[0].observed) == BUDGET
    for trial in spies[0].observed:
        assert "test" not in trial.values and "test" not in dict(trial.values)
        assert trial.values["signal"] == trial.values["late"]
        assert trial.values["params"] == dict(trial.values)["params"]


def test_the_incumbent_is_the_controllers_own_or_the_best_signal(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, spies = spied(directory, monkeypatch, budget=10, at=(4, 10))
    simulation = made.simulation(0, 0)
    points = simulation.run((4, 10)).points
    assert spies[0].asked == [4, 10], "a model is asked at the stops only"
    for point, count in zip(points, (4, 10), strict=True):
        best = max(simulation.trials[:count], key=lambda trial: trial.values["signal"])
        assert point.incumbent == best.number
        assert point.values == (best.values["signal"], best.values["test"])
    simulation = made.simulation(0, 0)
    spies[1].answer = 1
    chosen = simulation.run((4, 10)).points[1]
    assert chosen.incumbent == 1
    assert chosen.values == (simulation.trials[1].values["signal"], simulation.trials[1].values["test"])
    simulation = made.simulation(0, 0)
    spies[2].answer = 7
    with pytest.raises(Fault, match="its incumbent is 7, which is no complete trial"):
        simulation.run((4, 10))


def test_stops_are_seconds_where_time_is_limited(directory: Path) -> None:
    made = searches(directory, cost="seconds", time_budget=200.0, budget=None)
    simulation = made.simulation(0, 0)
    first, last = simulation.run((50.0, 200.0)).points
    begun = [sum(trial.seconds or 0.0 for trial in simulation.trials[:count]) for count in range(30)]
    assert first.evaluations == next(count for count, seconds in enumerate(begun) if seconds >= 50)
    assert last.evaluations == len(simulation.trials)
    assert last.seconds >= 200 > last.seconds - 11


def test_before_the_first_result_there_is_no_incumbent(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, _ = spied(directory, monkeypatch, table="holes")
    seed = next(
        seed
        for seed in range(200)
        if (simulation := made.simulation(0, seed)).step() is None
        and simulation.trials[0].state is not TrialState.COMPLETE
    )
    point = made.simulation(0, seed).run((1,)).points[0]
    assert point.incumbent is None
    assert all(map(math.isnan, point.values))


def test_constraints_that_nothing_keeps_end_in_an_error(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.bake_off.simulation.MAX_REJECTIONS", 3)
    made, _ = spied(directory, monkeypatch, constraints=["depth<=6"])
    with pytest.raises(UserError, match="the last 3 proposals all broke a constraint"):
        for seed in range(50):
            made.run(0, seed)
