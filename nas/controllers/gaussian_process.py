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
        variances = self.variance * numpy.maximum(1.0 - numpy.einsum("ij,ij->j", reduced, reduced), 1e-12)
        return means, numpy.sqrt(variances)


def correlations(distances: Array, weights: tuple[float, ...]) -> Array:
    """The correlation of the signal for squared distances of the shape (groups, inputs, inputs)."""
    return numpy.exp(-numpy.tensordot(numpy.asarray(weights), distances, axes=1))


def condition(distances: Array, values: Array, counts: Array, parameters: Parameters) -> Posterior:
    """The posterior given the means `values` of `counts` observations each."""
    correlation = correlations(distances, parameters.weights)
    correlation[numpy.diag_indices_from(correlation)] += parameters.noise / counts
    factor = cholesky(correlation, lower=True, check_finite=False)
    ones = cho_solve((factor, True), numpy.ones(len(values)), check_finite=False)
    mean = float(ones @ values / ones.sum())
    solved = cho_solve((factor, True), values - mean, check_finite=False)
    variance = max(float((values - mean) @ solved) / len(values), 1e-12)
    return Posterior(parameters, mean, variance, factor, solved)


_WEIGHT_SPREAD = 2.0
_NOISE_LOCATION = 0.1
_NOISE_SPREAD = 1.5


def fit(distances: Array, values: Array, counts: Array) -> Parameters:
    """The parameters of maximal likelihood times prior for observations as of `condition`.

    The prior is log-normal. The weight of a group is about 1 over the groups' number and the group's mean distance, so
    that two inputs are typically `exp(-1)` alike, within a factor of `exp(2)`; the noise has a tenth of the signal's
    variance, within a factor of `exp(1.5)`. Both are wide: they only keep few observations from deciding all.
    """
    groups = len(distances)
    pairs = max(len(values) * (len(values) - 1), 1)
    scales = numpy.array([max(float(part.sum()) / pairs, 1e-12) for part in distances])
    prior = numpy.log(numpy.append(1.0 / (groups * scales), _NOISE_LOCATION))
    spread = numpy.append(numpy.full(groups, _WEIGHT_SPREAD), _NOISE_SPREAD)

    def loss(point: Array) -> tuple[float, Array]:
        weights, noise = numpy.exp(point[:-1]), float(numpy.exp(point[-1]))
        signal = correlations(distances, tuple(weights))
        whole = signal.copy()
        whole[numpy.diag_indices_from(whole)] += noise / counts + 1e-8
        factor = cholesky(whole, lower=True, check_finite=False)
        inverse = cho_solve((factor, True), numpy.eye(len(values)), check_finite=False)
        ones = inverse.sum(axis=1)
        mean = float(ones @ values / ones.sum())
        solved = inverse @ (values - mean)
        variance = max(float((values - mean) @ solved) / len(values), 1e-12)
        off = (point - prior) / spread
        result = 0.5 * len(values) * numpy.log(variance) + numpy.log(numpy.diag(factor)).sum() + 0.5 * off @ off
        sensitivity = 0.5 * (inverse - numpy.outer(solved, solved) / variance)
        weighted = sensitivity * signal
        gradient = numpy.array(
            [*(-weight * (weighted * part).sum() for weight, part in zip(weights, distances, strict=True)), 0.0]
        )
        gradient[-1] = noise * float(numpy.diag(sensitivity) @ (1.0 / counts))
        return float(result), gradient + off / spread

    found = minimize(loss, prior, jac=True, method="L-BFGS-B", options={"maxiter": 40})
    return Parameters(tuple(float(weight) for weight in numpy.exp(found.x[:-1])), float(numpy.exp(found.x[-1])))
