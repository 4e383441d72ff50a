"""The statistics of the bake-off: laws, and agreement with scipy and with counting by hand."""

import math
import random
from statistics import fmean, stdev

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from nas.bake_off.statistics import CONFIDENCE, compare, holm, ranks, summarise

gains = st.floats(-100, 100, allow_nan=False).map(lambda value: round(value, 1))
"""Rounded, so that there are ties."""
samples = st.lists(gains, min_size=2, max_size=25)


@given(samples)
def test_summaries_agree_with_scipy(values: list[float]) -> None:
    summary = summarise(values)
    assert summary.mean == pytest.approx(fmean(values))
    assert summary.deviation == pytest.approx(stdev(values))
    assert summary.missing == 0
    if len(set(values)) > 1:
        low, high = stats.t.interval(CONFIDENCE, len(values) - 1, fmean(values), stats.sem(values))
        assert (summary.low, summary.high) == (pytest.approx(low), pytest.approx(high))


def test_missing_values_are_left_out_and_counted() -> None:
    nan = math.nan
    assert summarise([1.0, nan, 3.0, nan]).mean == 2.0
    assert summarise([1.0, nan, 3.0, nan]).missing == 2
    assert (summarise([nan, 5.0]).mean, summarise([nan, 5.0]).deviation) == (5.0, None)
    assert summarise([nan, nan]).mean is None


@given(samples, samples)
def test_the_test_is_that_of_scipy_and_turns_with_its_sides(first: list[float], second: list[float]) -> None:
    found, turned = compare(first, second), compare(second, first)
    assert found.two_sided == pytest.approx(turned.two_sided)
    assert (found.better, found.worse) == (pytest.approx(turned.worse), pytest.approx(turned.better))
    if len({*first, *second}) > 1:
        assert found.two_sided == stats.mannwhitneyu(first, second).pvalue
        assert found.better == stats.mannwhitneyu(first, second, alternative="greater").pvalue
    else:
        assert found.two_sided == found.better == found.worse == 1.0


def test_the_exact_test_counts_arrangements() -> None:
    # Of the 20 ways to choose 3 of 6 places, one has all the first sample above the second.
    found = compare([4.0, 5.0, 6.0], [1.0, 2.0, 3.0])
    assert found.better == pytest.approx(1 / 20)
    assert found.two_sided == pytest.approx(2 / 20)
    assert found.worse == pytest.approx(1.0)


@given(samples, samples)
def test_only_the_order_of_gains_counts(first: list[float], second: list[float]) -> None:
    stretched = compare([value**3 for value in first], [value**3 for value in second])
    assert stretched.better == pytest.approx(compare(first, second).better)


def test_what_is_missing_is_worse_than_anything() -> None:
    assert compare([math.nan] * 5, [-1e9] * 5) == compare([0.0] * 5, [1.0] * 5)


def test_equal_samples_are_rarely_told_apart() -> None:
    rng = random.Random(1)
    draws = [compare([rng.gauss(0, 1) for _ in range(20)], [rng.gauss(0, 1) for _ in range(20)]) for _ in range(300)]
    for side in ("two_sided", "better", "worse"):
        share = sum(getattr(draw, side) < 0.05 for draw in draws) / len(draws)
        assert share == pytest.approx(0.05, abs=0.03)


@given(st.lists(samples, min_size=1, max_size=6))
def test_ranks_go_by_means(rows: list[list[float]]) -> None:
    found = ranks(rows)
    means = [summarise(row).mean or 0.0 for row in rows]
    assert min(found) == 1
    for one, mean in zip(found, means, strict=True):
        assert one == 1 + sum(other > mean for other in means)
    assert ranks([*rows, [math.nan, math.nan]])[-1] == len(rows) + 1


def test_holm_adjusts_as_in_the_paper() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_keeps_the_order_and_lies_between_plain_and_bonferroni(probabilities: list[float]) -> None:
    adjusted = holm(probabilities)
    for plain, larger in zip(probabilities, adjusted, strict=True):
        assert plain <= larger <= min(1.0, len(probabilities) * plain) or larger == max(
            value for other, value in zip(probabilities, adjusted, strict=True) if other <= plain
        )
    order = sorted(range(len(adjusted)), key=lambda index: probabilities[index])
    assert [adjusted[index] for index in order] == sorted(adjusted)
