"""Scores candidates by what is believed of them: expected improvement, Thompson samples, random scalarisation.

References:
    Jones, Schonlau, Welch: Efficient Global Optimization of Expensive Black-Box Functions. Journal of Global
    Optimization 13, 1998 (equation 15).
    Knowles: ParEGO: A Hybrid Algorithm with On-Line Landscape Approximation for Expensive Multiobjective Optimization
    Problems. IEEE Transactions on Evolutionary Computation 10(1), 2006 (equation 2).
    Paria, Kandasamy, Póczos: A Flexible Framework for Multi-Objective Bayesian Optimization using Random
    Scalarizations. UAI 2019.
"""

import random
from collections.abc import Callable

import numpy
from numpy.typing import NDArray
from scipy.special import ndtr

from nas.pareto import pareto_front

Array = NDArray[numpy.float64]

_AUGMENTATION = 0.05
"""The weight of the sum beside the maximum, as Knowles has it: of equal maxima the smaller sum is better."""


def expected_improvement(means: Array, deviations: Array, bar: float) -> Array:
    """By how much normal values of these means and (positive) deviations exceed `bar` on average."""
    standard = (means - bar) / deviations
    density = numpy.exp(-0.5 * standard**2) / numpy.sqrt(2.0 * numpy.pi)
    improvement: Array = deviations * (standard * ndtr(standard) + density)
    return improvement


def independent_samples(means: Array, deviations: Array, *, rng: random.Random) -> Array:
    """One draw from each of these normal distributions, in the shape of `means`."""
    draws = numpy.array([rng.gauss(0.0, 1.0) for _ in range(means.size)]).reshape(means.shape)
    samples: Array = means + deviations * draws
    return samples


def random_scalarisation(observed: Array, *, rng: random.Random) -> Callable[[Array], Array]:
    """An augmented Chebyshev scalarisation with uniform weights, more being better in its result as in its arguments.

    Arguments have the shape (objectives, vectors). Each objective is scaled by its range over the front of `observed`.
    """
    front = observed[:, list(pareto_front([tuple(vector) for vector in observed.T.tolist()]))]
    best, span = front.max(axis=1), front.max(axis=1) - front.min(axis=1)
    span = numpy.where(span > 0.0, span, 1.0)
    # Exponential numbers divided by their sum are uniform on the simplex.
    draws = numpy.array([rng.expovariate(1.0) for _ in best])
    weights = draws / draws.sum()

    def scalarise(values: Array) -> Array:
        losses = weights[:, None] * ((best[:, None] - values) / span[:, None])
        result: Array = -(losses.max(axis=0) + _AUGMENTATION * losses.sum(axis=0))
        return result

    return scalarise
