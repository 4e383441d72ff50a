"""The proxy from activation codes: how well the linear regions of a network tell the images of a batch apart."""

from typing import Any

import numpy
import torch
from torch import Tensor, nn

from workers.task import Diverged
from workers.zero_cost.candidate import Candidate

GATES = (nn.ReLU, nn.ReLU6, nn.GELU, nn.SiLU, nn.Hardswish)
"""The activations that let what is positive through, and so give a bit for each of their inputs."""

MOST_BITS = 2**23
"""Bits of an image at once whose counts single precision holds exactly."""


def naswot(candidate: Candidate) -> float:
    """The logarithm of |det K|, where K counts, for each pair of images, the bits in which their codes agree.

    The code of an image has a bit for each input of each gate: whether it is positive. Counts are exact and the
    determinant is in double precision.

    Deviations: besides ReLUs, ReLU6, GELU, SiLU and Hardswish count as gates, which lets other networks be ranked.

    Raises:
        Diverged: there are no gates, or two images have the same code, so K is singular.

    References:
        Mellor, Turner, Storkey, Crowley. Neural Architecture Search without Training. ICML 2021 (equation 2).
    """
    size = len(candidate.images)
    agreements = torch.zeros((size, size), dtype=torch.float64)
    bits = 0

    def count(module: nn.Module, inputs: Any) -> None:
        nonlocal bits
        # As ±1 the product of two codes is the bits that agree less those that do not.
        codes = torch.where(inputs[0].flatten(1) > 0, 1.0, -1.0)
        bits += codes.shape[1]
        for part in torch.split(codes, MOST_BITS, dim=1):
            agreements.add_(((part @ part.T).double().cpu() + part.shape[1]) / 2)

    for module in candidate.module.modules():
        if isinstance(module, GATES):
            module.register_forward_pre_hook(count)
    with torch.no_grad():
        candidate.module(candidate.images)
    if not bits:
        raise Diverged("naswot: no activation gives codes; it needs ReLU, ReLU6, GELU, SiLU or Hardswish")
    if _off_diagonal(agreements).max() >= bits:
        raise Diverged("naswot is -inf: two images have the same code")
    return float(numpy.linalg.slogdet(agreements.numpy()).logabsdet)


def _off_diagonal(matrix: Tensor) -> Tensor:
    return matrix[~torch.eye(len(matrix), dtype=torch.bool)]
