"""Fidelities in one order: what is expected of stopped trials, by lines between rungs, and that it is replayed."""

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import nas
import search_spaces
from db.store import Store
from db.trial import Measurement, Trial, TrialState
from nas.controllers.evolution import RegularisedEvolution
from nas.controllers.random_search import RandomSearch
from nas.early_stopping import NEVER, StoppingRule
from nas.fidelities import Fidelities
from nas.objectives import Direction, Objective
from nas.progress import Progress
from search_spaces.choices import Genotype
from tests.nas.bake_off_table import SPACE, SPACE_SETTINGS, write_table

ACCURACY = Objective("accuracy", Direction.MAXIMISE)
MACS = Objective("macs", Direction.MINIMISE)
ONE_RUNG = StoppingRule(((1,),), 3)
TWO_RUNGS = StoppingRule(((1, 3), (3,)), 3)


def ended(
    number: int, course: dict[int, float], *, whole: int, **figures: float
) -> tuple[Trial, tuple[Measurement, ...]]:
    """A trial of this course of accuracies by epoch, complete if it came to the whole, with its measurements."""
    last = max(course)
    state = TrialState.COMPLETE if last == whole else TrialState.STOPPED
    values = {**figures, "accuracy": course[last], "epochs": float(last)}
    measurements = tuple(Measurement(epoch, {"accuracy": value}) for epoch, value in course.items())
    return Trial(number, number, state, Genotype(()), "", "", "", whole, 0, values=values), measurements


def shown(fidelities: Fidelities, course: dict[int, float], *, whole: int = 9, number: int = 99) -> float | None:
    trial, measurements = ended(number, course, whole=whole)
    return fidelities.show(trial, measurements).values.get("accuracy")


def test_without_a_trial_known_at_both_there_is_no_value() -> None:
    fidelities = Fidelities(ONE_RUNG, [ACCURACY])
    assert shown(fidelities, {1: 0.3}) is None
    assert shown(fidelities, {1: 0.4, 9: 0.9}) == 0.9
    # One pair says what is added.
    assert shown(fidelities, {1: 0.3}) == pytest.approx(0.8)


# Sixty-fourths are added without rounding, which a line through nearly equal values would enlarge.
SIXTY_FOURTHS = st.integers(0, 64).map(lambda number: number / 64)


@given(st.lists(SIXTY_FOURTHS, min_size=1, max_size=20), SIXTY_FOURTHS, SIXTY_FOURTHS)
def test_where_all_gain_alike_what_is_expected_is_what_would_have_been(
    values: list[float], gain: float, stopped: float
) -> None:
    fidelities = Fidelities(TWO_RUNGS, [ACCURACY])
    for number, value in enumerate(values):
        shown(fidelities, {1: value, 3: value + gain / 2, 9: value + gain}, number=number)
    assert shown(fidelities, {1: stopped}) == pytest.approx(stopped + gain)
    assert shown(fidelities, {1: 0.0, 3: stopped}) == pytest.approx(stopped + gain / 2)


def test_the_line_is_that_of_least_squares_with_one_pair_more() -> None:
    fidelities = Fidelities(ONE_RUNG, [ACCURACY])
    for early, whole in ((0.2, 0.7), (0.4, 0.8), (0.6, 0.9)):
        shown(fidelities, {1: early, 9: whole})
    # The stopped trial was seen on its rung too: the variance of 0.2, 0.4, 0.6, 0.0 is 0.05, the pairs' slope one half.
    slope = (0.5 * 0.08 + 0.05) / (0.08 + 0.05)
    assert shown(fidelities, {1: 0.0}) == pytest.approx(0.8 + slope * (0.0 - 0.4))


def test_many_pairs_outweigh_what_is_presumed() -> None:
    fidelities = Fidelities(ONE_RUNG, [ACCURACY])
    for number in range(400):
        early = (number % 20) / 20
        shown(fidelities, {1: early, 9: 0.5 + early / 4})
    assert shown(fidelities, {1: 0.2}) == pytest.approx(0.55, abs=0.01)


def test_each_rung_is_carried_to_the_next() -> None:
    fidelities = Fidelities(TWO_RUNGS, [ACCURACY])
    # The step from 1 to 3 is known from a trial that was stopped at 3.
    shown(fidelities, {3: 0.5, 9: 0.9})
    assert shown(fidelities, {1: 0.2}) is None
    assert shown(fidelities, {1: 0.3, 3: 0.4}) == pytest.approx(0.8)
    assert shown(fidelities, {1: 0.3}) == pytest.approx(0.8)


