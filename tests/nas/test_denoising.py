"""How far a surrogate is trusted about what was observed: laws of the estimate, and left-out predictions themselves."""

import numpy
import pytest

from nas.controllers.denoising import denoised, foresight
from nas.controllers.gaussian_process import Parameters, condition


def test_a_surrogate_that_foresees_nothing_leaves_what_was_observed() -> None:
    rng = numpy.random.default_rng(0)
    observed = rng.normal(size=50)
    top = numpy.argsort(-observed)
    against = numpy.empty(50)
    against[top] = numpy.sort(observed)
    assert foresight(observed, against) == 0.0
    assert denoised(observed, against) == pytest.approx(observed)
    assert foresight(observed, numpy.zeros(50)) == 0.0


def test_a_surrogate_that_foresees_all_is_believed() -> None:
    observed = numpy.random.default_rng(0).normal(size=50)
    assert foresight(observed, 2.0 * observed) == pytest.approx(1.0)
    assert denoised(observed, 2.0 * observed) == pytest.approx(2.0 * observed)


def test_only_the_best_predicted_tell() -> None:
    """A surrogate that knows the poor apart and nothing of the best is not trusted about the best."""
    predicted = numpy.linspace(0.0, 1.0, 200)
    observed = predicted.copy()
    observed[-20:] = 1.0 + numpy.tile([0.1, -0.1, -0.1, 0.1], 5)
    assert numpy.corrcoef(observed, predicted)[0, 1] > 0.9
    assert foresight(observed, predicted) == pytest.approx(0.0, abs=1e-9)


def test_left_out_predictions_are_those_of_the_process_without_the_observation() -> None:
    rng = numpy.random.default_rng(2)
    points = rng.normal(size=(12, 2))
    distances = ((points[:, None] - points[None]) ** 2).transpose(2, 0, 1)
    values, counts = rng.normal(size=12), rng.integers(1, 4, size=12).astype(float)
    parameters = Parameters((0.3, 0.7), 0.2)
    whole = condition(distances, values, counts, parameters)
    covariance = numpy.exp(-numpy.tensordot(parameters.weights, distances, axes=1))
    noisy = covariance + numpy.diag(parameters.noise / counts)
    for index, prediction in enumerate(whole.left_out(values)):
        others = numpy.delete(numpy.arange(12), index)
        solved = numpy.linalg.solve(noisy[numpy.ix_(others, others)], values[others] - whole.mean)
        assert prediction == pytest.approx(whole.mean + covariance[index, others] @ solved, abs=1e-6)
