"""Warm starts: which architectures they are, that any controller takes them for its own, resume, and what bad input gets."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import nas
import search_spaces
from analysis import FIGURES, analyze
from db.store import Store
from db.trial import Trial
from nas.bake_off.contest import Searches, make_contest
from nas.controllers import registry
from nas.controllers.warm_started import Start, WarmStarted
from nas.objectives import parse_constraint
from nas.progress import Progress
from nas.warm_start import Proxy, WarmStart, find_starts, parse_warm_start
from search_spaces.choices import RandomChooser
from search_spaces.errors import UserError
from tests.contracts.controller import ACCURACY, Problem, ToySpace, draws, drive, mixed_ends, toy_values
from tests.nas.command_line import Run

SPACE = search_spaces.load("digits201")
CONTROLLERS = (
    "random",
    "evolution",
    "local-search",
    "pareto-evolution",
    "reinforce",
    "ppo",
    "predictor",
    "graph-gp",
    "optuna:tpe",
    "optuna:nsga2",
    "optuna:cmaes",
    "optuna:qmc",
)
COUNT = 4
TABLE = {"table": "digits201", "signal": "val_accuracy_e6_s0", "report": "report_accuracy"}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("naswot", ("naswot", 10, 100)), ("macs:3", ("macs", 3, 30)), ("params:3:3", ("params", 3, 3))],
)
def test_it_is_read(text: str, wanted: tuple[str, int, int]) -> None:
    assert parse_warm_start(text) == WarmStart(*wanted)


@pytest.mark.parametrize("text", ["naswot:", "naswot:0", "naswot:-1", "naswot:x", "naswot:1:2:3", "naswot:5:4"])
def test_what_cannot_be_read_is_one_line(text: str) -> None:
    with pytest.raises(UserError, match=f"warm_start '{text}'") as caught:
        parse_warm_start(text)
    assert "\n" not in str(caught.value)


def starts(proxy: str, count: int, drawn: int, *constraints: str, seed: int = 0) -> list[Start]:
    bounds = [parse_constraint(text, FIGURES) for text in constraints]
    scorer = Proxy(proxy, SPACE, data=None, seed=0)
    return find_starts(WarmStart(proxy, count, drawn), scorer, SPACE, bounds, seed=seed)


def test_they_are_the_best_of_those_drawn_each_once() -> None:
    everyone = starts("params", 40, 40)
    sizes = [analyze(SPACE.replay(start.genotype).architecture.simplified()).params for start in everyone]
    assert [start.chosen["score"] for start in everyone] == sizes == sorted(sizes, reverse=True)
    assert len({SPACE.replay(start.genotype).architecture.simplified().key for start in everyone}) == 40
    assert starts("params", 5, 40) == everyone[:5]
    assert everyone[4].chosen == {"proxy": "params", "score": sizes[4], "rank": 5, "drawn": 40}
    assert starts("params", 5, 40, seed=1) != everyone[:5]


def test_they_keep_the_constraints() -> None:
    found = starts("params", 10, 40, "params<=9_000", "depth>=8")
    figures = [analyze(SPACE.replay(start.genotype).architecture.simplified()).figures() for start in found]
    assert len(found) == 10
    assert all(each["params"] <= 9_000 and each["depth"] >= 8 for each in figures)


def test_a_space_that_has_no_more_gives_fewer() -> None:
    small = search_spaces.load("digits201", operations=("skip_connect", "nor_conv_3x3"))
    found = find_starts(WarmStart("macs", 100, 100), Proxy("macs", small, data=None, seed=0), small, (), seed=0)
    assert len(found) == len({architecture.key for _, architecture in small.enumerate()})


def test_what_no_proxy_can_score_is_said() -> None:
    space = search_spaces.load("nasbench201", operations=("none", "skip_connect"), cells_per_stage=1, channels=4)
    # Without weights nothing is left but a network whose output does not depend on its input.
    dead = [parse_constraint("params<=0", FIGURES)]
    with pytest.raises(UserError, match="none of 1 random architectures that keep the constraints has a naswot"):
        find_starts(parse_warm_start("naswot"), Proxy("naswot", space, data=None, seed=0), space, dead, seed=0)


def warm(name: str, problem: Problem) -> WarmStarted:
    rng = random.Random(5)
    chosen = [Start(problem.space.elaborate(RandomChooser(rng=rng)).genotype, {"rank": rank}) for rank in range(COUNT)]
    inner = registry.load(name, problem.space, problem.objectives, seed=1)
    return WarmStarted(inner, lambda: chosen, count=COUNT)


@pytest.mark.parametrize("name", CONTROLLERS)
def test_any_controller_begins_with_them_and_goes_on_by_itself(name: str) -> None:
    problem = Problem(ToySpace(), toy_values, (ACCURACY,), mixed_ends)
    controller, resumed = warm(name, problem), warm(name, problem)
    trials = drive(controller, problem, 24, workers=3)
    first = sorted(trials, key=lambda trial: trial.proposal)[:COUNT]
    assert [trial.information["warm_start"] for trial in first] == [{"rank": rank} for rank in range(COUNT)]
    assert all("warm_start" not in trial.information for trial in trials if trial.proposal >= COUNT)
    for trial in trials:
        resumed.observe(trial)
    for number in range(24, 28):
        proposal = controller.propose(number, rng=draws(number))
        assert resumed.propose(number, rng=draws(number)) == proposal
    assert controller.incumbent() == resumed.incumbent()


@pytest.mark.parametrize("name", CONTROLLERS)
def test_proposing_one_changes_nothing(name: str) -> None:
    problem = Problem(ToySpace(), toy_values, (ACCURACY,))
    asked_once, asked_often = warm(name, problem), warm(name, problem)
    for number in range(COUNT + 8):
        asked_often.propose(COUNT - 1, rng=draws(1000))
        proposal = asked_once.propose(number, rng=draws(number))
        assert asked_often.propose(number, rng=draws(number)) == proposal
        trial = problem.trial(proposal, number)
        asked_once.observe(trial)
        asked_often.observe(trial)


@pytest.mark.parametrize("name", [name for name in CONTROLLERS if name not in ("random", "optuna:qmc")])
def test_what_became_of_them_is_learnt_from(name: str) -> None:
    def after(worth: Sequence[float]) -> list[Any]:
        """What is proposed when the starts and what follows had these worths."""
        problem = Problem(ToySpace(), toy_values, (ACCURACY,))
        controller = warm(name, problem)
        proposals = []
        for number in range(30):
            proposal = controller.propose(number, rng=draws(number))
            proposals.append(proposal.elaboration.genotype)
            trial = problem.trial(proposal, number)
            if number < COUNT:
                trial.values["accuracy"] = worth[number]  # type: ignore[index]
            controller.observe(trial)
        return proposals

    assert after((9.0, 0.0, 0.0, 0.0)) != after((0.0, 0.0, 0.0, 9.0))


def test_local_search_goes_on_from_the_best_of_them() -> None:
    problem = Problem(ToySpace(), toy_values, (ACCURACY,))
    controller = warm("local-search", problem)
    trials = drive(controller, problem, COUNT)
    best = max(trials, key=lambda trial: trial.values["accuracy"])
    assert controller.propose(COUNT, rng=draws(COUNT)).parent == best.number


def test_a_search_resumed_behind_them_does_not_find_them_again() -> None:
    def find() -> Sequence[Start]:
        raise AssertionError("found again")

    problem = Problem(ToySpace(), toy_values, (ACCURACY,))
    inner = registry.load("random", problem.space, problem.objectives, seed=1)
    WarmStarted(inner, find, count=COUNT).propose(COUNT, rng=draws(COUNT))


def run_settings(tmp_path: Path, **more: Any) -> dict[str, Any]:
    return {
        "space": "digits201",
        "evaluator": "tabular",
        "evaluator_settings": TABLE,
        "executor": "serial",
        "controller": "local-search",
        "warm_start": "params:5:50",
        "constraints": ["params<=15_000"],
        "trials": 12,
        "db": str(tmp_path / "nas.db"),
        **more,
    }


def recorded(tmp_path: Path, name: str) -> list[Trial]:
    with Store.open(str(tmp_path / "nas.db"), mode="read") as store:
        return store.trials(name, include_rejected=True)


def essence(trials: Sequence[Trial]) -> list[Any]:
    return [(t.proposal, t.number, t.genotype, t.parent, dict(t.information), dict(t.values)) for t in trials]


def test_a_search_begins_with_them(tmp_path: Path) -> None:
    result = nas.search(**run_settings(tmp_path))
    first, rest = result.trials[:5], result.trials[5:]
    assert [trial.information["warm_start"]["rank"] for trial in first] == [1, 2, 3, 4, 5]
    assert [trial.values["params"] for trial in first] == [trial.information["warm_start"]["score"] for trial in first]
    assert all("warm_start" not in trial.information for trial in rest)
    assert all(trial.values["params"] <= 15_000 for trial in result.trials)
    assert result.rejected_count == sum(trial.number is None for trial in recorded(tmp_path, result.name))
    keys = [trial.key for trial in result.trials]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("after", [2, 8])
def test_it_is_resumed_exactly(tmp_path: Path, after: int) -> None:
    nas.search(**run_settings(tmp_path, controller="evolution", name="whole"))
    other = tmp_path / "other"
    other.mkdir()

    def interrupt(progress: Progress) -> None:
        if progress.finished == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        nas.search(**run_settings(other, controller="evolution", name="parted"), listener=interrupt)
    nas.resume("parted", db=str(other / "nas.db"))
    assert essence(recorded(other, "parted")) == essence(recorded(tmp_path, "whole"))


def test_a_bake_off_compares_warm_and_cold_starts(tmp_path: Path) -> None:
    searches = Searches(
        make_contest(
            "local-search,local-search[warm_start=params:5:50]",
            space="digits201",
            constraints=["params<=15_000"],
            budget=12,
            **TABLE,
        )
    )
    cold, simulation = searches.simulation(0, 3), searches.simulation(1, 3)
    for each in (cold, simulation):
        while not each.finished:
            each.step()
    assert all("warm_start" not in trial.information for trial in cold.trials)
    nas.search(**run_settings(tmp_path, seed=3, name="s"))
    simulated = sorted([*simulation.trials, *simulation.rejected], key=lambda trial: trial.proposal)
    assert essence(simulated) == essence(recorded(tmp_path, "s"))


@pytest.mark.slow
def test_a_proxy_that_ranks_well_finds_more_at_once() -> None:
    found = nas.bakeoff(
        ["random", "local-search[warm_start=naswot]"],
        space="digits201",
        table="digits201",
        signal="val_loss_e6_s1",
        objectives=["signal:min"],
        seeds=12,
        budget=10,
        workers=1,
    )
    tested = found.entries[1].standings[-1].against_random
    assert tested is not None and tested.better < 0.01


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"warm_start": "naswott"}, "did you mean 'naswot'"),
        ({"warm_start": "naswot:0"}, "write PROXY"),
        ({"controller": "enumerate"}, "the controller 'enumerate' tries all there are"),
        ({"space": "tests.nas.test_warm_start:pictures", "evaluator_settings": {}}, "gives one number for each class"),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    if "space" in settings:
        settings |= {"evaluator": "tests.nas.test_bakeoff:Counter", "objectives": ["macs:min"]}
    with pytest.raises(UserError, match=message) as caught:
        nas.search(**run_settings(tmp_path, **settings))
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def pictures(classes: int) -> ToySpace:
    """A space whose networks give pictures, not numbers for classes."""
    return ToySpace()


def test_the_command_line_names_it(run: Run) -> None:
    flags = [f"--{name}={value}" for name, value in TABLE.items()]
    ran = run(
        *("search", "--space", "digits201", "--evaluator", "tabular", *flags, "--executor", "serial"),
        *("--controller", "random", "--warm-start", "macs:3:9", "--trials", "4", "--name", "s", "--json"),
    )
    assert ran.code == 0, ran.err
    macs = [trial["macs"] for trial in ran.document["trials"]]
    assert macs[:3] == sorted(macs[:3], reverse=True)
    assert macs[:3] != sorted(macs)[:3]
