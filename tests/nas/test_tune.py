import random
from collections import Counter
from typing import Any

import pytest

import nas.tune
import search_spaces
from db.trial import Trial, TrialState
from nas.controllers import registry
from nas.controllers.controller import Controller, Exhausted, Proposal
from search_spaces.choices import Chooser, Genotype
from search_spaces.errors import UserError
from search_spaces.space import SearchSpace
from tests.contracts.executor import small_architecture

SPACE = search_spaces.load("cellular", input_shape=(1, 8, 8), classes=10)


def finished(searcher, trial_id: str) -> bool:
    return searcher.suggest(trial_id) == searcher.FINISHED


def test_a_config_means_the_architecture_of_its_key() -> None:
    searcher = nas.tune.searcher(SPACE, "random", objectives=["accuracy"])
    for index in range(5):
        config = searcher.suggest(str(index))
        assert config["trial"] == index
        assert nas.tune.architecture(SPACE, config).key == config["key"]


def test_the_same_seed_proposes_the_same() -> None:
    def drawn(seed: int) -> list[str]:
        searcher = nas.tune.searcher(SPACE, "random", objectives=["accuracy"], seed=seed)
        return [searcher.suggest(str(index))["key"] for index in range(4)]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


class Widths(SearchSpace):
    """Two widths, each asked for by two answers: four genotypes of two architectures."""

    name = "widths"

    def build(self, choose: Chooser):
        width = choose.one_of("width", (4, 8))
        choose.one_of("nothing", ("a", "b"))
        return small_architecture(width)


class InTurn(Controller):
    """Proposes genotypes in turn and keeps what it observes."""

    turns: tuple[tuple[int, str], ...] = ((4, "a"), (4, "b"), (8, "a"), (8, "b"), (4, "b"))

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.observed: list[Trial] = []

    def propose(self, number: int, *, rng: random.Random) -> Proposal:
        if number >= len(self.turns):
            raise Exhausted
        width, nothing = self.turns[number]
        return Proposal(self.space.replay(Genotype((("width", width), ("nothing", nothing)))))

    def observe(self, trial: Trial) -> None:
        self.observed.append(trial)


@pytest.fixture
def controllers(monkeypatch: pytest.MonkeyPatch) -> list[InTurn]:
    """The controllers that are made of the name `in turn`."""
    made: list[InTurn] = []
    load = registry.load

    def also(name: str, space: SearchSpace, objectives, *, seed: int, **settings: Any) -> Controller:
        if name != "in turn":
            return load(name, space, objectives, seed=seed, **settings)
        made.append(InTurn(space, objectives, seed=seed))
        return made[-1]

    monkeypatch.setattr(registry, "load", also)
    return made


def test_no_architecture_is_proposed_twice_and_the_controller_learns_of_all(controllers: list[InTurn]) -> None:
    searcher = nas.tune.searcher(Widths(), "in turn", objectives=["accuracy"])
    first = searcher.suggest("x")
    assert first["genotype"] == {"width": 4, "nothing": "a"}
    # The twin waits for the result of the first.
    second = searcher.suggest("y")
    assert second["genotype"] == {"width": 8, "nothing": "a"}
    (controller,) = controllers
    assert controller.observed == []
    searcher.on_trial_complete("x", {"accuracy": 0.5, "pid": 3})
    assert [(trial.proposal, trial.number, trial.values["accuracy"]) for trial in controller.observed] == [
        (0, 0, 0.5),
        (1, 1, 0.5),
    ]
    assert finished(searcher, "z")
    searcher.on_trial_complete("y", {"accuracy": 0.25})
    # The last one was known when it was proposed.
    assert [trial.proposal for trial in controller.observed] == [0, 1, 4, 2, 3]
    assert [trial.observed for trial in controller.observed] == list(range(5))
    assert controller.observed[2].values["accuracy"] == 0.5
    assert all(trial.state is TrialState.COMPLETE for trial in controller.observed)
    assert controller.observed[0].values["params"] > 0


