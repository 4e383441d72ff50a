"""Scores trials by one number, for the controllers that need one: the Pareto rank, then the first objective.

A trial's rank is the number of trials that dominate it (Fonseca & Fleming 1993, who count from 1); of equal ranks the
first objective decides. With a single objective this is the order of that objective. The score of a trial is its
place in this order, so it does not depend on the unit or the spread of an objective.

References:
    Fonseca, Fleming: Genetic Algorithms for Multiobjective Optimization: Formulation, Discussion and Generalization.
    International Conference on Genetic Algorithms, 1993.
"""

import math
from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence

from nas.pareto import Gains, dominates

SortKey = tuple[int, float]
"""Greater is better: minus the number of vectors that dominate this one, then the gain in the first objective."""


def sort_key(gains: Gains, others: Sequence[Gains]) -> SortKey:
    """Where `gains` stands among `others`."""
    return -sum(dominates(other, gains) for other in others), _first(gains)


class Ranking:
    """The order of all gains added so far; with several objectives, adding costs a comparison with each earlier one."""

    def __init__(self) -> None:
        self._gains: list[Gains] = []
        self._dominated: list[int] = []
        self._sorted: list[tuple[bool, float]] = []
        """With a single objective, its values in order, what is no number first; the counts stay zero then."""

    def add(self, gains: Gains) -> int:
        """Enters a vector and returns its index, counted from 0."""
        count = 0
        if len(gains) == 1:
            insort(self._sorted, _single(gains))
        else:
            for index, other in enumerate(self._gains):
                if dominates(other, gains):
                    count += 1
                elif dominates(gains, other):
                    self._dominated[index] += 1
        self._gains.append(gains)
        self._dominated.append(count)
        return len(self._gains) - 1

    def percentile(self, index: int) -> float:
        """The share of the vectors that stand below this one, in (0, 1); those that stand level count half."""
        if self._sorted:
            single = _single(self._gains[index])
            below, not_above = bisect_left(self._sorted, single), bisect_right(self._sorted, single)
            return (below + 0.5 * (not_above - below)) / len(self._sorted)
        own = self._key(index)
        keys = [self._key(other) for other in range(len(self._gains))]
        return (sum(key < own for key in keys) + 0.5 * keys.count(own)) / len(keys)

    def _key(self, index: int) -> SortKey:
        return -self._dominated[index], _first(self._gains[index])


def _single(gains: Gains) -> tuple[bool, float]:
    return not math.isnan(gains[0]), _first(gains)


def _first(gains: Gains) -> float:
    return -math.inf if math.isnan(gains[0]) else gains[0]
