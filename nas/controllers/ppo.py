"""Proximal policy optimisation: several steps on each batch, as far as the answers' probabilities stay near the old ones.

The policy is that of `policy`, rewards and baseline are those of `policy_gradient`. After `batch` observed trials the
policy makes `epochs` steps of Adam up the gradient of the clipped objective (equation 7 of the paper), every answer
being a time step, plus entropy_weight times the entropy. The old probabilities are those by which the trial was
proposed; they are recorded with the proposal, so that what several workers bring back late is weighted rightly.

Deviations from the paper: an episode is an architecture, rewarded at its end alone and without discount; there is no
value network, for every episode starts alike, and the baseline of REINFORCE takes its place. A batch is not cut into
minibatches, being small.

The defaults are for some hundreds of trials, like those of REINFORCE, from which learning rate, entropy weight and the
number of steps for each trial are taken over (one for two trials); the clip range is the paper's.

References:
    Schulman, Wolski, Dhariwal, Radford, Klimov: Proximal Policy Optimization Algorithms. arXiv 1707.06347, 2017.
    Zoph, Vasudevan, Shlens, Le: Learning Transferable Architectures for Scalable Image Recognition. CVPR 2018.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from nas.controllers.policy_gradient import Episode, PolicyGradient
from nas.objectives import Objective
from search_spaces.space import SearchSpace


class Ppo(PolicyGradient):
    """An LSTM policy trained by PPO; see the head of this file.

    Raises:
        UserError: a setting is out of its range.
    """

    name = "ppo"

    def __init__(
        self,
        space: SearchSpace,
        objectives: tuple[Objective, ...],
        *,
        seed: int = 0,
        hidden: int = 64,
        batch: int = 8,
        epochs: int = 4,
        clip: float = 0.2,
        learning_rate: float = 0.01,
        entropy_weight: float = 0.1,
        baseline_decay: float = 0.9,
    ) -> None:
        super().__init__(
            space,
            objectives,
            seed=seed,
            hidden=hidden,
            batch=batch,
            learning_rate=learning_rate,
            entropy_weight=entropy_weight,
            baseline_decay=baseline_decay,
            steps=epochs,
        )
        self._require("epochs", epochs, epochs >= 1, "at least 1")
        self._require("clip", clip, clip > 0, "above 0")
        self._clip = clip

    def _objective(self, episodes: Sequence[Episode], log_probabilities: Tensor, advantages: Tensor) -> Tensor:
        questions = log_probabilities.shape[1]
        # Behind the end of an episode both are zero and the ratio is constant.
        old = [[*e.log_probabilities, *[0.0] * (questions - len(e.log_probabilities))] for e in episodes]
        ratios = (log_probabilities - torch.tensor(old)).exp()
        return clipped_objective(ratios, advantages.unsqueeze(1), clip=self._clip).sum(1).mean()


def clipped_objective(ratios: Tensor, advantages: Tensor, *, clip: float) -> Tensor:
    """min(r A, clip(r, 1 - c, 1 + c) A), element by element (equation 7 of Schulman et al. 2017)."""
    return torch.minimum(ratios * advantages, ratios.clamp(1 - clip, 1 + clip) * advantages)
