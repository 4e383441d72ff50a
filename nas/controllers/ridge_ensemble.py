"""Bagged ridge regression on grouped features, worked out from squared distances alone.

Each group of features is centred on the observations and scaled to variance 1 in total, so that groups weigh alike
whatever their number of features. Every member of the ensemble is fitted to a bootstrap sample; its dual form needs
only inner products, which double centring takes from distances (Torgerson 1952). The spread of the members is the
doubt about an input.

References:
    Breiman: Bagging Predictors. Machine Learning 24, 1996.
    Saunders, Gammerman, Vovk: Ridge Regression Learning Algorithm in Dual Variables. ICML 1998.
    Torgerson: Multidimensional Scaling: I. Theory and Method. Psychometrika 17, 1952.
"""

from dataclasses import dataclass

import numpy
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

Array = NDArray[numpy.float64]


@dataclass(frozen=True, slots=True)
class RidgeEnsemble:
    """Ridge regressions fitted to bootstrap samples; made by `fit_ridges`."""

    _scales: Array
    _column_means: Array
    _coefficients: Array
    _intercepts: Array

    def predict(self, distances: Array) -> tuple[Array, Array]:
        """Mean and standard deviation over the members, at inputs with these distances to the observations.

        `distances` has the shape (groups, inputs, observations).
        """
        centred = numpy.tensordot(self._scales, distances, axes=1) - self._column_means
        # The part of the double centring that is constant for an input is taken over the observations, too.
        centred -= centred.mean(axis=1, keepdims=True)
        members = centred @ (-0.5 * self._coefficients) + self._intercepts
        return members.mean(axis=1), members.std(axis=1)


def fit_ridges(
    distances: Array, values: Array, *, members: int, penalty: float, rng: numpy.random.Generator
) -> RidgeEnsemble:
    """Fits an ensemble to observations with these squared distances, of shape (groups, observations, observations).

    `penalty` is the variance of the noise over that of the signal.
    """
    count = len(values)
    # A group's total variance is half its mean squared distance.
    variances = 0.5 * distances.mean(axis=(1, 2))
    scales = numpy.where(variances > 0.0, 1.0 / numpy.maximum(variances, 1e-12), 0.0)
    scales /= max(numpy.count_nonzero(scales), 1)
    products = numpy.tensordot(scales, distances, axes=1)
    column_means = products.mean(axis=0)
    products -= column_means
    products -= products.mean(axis=1, keepdims=True)
    products *= -0.5
    coefficients = numpy.zeros((count, members))
    intercepts = numpy.zeros(members)
    for member in range(members):
        times = numpy.bincount(rng.integers(count, size=count), minlength=count)
        drawn = numpy.flatnonzero(times)
        intercepts[member] = numpy.average(values[drawn], weights=times[drawn])
        whole = products[numpy.ix_(drawn, drawn)]
        whole.flat[:: len(drawn) + 1] += penalty / times[drawn]
        factor = cho_factor(whole, lower=True, overwrite_a=True, check_finite=False)
        coefficients[drawn, member] = cho_solve(factor, values[drawn] - intercepts[member], check_finite=False)
    return RidgeEnsemble(scales, column_means, coefficients, intercepts)
