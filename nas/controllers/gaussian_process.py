"""A Gaussian process on grouped squared distances, its few parameters found by maximal a posteriori likelihood.

The prior covariance of two inputs is `variance · exp(-Σ_g weight_g · distance_g)`, a squared exponential with one
weight for each group of features; observations add independent noise. Mean and variance are worked out in closed form
(generalised least squares; Rasmussen & Williams 2006, section 2.7, and the profile likelihood), so that what is
searched for is the weights and the share of the noise alone.

References:
    Rasmussen, Williams: Gaussian Processes for Machine Learning. MIT Press 2006 (algorithm 2.1, equation 5.9).
"""

from dataclasses import dataclass

import numpy
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize

Array = NDArray[numpy.float64]

_WEIGHT_SPREAD = 2.0
_NOISE_LOCATION = 0.1
_NOISE_SPREAD = 1.5

_JITTER = 1e-8
"""Keeps equal inputs from making the covariance singular where noise is nearly nothing."""

_LEAST_VARIANCE = 1e-12
"""Values that are all equal have no variance, but a logarithm of it is taken."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """The weight of each group of features, and the variance of the noise over that of the signal."""

    weights: tuple[float, ...]
    noise: float


@dataclass(frozen=True, slots=True)
class Posterior:
    """The process given its observations."""

    parameters: Parameters
    mean: float
    variance: float
    """Of the signal; the noise has `variance * parameters.noise`."""
    fitted: Array
    """Means of the signal where it was observed."""
    _factor: Array
    _solved: Array

    @property
    def noise_deviation(self) -> float:
        """The standard deviation of the noise of one observation."""
        return float((self.variance * self.parameters.noise) ** 0.5)

    def predict(self, distances: Array) -> tuple[Array, Array]:
        """Mean and standard deviation of the signal, noise left out, at inputs with these distances.

        `distances` has the shape (groups, inputs, observations).
        """
        cross = correlations(distances, self.parameters.weights)
        means = self.mean + cross @ self._solved
        reduced = solve_triangular(self._factor, cross.T, lower=True, check_finite=False)
        variances = self.variance * numpy.maximum(1.0 - numpy.einsum("ij,ij->j", reduced, reduced), _LEAST_VARIANCE)
        return means, numpy.sqrt(variances)


def correlations(distances: Array, weights: tuple[float, ...]) -> Array:
    """The correlation of the signal for squared distances of the shape (groups, inputs, inputs)."""
    return numpy.exp(-numpy.tensordot(numpy.asarray(weights), distances, axes=1))


def condition(distances: Array, values: Array, counts: Array, parameters: Parameters) -> Posterior:
    """The posterior given the means `values` of `counts` observations each."""
    correlation = correlations(distances, parameters.weights)
    noises = parameters.noise / counts + _JITTER
    correlation[numpy.diag_indices_from(correlation)] += noises
    factor = cholesky(correlation, lower=True, check_finite=False)
    ones = cho_solve((factor, True), numpy.ones(len(values)), check_finite=False)
    mean = float(ones @ values / ones.sum())
    solved = cho_solve((factor, True), values - mean, check_finite=False)
    variance = max(float((values - mean) @ solved) / len(values), _LEAST_VARIANCE)
    return Posterior(parameters, mean, variance, values - noises * solved, factor, solved)


def fit(distances: Array, values: Array, counts: Array) -> Parameters:
    """The parameters of maximal likelihood times prior (`negative_log_density`) for observations as of `condition`."""
    start, _ = _prior(distances)
    # A first step may reach so far that numbers overflow; the line search then comes back.
    with numpy.errstate(over="ignore", invalid="ignore"):
        found = minimize(negative_log_density, start, args=(distances, values, counts), jac=True, method="L-BFGS-B")
    return Parameters(tuple(float(weight) for weight in numpy.exp(found.x[:-1])), float(numpy.exp(found.x[-1])))


def negative_log_density(point: Array, distances: Array, values: Array, counts: Array) -> tuple[float, Array]:
    """Minus the logarithm of likelihood times prior, up to a constant, and its gradient.

    `point` has the logarithms of the weights and of the noise. The prior is log-normal. The weight of a group is about
    1 over the number of groups and the group's mean distance, so that two inputs are typically `exp(-1)` alike, within
    a factor of `exp(2)`; the noise has a tenth of the signal's variance, within a factor of `exp(1.5)`. Both are wide:
    they only keep few observations from deciding all.
    """
    weights, noise = numpy.exp(point[:-1]), float(numpy.exp(point[-1]))
    signal = correlations(distances, tuple(weights))
    whole = signal.copy()
    whole[numpy.diag_indices_from(whole)] += noise / counts + _JITTER
    factor = cholesky(whole, lower=True, check_finite=False)
    inverse = cho_solve((factor, True), numpy.eye(len(values)), check_finite=False)
    ones = inverse.sum(axis=1)
    mean = float(ones @ values / ones.sum())
    solved = inverse @ (values - mean)
    variance = max(float((values - mean) @ solved) / len(values), _LEAST_VARIANCE)
    start, spread = _prior(distances)
    off = (point - start) / spread
    loss = 0.5 * len(values) * numpy.log(variance) + numpy.log(numpy.diag(factor)).sum() + 0.5 * off @ off
    # Equation 5.9: the derivative for a parameter is the sum of `sensitivity` times that of the covariance.
    sensitivity = 0.5 * (inverse - numpy.outer(solved, solved) / variance)
    by_weight = -weights * numpy.tensordot(distances, sensitivity * signal, axes=((1, 2), (0, 1)))
    by_noise = noise * float(numpy.diag(sensitivity) @ (1.0 / counts))
    return float(loss), numpy.append(by_weight, by_noise) + off / spread


def _prior(distances: Array) -> tuple[Array, Array]:
    """Location and spread of the logarithms of the parameters."""
    groups, count, _ = distances.shape
    typical = distances.sum(axis=(1, 2)) / max(count * (count - 1), 1)
    location = numpy.append(1.0 / (groups * numpy.where(typical > 0.0, typical, 1.0)), _NOISE_LOCATION)
    return numpy.log(location), numpy.append(numpy.full(groups, _WEIGHT_SPREAD), _NOISE_SPREAD)
