"""Pareto dominance: who dominates whom, the front, and the order of fronts behind it.

Everything here works on vectors of **gains**, where more is better in every place (`Objective.gain`). A vector that
holds a NaN dominates nothing, is dominated by every vector without one, and never stands on a front.

References:
    Zhang, Tian, Cheng, Jin: An Efficient Approach to Nondominated Sorting for Evolutionary Multiobjective
    Optimization. IEEE Transactions on Evolutionary Computation 19(2), 2015 (ENS-SS, the sort used here).
    Deb, Pratap, Agarwal, Meyarivan: A Fast and Elitist Multiobjective Genetic Algorithm: NSGA-II. IEEE Transactions on
    Evolutionary Computation 6(2), 2002 (section III B, the crowding distance).
"""

import math
from collections.abc import Sequence

from db.trial import Trial
from nas.objectives import Objective

Gains = Sequence[float]
"""One value for each objective, more being better."""


def dominates(first: Gains, second: Gains) -> bool:
    """Whether `first` is nowhere worse than `second` and somewhere better."""
    if _has_nan(first):
        return False
    if _has_nan(second):
        return True
    return all(a >= b for a, b in zip(first, second, strict=True)) and tuple(first) != tuple(second)


def non_dominated_sort(gains: Sequence[Gains]) -> tuple[tuple[int, ...], ...]:
    """The indices of `gains` by front: the first is dominated by none, the next only by members of earlier ones.

    Equal vectors share a front; vectors with a NaN are together in a last one. Within a front the indices ascend.
    """
    fronts: list[list[int]] = []
    # In descending lexicographic order no vector is dominated by a later one.
    for index in sorted(_known(gains), key=lambda position: tuple(gains[position]), reverse=True):
        for members in fronts:
            # The latest members are the likeliest to dominate.
            if not any(dominates(gains[member], gains[index]) for member in reversed(members)):
                members.append(index)
                break
        else:
            fronts.append([index])
    unknown = tuple(index for index, vector in enumerate(gains) if _has_nan(vector))
    return (*(tuple(sorted(members)) for members in fronts), *((unknown,) if unknown else ()))


def pareto_front(gains: Sequence[Gains]) -> tuple[int, ...]:
    """The ascending indices of the vectors that no other dominates; equal vectors all stand on it."""
    members: list[int] = []
    for index in sorted(_known(gains), key=lambda position: tuple(gains[position]), reverse=True):
        if not any(dominates(gains[member], gains[index]) for member in reversed(members)):
            members.append(index)
    return tuple(sorted(members))


def crowding_distances(gains: Sequence[Gains]) -> tuple[float, ...]:
    """How far the neighbours of each vector of one front lie apart, summed over the objectives; infinite at the ends.

    Each objective is measured in units of its span over the front; one without a finite span counts nothing, nor makes
    ends. Of equal vectors only the outermost in the order of `gains` have room beside them.
    """
    distances = [0.0] * len(gains)
    for objective in range(len(gains[0]) if gains else 0):
        order = sorted(range(len(gains)), key=lambda index: gains[index][objective])
        values = [gains[index][objective] for index in order]
        span = values[-1] - values[0]
        if not 0 < span < math.inf:
            continue
        distances[order[0]] = distances[order[-1]] = math.inf
        for place in range(1, len(order) - 1):
            distances[order[place]] += (values[place + 1] - values[place - 1]) / span
    return tuple(distances)


def gains_of(trial: Trial, objectives: Sequence[Objective]) -> tuple[float, ...]:
    """The trial's value of each objective, sign turned so that more is better."""
    return tuple(objective.gain(trial.values) for objective in objectives)


def _known(gains: Sequence[Gains]) -> list[int]:
    return [index for index, vector in enumerate(gains) if not _has_nan(vector)]


def _has_nan(vector: Gains) -> bool:
    return any(map(math.isnan, vector))
