"""Estimates what observed architectures are worth, between what was seen of each and what a surrogate makes of it.

A single run is part the architecture's worth and part luck, and single runs cannot tell how much of each. What can be
told is how well the surrogate foresees: its prediction of every observation from all others. Where left-out predictions
and observations go together among the best, the surrogate knows what makes them good, and what it does not explain is
rather luck; where they do not, the observation is all there is. So an estimate is

    trust · left-out prediction + (1 - trust) · observation

with their correlation (Pearson's, 0 where it is negative) as the trust. It is taken among those predicted best, for
those are what is chosen from, and predicting the poor ones is easy.
"""

import numpy

from nas.controllers.gaussian_process import Array

TOP_SHARE = 0.1
"""Among how many of the best predicted the surrogate is judged; a correlation of fewer than `LEAST_TOP` tells little."""

LEAST_TOP = 10


def denoised(observed: Array, left_out: Array) -> Array:
    """What each is worth, from observations and their left-out predictions, both of the shape (architectures,)."""
    trust = foresight(observed, left_out)
    return trust * left_out + (1.0 - trust) * observed


def foresight(observed: Array, left_out: Array) -> float:
    """The correlation of predictions and observations among the best predicted, from 0 to 1."""
    count = max(LEAST_TOP, int(TOP_SHARE * len(observed)))
    top = numpy.argsort(-left_out, kind="stable")[:count]
    seen, predicted = observed[top] - observed[top].mean(), left_out[top] - left_out[top].mean()
    scale = float(numpy.sqrt((seen @ seen) * (predicted @ predicted)))
    return max(float(seen @ predicted) / scale, 0.0) if scale > 0.0 else 0.0
