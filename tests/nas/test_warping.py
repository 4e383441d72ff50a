"""The half-rank warping keeps the order, the distances of the better half, and no outlier."""

import numpy
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nas.controllers.warping import half_rank_warping

VALUES = arrays(numpy.float64, st.integers(2, 30), elements=st.floats(-1e3, 1e3).map(lambda value: round(value, 3)))


@given(VALUES)
def test_order_is_kept_and_the_result_is_standardised(values: numpy.ndarray) -> None:
    warped = half_rank_warping(values).observed
    order = numpy.argsort(values, kind="stable")
    assert (numpy.diff(warped[order]) >= 0).all()
    assert ((numpy.diff(values[order]) > 0) == (numpy.diff(warped[order]) > 1e-12)).all()
    assert abs(warped.mean()) < 1e-9
    assert numpy.isclose(warped.std(), 1.0) or (values == values[0]).all()


@given(VALUES)
def test_observed_values_are_warped_as_they_were(values: numpy.ndarray) -> None:
    warping = half_rank_warping(values)
    numpy.testing.assert_allclose(warping(values), warping.observed, atol=1e-9)
    assert warping(values.max(keepdims=True) + 1) >= warping.observed.max()


def test_the_better_half_keeps_its_distances_and_failures_set_no_scale() -> None:
    good = numpy.linspace(90.0, 94.0, 21)
    near, far = (half_rank_warping(numpy.append(good, bad)).observed for bad in (89.0, 10.0))
    numpy.testing.assert_allclose(near, far)
    steps = numpy.diff(near[11:21])
    numpy.testing.assert_allclose(steps, steps[0])
