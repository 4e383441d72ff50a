"""The Gaussian process agrees with scikit-learn's, and its parameters have the greatest posterior density."""

import numpy
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel

from nas.controllers.gaussian_process import Parameters, condition, fit, negative_log_density


def squared(first: numpy.ndarray, second: numpy.ndarray) -> numpy.ndarray:
    """Squared distances in two groups: the first two features, the third one."""
    parts = ((first[:, None, part] - second[None, :, part]) ** 2 for part in (slice(0, 2), slice(2, 3)))
    return numpy.stack([part.sum(axis=-1) for part in parts])


@pytest.fixture
def data() -> tuple[numpy.ndarray, numpy.ndarray, numpy.ndarray]:
    rng = numpy.random.default_rng(0)
    inputs = rng.normal(size=(40, 3))
    values = numpy.sin(2 * inputs[:, 0]) + inputs[:, 1] + 0.1 * rng.normal(size=40)
    return inputs, values, rng.normal(size=(15, 3))


def test_the_posterior_is_that_of_scikit_learn(data) -> None:
    inputs, values, others = data
    parameters = Parameters((0.7, 0.05), 0.02)
    counts = numpy.ones(40)
    counts[:5] = 3.0
    ours = condition(squared(inputs, inputs), values, counts, parameters)
    scales = [1 / numpy.sqrt(2 * weight) for weight in (0.7, 0.7, 0.05)]
    theirs = GaussianProcessRegressor(
        ConstantKernel(ours.variance, "fixed") * RBF(scales, "fixed"),
        alpha=ours.variance * 0.02 / counts,
        optimizer=None,
    ).fit(inputs, values - ours.mean)
    means, deviations = theirs.predict(others, return_std=True)
    found, spread = ours.predict(squared(others, inputs))
    numpy.testing.assert_allclose(found, means + ours.mean, rtol=1e-7)
    numpy.testing.assert_allclose(spread, deviations, rtol=1e-6)
    numpy.testing.assert_allclose(ours.fitted, ours.predict(squared(inputs, inputs))[0], rtol=1e-6, atol=1e-9)


def test_mean_and_variance_have_the_greatest_likelihood(data) -> None:
    inputs, values, _ = data
    distances = squared(inputs, inputs)
    parameters = Parameters((0.7, 0.05), 0.02)
    ours = condition(distances, values, numpy.ones(40), parameters)
    correlation = numpy.exp(-0.7 * distances[0] - 0.05 * distances[1]) + 0.02 * numpy.eye(40)

    def log_density(mean: float, variance: float) -> float:
        rest = values - mean
        _, determinant = numpy.linalg.slogdet(variance * correlation)
        return float(-0.5 * determinant - 0.5 * rest @ numpy.linalg.solve(variance * correlation, rest))

    best = log_density(ours.mean, ours.variance)
    for mean, variance in ((0.05, 1.0), (-0.05, 1.0), (0.0, 1.1), (0.0, 0.9)):
        assert log_density(ours.mean + mean, ours.variance * variance) < best


def test_the_fit_finds_which_features_matter_and_how_loud_the_noise_is(data) -> None:
    inputs, values, _ = data
    distances = squared(inputs, inputs)
    found = fit(distances, values, numpy.ones(40))
    assert found.weights[0] > 20 * found.weights[1]
    posterior = condition(distances, values, numpy.ones(40), found)
    assert 0.05 < posterior.noise_deviation < 0.2


def test_the_gradient_of_the_fit_is_right(data) -> None:
    inputs, values, _ = data
    distances = squared(inputs, inputs)
    counts = numpy.linspace(1.0, 3.0, 40)
    point = numpy.log([0.7, 0.05, 0.02])
    loss, gradient = negative_log_density(point, distances, values, counts)
    for index in range(3):
        step = numpy.zeros(3)
        step[index] = 1e-5
        above = negative_log_density(point + step, distances, values, counts)[0]
        below = negative_log_density(point - step, distances, values, counts)[0]
        assert gradient[index] == pytest.approx((above - below) / 2e-5, rel=1e-4)
    assert numpy.isfinite(loss)


def test_more_observations_of_one_input_weigh_more() -> None:
    inputs = numpy.array([[0.0, 0.0, 0.0], [5.0, 0.0, 0.0]])
    distances = squared(inputs, inputs)
    values = numpy.array([1.0, -1.0])
    once = condition(distances, values, numpy.array([1.0, 1.0]), Parameters((1.0, 1.0), 1.0))
    often = condition(distances, values, numpy.array([9.0, 1.0]), Parameters((1.0, 1.0), 1.0))
    assert often.predict(distances)[0][0] > once.predict(distances)[0][0]
