"""REINFORCE with a recurrent policy: an LSTM answers the questions of the space and learns which answers pay.

The policy is that of `policy`, rewards and baseline are those of `policy_gradient`. The update follows `batch` observed
trials: one step of Adam up the gradient of mean((reward - baseline) * log-probability + entropy_weight * entropy). The
entropy is that of each answer's distribution, summed along the answers given.

Deviations from the paper:

- The reward is a rank, see `policy_gradient`. The paper cubes the accuracy.
- Gradients are taken on the policy as it is at the update. With several workers, or within a batch, the trial may
  come from an earlier policy; no importance weight corrects this.
- The paper trains 12,800 networks with learning rate 0.0006. The defaults are for some hundreds:
  a larger learning rate and small batches so that the policy moves at all, and an entropy weight that keeps it from
  proposing what is known already. Of a dozen settings tried on NAS-Bench-201, weights of up to 0.05 spent up to half
  of 150 trials on repeats; at 0.1 it was 3 to 6 %, and learning rates of 0.01 to 0.02 with batches of 2 to 5 did equally
  well.

References:
    Williams: Simple Statistical Gradient-Following Algorithms for Connectionist Reinforcement Learning. 1992.
    Zoph, Le: Neural Architecture Search with Reinforcement Learning. ICLR 2017.
"""

from collections.abc import Sequence

from torch import Tensor

from nas.controllers.policy_gradient import Episode, PolicyGradient
from nas.objectives import Objective
from search_spaces.space import SearchSpace


class Reinforce(PolicyGradient):
    """An LSTM policy trained by REINFORCE; see the head of this file.

    Raises:
        UserError: a setting is out of its range.
    """

    name = "reinforce"

    def __init__(
        self,
        space: SearchSpace,
        objectives: tuple[Objective, ...],
        *,
        seed: int = 0,
        hidden: int = 64,
        batch: int = 2,
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
            steps=1,
        )

    def _objective(self, episodes: Sequence[Episode], log_probabilities: Tensor, advantages: Tensor) -> Tensor:
        return (advantages * log_probabilities.sum(1)).mean()
