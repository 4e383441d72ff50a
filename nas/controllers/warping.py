"""Warps observed values so that a Gaussian process fits them: what is bad is told by its rank alone.

A search space has networks that do not train at all, and their values would set the scale for all others. So what lies
below the median gets the normal quantile of its rank, scaled as if the better half were half of a normal distribution;
the better half, where the search is decided, keeps its distances and with them the scale of its noise.

References:
    Song, Zhang, Lee, Fertig, Huang, Belenki, Kochanski, Ariafar, Vasudevan, Perel, Golovin: The Vizier Gaussian Process
    Bandit Algorithm. arXiv 2408.11527, 2024 (half-rank warping).
"""

from dataclasses import dataclass

import numpy
from numpy.typing import NDArray
from scipy.stats import norm, rankdata

Array = NDArray[numpy.float64]


@dataclass(frozen=True, slots=True)
class Warping:
    """The warping learnt from observed values: an increasing function, and what it makes of these values."""

    observed: Array
    """The observed values warped, then standardised to mean 0 and deviation 1, in the order given."""
    _values: Array
    _warped: Array

    def __call__(self, values: Array) -> Array:
        """Other values warped alike: between observed ones linearly, beyond them by the slope of the better half."""
        inside: Array = numpy.interp(values, self._values, self._warped)
        beyond = numpy.maximum(values - self._values[-1], 0.0) + numpy.minimum(values - self._values[0], 0.0)
        middle = len(self._values) // 2
        rise = self._values[-1] - self._values[middle]
        slope = (self._warped[-1] - self._warped[middle]) / rise if rise > 0.0 else 0.0
        inside += slope * beyond
        return inside


def half_rank_warping(values: Array) -> Warping:
    """The warping of some values, more being better; all of them equal become zeros."""
    median = numpy.median(values)
    above = values[values >= median] - median
    deviation = float(numpy.sqrt(numpy.mean(above**2)))
    warped = values - median
    if deviation > 0.0:
        ranks = (rankdata(values) - 0.5) / len(values)
        warped = numpy.where(values < median, deviation * norm.ppf(ranks), warped)
    warped = warped - warped.mean()
    warped = warped / (warped.std() or 1.0)
    order = numpy.argsort(values, kind="stable")
    return Warping(warped, values[order], warped[order])