def test_figures_of_the_analysis_hold_at_any_fidelity() -> None:
    fidelities = Fidelities(ONE_RUNG, [ACCURACY, MACS])
    trial, measurements = ended(0, {1: 0.3}, whole=9, macs=5.0)
    seen = fidelities.show(trial, measurements)
    assert dict(seen.values) == {"macs": 5.0, "epochs": 1.0}
    controller = RandomSearch(search_spaces.load("nasbench201"), (ACCURACY, MACS))
    assert controller.gains(seen) is None
    fidelities.show(*ended(1, {1: 0.3, 9: 0.9}, whole=9, macs=7.0))
    assert controller.gains(fidelities.show(trial, measurements)) == (0.9, -5.0)


def test_a_twin_is_judged_like_what_it_took_over_and_teaches_nothing() -> None:
    fidelities = Fidelities(ONE_RUNG, [ACCURACY])
    for early, whole in ((0.2, 0.7), (0.6, 0.8)):
        shown(fidelities, {1: early, 9: whole})
    trial, measurements = ended(2, {1: 0.1}, whole=9)
    first = fidelities.show(trial, measurements)
    twin = replace(trial, number=3, reused_from=("s", 2))
    assert fidelities.show(twin, ()).values == first.values
    assert fidelities.show(twin, ()).values == first.values
    complete, _ = ended(4, {9: 0.8}, whole=9)
    assert fidelities.show(complete, ()) is complete
    assert fidelities.show(twin, ()).values == first.values


def test_a_search_that_never_stops_shows_trials_as_they_are() -> None:
    fidelities = Fidelities(NEVER, [ACCURACY])
    trial, measurements = ended(0, {1: 0.3, 9: 0.9}, whole=9)
    assert fidelities.show(trial, measurements) is trial


def test_what_did_not_end_well_still_tells_of_the_rungs_it_passed() -> None:
    fidelities = Fidelities(TWO_RUNGS, [ACCURACY])
    trial, measurements = ended(0, {1: 0.3, 3: 0.5}, whole=9)
    diverged = replace(trial, state=TrialState.DIVERGED)
    assert fidelities.show(diverged, measurements) is diverged
    shown(fidelities, {3: 0.5, 9: 0.9})
    assert shown(fidelities, {1: 0.3}) == pytest.approx(0.9)


@pytest.mark.parametrize("stopping", ["asha", "hyperband"])
def test_a_controller_learns_from_stopped_trials_and_is_shown_the_same_when_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stopping: str
) -> None:
    table = write_table(tmp_path)
    observed: list[Trial] = []
    observe = RegularisedEvolution.observe

    def spy(self: RegularisedEvolution, trial: Trial) -> None:
        observed.append(trial)
        observe(self, trial)

    monkeypatch.setattr(RegularisedEvolution, "observe", spy)
    settings: dict[str, Any] = {
        "name": "s",
        "space": SPACE,
        "space_settings": SPACE_SETTINGS,
        "evaluator": "tabular",
        "evaluator_settings": {"table": table, "signal": "early,middle,late", "report": "test"},
        "controller": "evolution",
        "controller_settings": {"population": 5, "sample": 3},
        "trials": 40,
        "stopping": stopping,
        "executor": "serial",
    }
    whole = nas.search(**settings, db=str(tmp_path / "whole.db"))
    expected = list(observed)
    assert any(trial.state is TrialState.STOPPED and "signal" in trial.values for trial in expected)
    parents = {trial.parent for trial in whole.trials if trial.parent is not None}
    assert any(whole.trials[parent].state is TrialState.STOPPED for parent in parents)
    # What is recorded is what was measured.
    for trial in whole.trials:
        level = int(trial.values.get("epochs", 3)) - 1
        assert trial.values["signal"] == trial.values[("early", "middle", "late")[level]]

    observed.clear()
    calls = itertools.count()

    def interrupt(progress: Progress) -> None:
        if next(calls) == 45:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        nas.search(**settings, db=str(tmp_path / "broken.db"), listener=interrupt)
    with Store.open(str(tmp_path / "broken.db"), mode="read") as store:
        done = sum(trial.state.is_finished for trial in store.trials("s"))
    assert 0 < done < 40
    observed.clear()
    nas.resume("s", db=str(tmp_path / "broken.db"))
    assert [(t.proposal, t.state, dict(t.values)) for t in observed] == [
        (t.proposal, t.state, dict(t.values)) for t in expected
    ]
