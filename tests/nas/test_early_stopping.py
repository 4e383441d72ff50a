"""Successive halving: rungs, brackets, who goes on, fronts at rungs, and the whole in a search that is resumed."""

import math
import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.trial import Measurement, Trial, TrialState
from nas.early_stopping import NEVER, StoppingRule, SuccessiveHalving, make_rule
from nas.objectives import Direction, Objective
from search_spaces.choices import Genotype
from search_spaces.errors import UserError

ACCURACY = Objective("accuracy", Direction.MAXIMISE)
MACS = Objective("macs", Direction.MINIMISE)
ASHA = StoppingRule(((1, 3, 9),), 3)


def trial(number: int, **values: float) -> Trial:
    return Trial(number, number, TrialState.RUNNING, Genotype(()), "", "", "", 27, 0, values=values)


def test_rungs_are_powers_below_the_whole() -> None:
    assert make_rule("asha", fidelity=27, levels=None, reduction=3, least=1) == ASHA
    assert make_rule("asha", fidelity=28, levels=None, reduction=3, least=1).brackets == ((1, 3, 9, 27),)
    assert make_rule("asha", fidelity=3, levels=3, reduction=4, least=1).brackets == ((1, 2),)
    assert make_rule("hyperband", fidelity=27, levels=None, reduction=3, least=1).brackets == (
        (1, 3, 9),
        (3, 9),
        (9,),
        (),
    )


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"fidelity": 1}, "no rung below"),
        ({"least": 30}, "no rung below"),
        ({"reduction": 1}, "reduction"),
        ({"least": 0}, "least"),
        ({"fidelity": 1, "levels": 1}, "one signal"),
    ],
)
def test_impossible_rules_get_one_line(settings: dict[str, int], says: str) -> None:
    with pytest.raises(UserError, match=says):
        make_rule("asha", **{"fidelity": 27, "levels": None, "reduction": 3, "least": 1, **settings})


def test_the_best_third_goes_on() -> None:
    halving = SuccessiveHalving(ASHA, [ACCURACY])
    values = [0.5, 0.4, 0.6, 0.55, 0.7, 0.65, 0.1, 0.9, 0.8]
    went_on = [
        halving.report(trial(number), Measurement(1, {"accuracy": value})) for number, value in enumerate(values)
    ]
    # The first two are fewer than 3; then the best 1 of 3, 4, 5; the best 2 of 6, 7, 8; the best 3 of 9.
    assert went_on == [True, True, True, False, True, True, False, True, True]
    assert halving.end(3) == Measurement(1, {"accuracy": 0.55})
    assert halving.end(3) is None and halving.end(4) is None
    # Between rungs everybody goes on.
    assert halving.report(trial(6), Measurement(2, {"accuracy": 0.0}))


def test_a_trial_that_starts_again_does_not_compete_with_itself() -> None:
    halving = SuccessiveHalving(ASHA, [ACCURACY])
    for number, value in enumerate([0.1, 0.2, 0.9]):
        halving.report(trial(number), Measurement(1, {"accuracy": value}))
    halving.forget(2)
    assert halving.report(trial(2), Measurement(1, {"accuracy": 0.9}))


@given(st.lists(st.floats(0, 1), min_size=3, max_size=40, unique=True), st.randoms(use_true_random=False))
def test_the_order_in_which_others_came_does_not_matter(values: list[float], rng: random.Random) -> None:
    pairs = list(enumerate(values))
    last = pairs.pop()
    decisions = set()
    for _ in range(3):
        rng.shuffle(pairs)
        halving = SuccessiveHalving(ASHA, [ACCURACY])
        for number, value in pairs:
            halving.restore(trial(number), [Measurement(1, {"accuracy": value})])
        decisions.add(halving.report(trial(last[0]), Measurement(1, {"accuracy": last[1]})))
    assert len(decisions) == 1
    rank = sum(value > last[1] for value in values)
    assert decisions == {rank < len(values) // 3}


def test_with_several_objectives_fronts_decide() -> None:
    halving = SuccessiveHalving(StoppingRule(((1,),), 2), [ACCURACY, MACS])
    points = [(0.9, 100.0), (0.5, 10.0), (0.4, 50.0), (0.3, 5.0), (0.2, 60.0), (0.8, 90.0)]
    went_on = [
        halving.report(trial(number, macs=macs), Measurement(1, {"accuracy": accuracy}))
        for number, (accuracy, macs) in enumerate(points)
    ]
    # 1 is on the front, where 0 is first; 2 is dominated; 3 is third on the front; 4 is dominated; 5 is second of four.
    assert went_on == [True, False, False, False, False, True]


@given(st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.4, math.nan, -math.inf]), max_size=30))
def test_one_objective_is_as_two_of_which_one_is_the_same_for_all(values: list[float]) -> None:
    alone, beside = SuccessiveHalving(ASHA, [ACCURACY]), SuccessiveHalving(ASHA, [ACCURACY, MACS])
    for number, value in enumerate(values):
        measurement = Measurement(1, {"accuracy": value})
        assert alone.report(trial(number), measurement) == beside.report(trial(number, macs=5.0), measurement)


def test_brackets_have_the_shares_of_hyperband() -> None:
    rule = make_rule("hyperband", fidelity=27, levels=None, reduction=3, least=1)
    # ceil(4 / 4 * 27), ceil(4 / 3 * 9), ceil(4 / 2 * 3), ceil(4 / 1 * 1).
    counts = Counter(rule.bracket_of(number) for number in range(2 * 49))
    assert counts == {0: 54, 1: 24, 2: 12, 3: 8}
    first = Counter(rule.bracket_of(number) for number in range(10))
    assert set(first) >= {0, 1, 2}
    # Brackets do not see one another.
    halving = SuccessiveHalving(rule, [ACCURACY])
    whole = next(number for number in range(49) if rule.bracket_of(number) == 3)
    assert all(halving.report(trial(whole), Measurement(epoch, {"accuracy": 0.0})) for epoch in range(1, 27))


def test_never_never_stops() -> None:
    halving = SuccessiveHalving(NEVER, [ACCURACY])
    assert all(halving.report(trial(number), Measurement(1, {"accuracy": -number})) for number in range(50))


def test_what_is_no_number_stops() -> None:
    halving = SuccessiveHalving(replace(ASHA, brackets=((1,),)), [ACCURACY])
    values = [0.1, 0.2, 0.3, float("nan")]
    went_on = [
        halving.report(trial(number), Measurement(1, {"accuracy": value})) for number, value in enumerate(values)
    ]
    assert went_on[-1] is False
