"""Proxies from the gradients of the loss on one batch: what the weights, or the feature maps, mean to the loss.

The loss is the cross-entropy at the initial weights. A network without weights that the loss depends on scores 0.
"""

from typing import Any

import torch
from torch import Tensor, nn

from workers.zero_cost.candidate import Candidate, gradients, total


def snip(candidate: Candidate) -> float:
    """The sum over all weights of |w ∂L/∂w|: how much the loss would change if weights were cut.

    Deviation: Lee et al. divide by this sum to compare the weights of a network; as a score of networks it is used
    itself, as in Abdelfattah et al.

    References:
        Lee, Ajanthan, Torr. SNIP: Single-shot Network Pruning based on Connection Sensitivity. ICLR 2019 (equation 6).
        Abdelfattah, Mehrotra, Dudziak, Lane. Zero-Cost Proxies for Lightweight NAS. ICLR 2021.
    """
    weights = candidate.weights
    slopes = gradients(candidate.loss(), weights)
    return total((weight * slope).abs() for weight, slope in zip(weights, slopes, strict=True))


def grad_norm(candidate: Candidate) -> float:
    """The sum over the layers of the Euclidean norms of the gradient ∂L/∂w.

    Deviation: the paper speaks of one norm; the sum of the norms of layers is what the authors' code computes.

    References:
        Abdelfattah, Mehrotra, Dudziak, Lane. Zero-Cost Proxies for Lightweight NAS. ICLR 2021 (section 3.1).
    """
    return total(slope.norm() for slope in gradients(candidate.loss(), candidate.weights))


def grasp(candidate: Candidate) -> float:
    """The sum over all weights of -w (H g), with g the gradient of the loss and H its Hessian.

    How much the norm of the gradient would shrink without the weights, to first order.

    Deviations: logits are not divided by a temperature (Wang et al. take 200), and gradient and Hessian are of the
    same batch, which need not hold ten images of every class; both as in Abdelfattah et al.

    References:
        Wang, Zhang, Grosse. Picking Winning Tickets Before Training by Preserving Gradient Flow. ICLR 2020
        (equation 8).
        Abdelfattah, Mehrotra, Dudziak, Lane. Zero-Cost Proxies for Lightweight NAS. ICLR 2021.
    """
    weights = candidate.weights
    slopes = gradients(candidate.loss(), weights, differentiable=True)
    squared_norm = sum(((slope.detach() * slope).sum() for slope in slopes), start=torch.zeros(()))
    curved = gradients(squared_norm, weights)
    return -total(weight * product for weight, product in zip(weights, curved, strict=True))


def fisher(candidate: Candidate) -> float:
    """The sum over all channels of the mean over images of (Σ a g)² / 2.

    `a` is what a convolution or linear layer gives for an image, `g` the gradient of the summed loss by it, and the
    inner sum goes over positions: the Fisher information of a factor before the channel.

    Deviations: Theis et al. and Turner et al. score channels and blocks; the sum over a network is of Abdelfattah et
    al., who also take the outputs of layers before normalisation and activation. They differentiate the mean loss of
    the batch, which divides the score by N² and changes no rank. Batch norms mix images, so `g` of one image holds a
    little of the others' losses.

    References:
        Theis, Korshunova, Tejani, Huszár. Faster Gaze Prediction with Dense Networks and Fisher Pruning. 2018
        (equation 6).
        Turner, Crowley, O'Boyle, Storkey, Gray. BlockSwap: Fisher-guided Block Substitution for Network Compression
        on a Budget. ICLR 2020 (equation 2).
        Abdelfattah, Mehrotra, Dudziak, Lane. Zero-Cost Proxies for Lightweight NAS. ICLR 2021.
    """
    maps: list[Tensor] = []

    def keep(module: nn.Module, inputs: Any, output: Tensor) -> None:
        maps.append(output)

    for module in candidate.module.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear):
            module.register_forward_hook(keep)
    slopes = gradients(candidate.loss(reduction="sum"), maps)
    return total(
        # Vectors are maps of one position.
        (each * slope).reshape(*each.shape[:2], -1).sum(2).square().mean(0) / 2
        for each, slope in zip(maps, slopes, strict=True)
    )
