"""What the controllers with a learned policy share: they draw from it, and reward it for every batch of trials.

The reward of a trial is the share of trials with a result below it when the update is made, in Pareto rank, then in the
first objective (see `ranking`); so one learning rate serves objectives of any unit. A trial without a result has reward
0 and counts in the batch: the policy learns to keep the constraints. The advantage is the reward less a baseline, which
is an exponential moving average of the mean rewards of the batches.

References:
    Zoph, Le: Neural Architecture Search with Reinforcement Learning. ICLR 2017 (section 3.2, the baseline).
"""

import random
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from db.trial import Trial
from nas.controllers.controller import Controller, Proposal
from nas.controllers.known import KnownArchitectures
from nas.controllers.policy import Policy
from nas.controllers.ranking import Ranking
from nas.objectives import Objective
from search_spaces.choices import Decision
from search_spaces.errors import UserError
from search_spaces.space import Elaboration, SearchSpace


@dataclass(frozen=True, slots=True)
class Episode:
    """An observed trial as the policy sees it."""

    decisions: tuple[Decision, ...]
    log_probabilities: tuple[float, ...]
    """Of each answer by the policy that gave it, in nats."""
    rank_index: int | None
    """Where the trial is in the ranking; None where it has no result."""


class PolicyGradient(Controller):
    """A policy that steps up the gradient of `_objective` after every `batch` trials; see the head of this file.

    Raises:
        UserError: a setting is out of its range.
    """

    name: str

    def __init__(
        self,
        space: SearchSpace,
        objectives: tuple[Objective, ...],
        *,
        seed: int,
        hidden: int,
        batch: int,
        learning_rate: float,
        entropy_weight: float,
        baseline_decay: float,
        steps: int,
    ) -> None:
        super().__init__(space, objectives, seed=seed)
        self._require("hidden", hidden, hidden >= 1, "at least 1")
        self._require("batch", batch, batch >= 1, "at least 1")
        self._require("learning_rate", learning_rate, learning_rate > 0, "above 0")
        self._require("entropy_weight", entropy_weight, entropy_weight >= 0, "at least 0")
        self._require("baseline_decay", baseline_decay, 0 <= baseline_decay < 1, "in [0, 1)")
        self._known = KnownArchitectures(space)
        self._batch = batch
        self._steps = steps
        self._entropy_weight = entropy_weight
        self._baseline_decay = baseline_decay
        self._baseline: float | None = None
        self._policy = Policy(hidden, seed=seed)
        self._learning_rate = learning_rate
        self._optimiser: torch.optim.Adam | None = None
        self._ranking = Ranking()
        self._episodes: list[Episode] = []

    def _require(self, setting: str, value: float, fits: bool, range_: str) -> None:
        if not fits:
            raise UserError(f"controller {self.name!r}: {setting} must be {range_}, got {value}")

    def propose(self, number: int, *, rng: random.Random) -> Proposal:
        return self._known.first_unknown(lambda: self._drawn(rng))

    def _drawn(self, rng: random.Random) -> Proposal:
        elaboration, log_probabilities = self._policy.draw(self.space, rng=rng)
        return Proposal(elaboration, information={"log_probabilities": log_probabilities})

    def adopt(self, elaboration: Elaboration, number: int, *, rng: random.Random) -> Proposal:
        log_probabilities, _ = self._policy.evaluate([elaboration.decisions])
        return Proposal(elaboration, information={"log_probabilities": log_probabilities[0].tolist()})

    def observe(self, trial: Trial) -> None:
        self._known.add(trial)
        gains = self.gains(trial)
        index = None if gains is None else self._ranking.add(gains)
        decisions = self.space.replay(trial.genotype).decisions
        self._episodes.append(Episode(decisions, tuple(trial.information["log_probabilities"]), index))
        if len(self._episodes) == self._batch:
            self._update()
            self._episodes.clear()

    def _update(self) -> None:
        rewards = [
            0.0 if episode.rank_index is None else self._ranking.percentile(episode.rank_index)
            for episode in self._episodes
        ]
        mean_reward = sum(rewards) / len(rewards)
        baseline = mean_reward if self._baseline is None else self._baseline
        advantages = torch.tensor([reward - baseline for reward in rewards])
        for _ in range(self._steps):
            log_probabilities, entropies = self._policy.evaluate([episode.decisions for episode in self._episodes])
            value = self._objective(self._episodes, log_probabilities, advantages)
            self._ascend(value + self._entropy_weight * entropies.sum(1).mean())
        self._baseline = self._baseline_decay * baseline + (1 - self._baseline_decay) * mean_reward

    @abstractmethod
    def _objective(self, episodes: Sequence[Episode], log_probabilities: Tensor, advantages: Tensor) -> Tensor:
        """What the policy climbs besides entropy; log-probabilities (episodes, questions), advantages (episodes)."""

    def _ascend(self, value: Tensor) -> None:
        if not value.requires_grad:
            # No question had a choice.
            return
        weights = self._policy.weights
        if self._optimiser is None:
            self._optimiser = torch.optim.Adam(weights, lr=self._learning_rate, maximize=True, fused=True)
        # Questions may have been asked for the first time since the last step.
        self._optimiser.param_groups[0]["params"] = weights
        self._optimiser.zero_grad()
        torch.autograd.backward(value)
        self._optimiser.step()
