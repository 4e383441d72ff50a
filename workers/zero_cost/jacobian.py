"""The proxy from the Jacobian: how differently a network treats different images, to first order."""

import numpy

from workers.task import Diverged
from workers.zero_cost.candidate import Candidate, gradients

STABILISER = 1e-5
"""`k` of the authors, which keeps logarithm and reciprocal finite."""


def jacob_cov(candidate: Candidate) -> float:
    """-Σ (log(v + k) + 1 / (v + k)) over the eigenvalues v of the correlations of the images' Jacobians, k = 1e-5.

    The Jacobian of an image is the gradient of the sum of all logits by the image. Correlations and eigenvalues are
    in double precision.

    Raises:
        Diverged: the output does not depend on the input, or the gradient is not finite, so there is no correlation.

    References:
        Mellor, Turner, Storkey, Crowley. Neural Architecture Search without Training. arXiv:2006.04647v1, 2020
        (the first version; the later ones have `naswot`).
    """
    images = candidate.images.clone().requires_grad_()
    (slopes,) = gradients(candidate.module(images).sum(), [images])
    jacobians = slopes.flatten(1).double().cpu().numpy()
    if not numpy.isfinite(jacobians).all():
        raise Diverged("jacob_cov: the gradient by the input is not finite")
    if not jacobians.std(axis=1).all():
        raise Diverged("jacob_cov: the output does not depend on the input")
    eigenvalues = numpy.linalg.eigvalsh(numpy.corrcoef(jacobians))
    shifted = eigenvalues.clip(min=0) + STABILISER
    return -float((numpy.log(shifted) + 1 / shifted).sum())
