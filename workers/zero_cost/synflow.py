"""Synaptic flow: how much of an all-ones input comes through a network of absolute weights; needs no data."""

import math

import torch
from torch import nn

from workers.zero_cost.candidate import Candidate, gradients, total

NORMALISATIONS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm, nn.LocalResponseNorm)


def synflow(candidate: Candidate) -> float:
    """The sum over all weights of |w ∂R/∂w|, where R is the sum of the outputs for one input of ones.

    All parameters are replaced by their absolute values and every normalisation by the identity, since it would undo
    the scale that is measured. Double precision throughout, which holds scores to 1e308; a single one overflows on
    NAS-Bench-201 already. A network that nothing comes through has the score 0.

    Deviations: Tanaka et al. give each parameter a score, and prune in rounds; the sum as a score of the network, and
    leaving out batch norms, are of Abdelfattah et al. The latter leave out batch norms alone; here layer norms and
    local response norms go too. Biases take part in R; they and the parameters of norms have no score themselves.

    References:
        Tanaka, Kunin, Yamins, Ganguli. Pruning Neural Networks without Any Data by Iteratively Conserving Synaptic
        Flow. NeurIPS 2020 (equation 2).
        Abdelfattah, Mehrotra, Dudziak, Lane. Zero-Cost Proxies for Lightweight NAS. ICLR 2021 (section 3.2).
    """
    module = candidate.module.double()
    _remove_normalisations(module)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.abs_()
    ones = torch.ones_like(candidate.images[:1], dtype=torch.float64)
    weights = candidate.weights
    flows = gradients(module(ones).sum(), weights)
    return total((weight * flow).abs() for weight, flow in zip(weights, flows, strict=True))


def log10_synflow(candidate: Candidate) -> float:
    """log10(1 + synflow), for the eye and for what is not done on ranks."""
    return math.log10(1 + synflow(candidate))


def _remove_normalisations(module: nn.Module) -> None:
    for parent in list(module.modules()):
        for name, child in parent._modules.items():
            if isinstance(child, NORMALISATIONS):
                parent._modules[name] = nn.Identity()