@pytest.mark.parametrize(
    ("result", "state", "reason"),
    [
        ({"loss": 1.0}, TrialState.FAILED, "the trial reported no accuracy"),
        ({"accuracy": float("nan")}, TrialState.DIVERGED, "accuracy is nan"),
        (None, TrialState.FAILED, "the Tune trial ended by an error"),
    ],
)
def test_a_trial_without_its_objective_is_none(
    controllers: list[InTurn], result: dict | None, state: TrialState, reason: str
) -> None:
    searcher = nas.tune.searcher(Widths(), "in turn", objectives=["accuracy", "macs"])
    searcher.suggest("x")
    searcher.on_trial_complete("x", result, error=result is None)
    (observed,) = controllers[0].observed
    assert (observed.state, observed.reason) == (state, reason)
    assert "accuracy" not in observed.values
    assert "macs" in observed.values


def test_constraints_are_kept_and_their_breaking_is_observed(controllers: list[InTurn]) -> None:
    macs = {width: nas.tune.analyze(small_architecture(width)).figures()["macs"] for width in (4, 8)}
    searcher = nas.tune.searcher(Widths(), "in turn", objectives=["accuracy"], constraints=[f"macs>={macs[8]}"])
    assert searcher.suggest("x")["genotype"]["width"] == 8
    assert [trial.state for trial in controllers[0].observed] == [TrialState.REJECTED] * 2
    assert [trial.number for trial in controllers[0].observed] == [None, None]


def test_constraints_that_nothing_keeps_are_an_error() -> None:
    searcher = nas.tune.searcher(SPACE, "random", objectives=["accuracy"], constraints=["params<=1"])
    with pytest.raises(UserError, match="relax the constraint"):
        searcher.suggest("x")


def test_a_search_that_only_repeats_itself_ends_when_nothing_runs() -> None:
    searcher = nas.tune.searcher(Widths(), "random", objectives=["accuracy"])
    keys = {searcher.suggest("x")["key"], searcher.suggest("y")["key"]}
    assert len(keys) == 2
    assert searcher.suggest("z") is None
    searcher.on_trial_complete("x", {"accuracy": 0.5})
    assert searcher.suggest("z") is None
    searcher.on_trial_complete("y", {"accuracy": 0.5})
    assert finished(searcher, "z")


def test_evolution_climbs_by_what_tune_reports() -> None:
    """The objective is a known function of the genotype, so what is proposed late must be better than what was early."""
    searcher = nas.tune.searcher(SPACE, "evolution", objectives=["stages:max"])
    seen = []
    for index in range(120):
        config = searcher.suggest(str(index))
        seen.append(config["genotype"]["stages"] + config["genotype"]["stem.width"] / 100)
        searcher.on_trial_complete(str(index), {"stages": seen[-1]})
    early, late = seen[:40], seen[-40:]
    assert sum(late) / 40 > sum(early) / 40
    assert Counter(late).most_common(1)[0][0] == max(seen)


def test_mistakes_are_told() -> None:
    with pytest.raises(UserError, match="name at least one metric"):
        nas.tune.searcher(SPACE, "random", objectives=[])
    with pytest.raises(UserError, match="evolutoin"):
        nas.tune.searcher(SPACE, "evolutoin", objectives=["accuracy"])
    with pytest.raises(UserError, match="populaton"):
        nas.tune.searcher(SPACE, "evolution", objectives=["accuracy"], controller_settings={"populaton": 3})
    with pytest.raises(UserError, match="does not ask"):
        nas.tune.architecture(Widths(), {"genotype": {"width": 4, "nothing": "a", "more": 1}})


def test_it_is_not_restored(tmp_path) -> None:
    searcher = nas.tune.searcher(SPACE, "random", objectives=["accuracy"])
    searcher.save(str(tmp_path / "state"))
    for restore in (searcher.restore, searcher.restore_from_dir):
        with pytest.raises(UserError, match="cannot be restored"):
            restore(str(tmp_path))
