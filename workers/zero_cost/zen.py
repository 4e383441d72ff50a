"""The Zen-score: how strongly the features of a network with Gaussian weights answer to a small change of the input."""

from typing import Any

import torch
from torch import Tensor, nn

from workers.zero_cost.candidate import Candidate

PERTURBATION = 0.01
"""`α` of the authors."""

IMAGES = 16
"""The most images used: the score is a mean over them, and they hardly differ."""

GLOBAL_POOLS = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d)


def zen(candidate: Candidate) -> float:
    """The logarithm of Δ, plus that of every batch norm's σ: Δ is the mean over images of Σ |f(x) - f(x + α ε)|.

    x and ε are standard normal, weights are redrawn from the standard normal distribution with biases 0, and f is what
    the last global or adaptive pool reads (the last `Flatten` where there is none, or else the output). σ² is the
    variance of a batch norm's input, averaged over its channels, so that the sum gives back the scale that batch norms
    take away. Double precision, since without norms the scale grows with the depth. The score is -inf where nothing
    comes through.

    Deviations: residual links, pools and other norms stay in the network, which Lin et al. strip to a plain one. σ is of the batch
    itself, as in the paper; the authors' code takes the running average after the passes, which still holds 0.81 of
    its initial 1. A batch norm that no input reaches (σ = 0, on a dead branch) counts for nothing. One draw of 16
    images at most stands for the mean of 32 draws.

    References:
        Lin, Wang, Sun, Chen, Sun, Qian, Li, Jin. Zen-NAS: A Zero-Shot NAS for High-Performance Image Recognition.
        ICCV 2021 (algorithm 1).
    """
    module = candidate.module.double()
    with torch.no_grad():
        for parameter in candidate.weights:
            nn.init.normal_(parameter)
        for part in module.modules():
            if isinstance(part, nn.Conv1d | nn.Conv2d | nn.Linear) and part.bias is not None:
                nn.init.zeros_(part.bias)
        x = torch.randn_like(candidate.images[:IMAGES], dtype=torch.float64)
        noise = torch.randn_like(x)
        features, log_scale = _features(module, x)
        moved, _ = _features(module, x + PERTURBATION * noise)
        distance = (features - moved).abs().flatten(1).sum(1).mean()
        return float(distance.log() + log_scale)


def _features(module: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """What goes into the head, and the sum of log σ over the batch norms."""
    pooled: list[Tensor] = []
    flattened: list[Tensor] = []
    log_scale = x.new_zeros(())

    def pool(module: nn.Module, inputs: Any) -> None:
        pooled[:] = inputs

    def flatten(module: nn.Module, inputs: Any) -> None:
        flattened[:] = inputs

    def measure(module: nn.Module, inputs: Any) -> None:
        nonlocal log_scale
        (values,) = inputs
        axes = [axis for axis in range(values.ndim) if axis != 1]
        variance = values.var(axes, correction=0).mean()
        if variance > 0:
            log_scale = log_scale + variance.log() / 2

    hooks = {GLOBAL_POOLS: pool, (nn.Flatten,): flatten, (nn.BatchNorm1d, nn.BatchNorm2d): measure}
    handles = [
        part.register_forward_pre_hook(hook)
        for part in module.modules()
        for kinds, hook in hooks.items()
        if isinstance(part, kinds)
    ]
    output = module(x)
    for handle in handles:
        handle.remove()
    return (pooled or flattened or [output])[0], log_scale
