"""What many searches of several contestants say: means with confidence intervals, ranks and tests.

Everything here works on **gains**, where more is better, one row a contestant and one column a seed; NaN stands for a
search that had nothing to show yet, which is worse than anything.

References:
    Mann, Whitney: On a Test of Whether One of Two Random Variables is Stochastically Larger than the Other. Annals of
    Mathematical Statistics 18(1), 1947.
    Holm: A Simple Sequentially Rejective Multiple Test Procedure. Scandinavian Journal of Statistics 6(2), 1979.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Summary:
    """Mean and standard deviation (n - 1) of values over seeds, and the confidence interval of the mean.

    The interval is Student's, which takes the mean for normal; with some ten seeds and more it nearly is. `missing`
    values are left out of all of them. What cannot be told of so few values is None.
    """

    mean: float | None
    deviation: float | None
    low: float | None
    high: float | None
    missing: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """The Mann-Whitney U test of one contestant's values against another's.

    `two_sided` is the p of "they differ", `better` that of "the first tends to larger gains", `worse` of the opposite.
    """

    two_sided: float
    better: float
    worse: float


def summarise(values: Sequence[float]) -> Summary:
    """Mean, spread and interval of the values that are there."""
    import numpy
    from scipy.stats import t

    known = numpy.array([value for value in values if not math.isnan(value)])
    missing = len(values) - len(known)
    if len(known) < 2:
        return Summary(float(known[0]) if len(known) else None, None, None, None, missing)
    mean, deviation = float(known.mean()), float(known.std(ddof=1))
    reach = float(t.ppf((1 + CONFIDENCE) / 2, len(known) - 1)) * deviation / math.sqrt(len(known))
    return Summary(mean, deviation, mean - reach, mean + reach, missing)


def compare(first: Sequence[float], second: Sequence[float]) -> Comparison:
    """Tests whether the gains of `first` and `second` differ, or one of them tends to larger ones."""
    from scipy.stats import mannwhitneyu

    gains, others = _ranked_last(first, second), _ranked_last(second, first)
    if len({*gains, *others}) == 1:
        # Nothing to tell apart, for which the formula of the large sample would divide by zero.
        return Comparison(1.0, 1.0, 1.0)
    two_sided, better, worse = (
        float(mannwhitneyu(gains, others, alternative=alternative).pvalue)
        for alternative in ("two-sided", "greater", "less")
    )
    return Comparison(two_sided, better, worse)


def ranks(gains: Sequence[Sequence[float]]) -> list[int]:
    """The place of each contestant by its mean gain, from 1; equal means share the better place."""
    means = [summarise(row).mean for row in gains]
    levels = [-math.inf if mean is None else mean for mean in means]
    return [1 + sum(other > level for other in levels) for level in levels]


def holm(probabilities: Sequence[float]) -> list[float]:
    """The p-values adjusted for there being several: with those below α rejected, one mistake at all has probability α."""
    order = sorted(range(len(probabilities)), key=lambda index: probabilities[index])
    adjusted = [0.0] * len(order)
    least = 0.0
    for place, index in enumerate(order):
        least = max(least, min(1.0, (len(order) - place) * probabilities[index]))
        adjusted[index] = least
    return adjusted


def _ranked_last(values: Sequence[float], others: Sequence[float]) -> list[float]:
    """The values, those missing below all that are there; the test looks at nothing but their order."""
    known = [value for value in (*values, *others) if not math.isnan(value)]
    floor = min(known, default=0.0) - 1.0
    return [floor if math.isnan(value) else value for value in values]
