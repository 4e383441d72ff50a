"""REINFORCE with a recurrent policy: an LSTM answers the questions of the space and learns which answers pay.

At each question the LSTM takes in the embedding of the previous answer; a head for the question turns its state into
a distribution over the answers. Heads and embeddings belong to a question by its name and domain; they come into being
when it is first asked, with weights that depend on (seed, name, domain) alone.

- `OneOf`: a softmax.
- `Integer`: an ordered categorical (Tang & Agrawal 2020): what raises an answer raises its neighbours.
- `Subset`: anchor attention, section 3.3 of Zoph & Le: option j is in with probability
  sigmoid(v^T tanh(W_prev a_j + W_curr h)).

The update follows `batch` observed trials: one step of Adam up the gradient of
mean((reward - baseline) * log-probability + entropy_weight * entropy), the baseline being an exponential moving average
of the rewards. The entropy is that of each answer's distribution, summed along the answers given.

Deviations from the paper:

- The reward is the share of complete trials below this one when the update is made, in Pareto rank, then in the first
  objective (see `ranking`); so one learning rate serves objectives of any unit. The paper cubes the accuracy.
- A rejected, diverged or failed trial has reward 0 and counts in the batch: the policy learns to keep the constraints.
- Gradients are taken on the policy as it is at the update. With several workers, or within a batch, the trial may
  come from an earlier policy; no importance weight corrects this.
- One layer, not two. The anchors a_j are learned for each option, where the paper takes the LSTM's state at the earlier
  layer that the option stands for, because an option here need not be one. Bounds on the size of a subset condition the
  independent draws exactly: the log-probability is normalised over the admissible subsets.
- The paper trains 12,800 networks with learning rate 0.0006. The defaults are for some hundreds:
  a larger learning rate and small batches so that the policy moves at all, and an entropy weight that keeps it from
  proposing what is known already. Of a dozen settings tried on NAS-Bench-201, weights of up to 0.05 spent up to half
  of 150 trials on repeats; at 0.1 it was 3 to 6 %, and learning rates of 0.01 to 0.02 with batches of 2 to 5 did equally
  well.

Results are the same on one kind of CPU; another kind may round otherwise.

References:
    Williams: Simple Statistical Gradient-Following Algorithms for Connectionist Reinforcement Learning. 1992.
    Zoph, Le: Neural Architecture Search with Reinforcement Learning. ICLR 2017.
    Tang, Agrawal: Discretizing Continuous Action Space for On-Policy Optimization. AAAI 2020 (section 5, ordinal).
"""

import random
from dataclasses import dataclass
from hashlib import sha256
from typing import assert_never

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from db.trial import Trial, TrialState
from nas.controllers.controller import Controller, Proposal
from nas.controllers.ranking import Ranking
from nas.objectives import Objective
from nas.pareto import gains_of
from search_spaces.choices import Chooser, Decision, Domain, Integer, OneOf, Scalar, Subset, Value
from search_spaces.errors import UserError
from search_spaces.space import SearchSpace


@dataclass(frozen=True, slots=True)
class _Episode:
    decisions: tuple[Decision, ...]
    rank_index: int | None
    """Where the trial is in the ranking; None where it did not complete."""


class Reinforce(Controller):
    """An LSTM policy trained by REINFORCE; see the head of this file.

    Raises:
        UserError: a setting is out of its range.
    """

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
        super().__init__(space, objectives, seed=seed)
        for name, value, fits, range_ in (
            ("hidden", hidden, hidden >= 1, "at least 1"),
            ("batch", batch, batch >= 1, "at least 1"),
            ("learning_rate", learning_rate, learning_rate > 0, "above 0"),
            ("entropy_weight", entropy_weight, entropy_weight >= 0, "at least 0"),
            ("baseline_decay", baseline_decay, 0 <= baseline_decay < 1, "in [0, 1)"),
        ):
            if not fits:
                raise UserError(f"controller 'reinforce': {name} must be {range_}, got {value}")
        self._batch = batch
        self._entropy_weight = entropy_weight
        self._baseline_decay = baseline_decay
        self._baseline: float | None = None
        self._policy = _Policy(hidden, seed=seed)
        self._optimiser = torch.optim.Adam(self._policy.weights, lr=learning_rate, maximize=True)
        self._ranking = Ranking()
        self._episodes: list[_Episode] = []

    def propose(self, number: int, *, rng: random.Random) -> Proposal:
        with torch.no_grad():
            chooser = _PolicyChooser(self._policy, rng)
            elaboration = self.space.elaborate(chooser)
        return Proposal(elaboration, information={"log_probability": float(chooser.walk.log_probability)})

    def observe(self, trial: Trial) -> None:
        complete = trial.state is TrialState.COMPLETE
        index = self._ranking.add(gains_of(trial, self.objectives)) if complete else None
        self._episodes.append(_Episode(self.space.replay(trial.genotype).decisions, index))
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
        objective = torch.zeros(())
        for episode, reward in zip(self._episodes, rewards, strict=True):
            walk = _Walk(self._policy)
            for decision in episode.decisions:
                walk.step(decision.domain, decision.value)
            objective = objective + (reward - baseline) * walk.log_probability + self._entropy_weight * walk.entropy
        # Questions may have been asked for the first time since the last update.
        self._optimiser.param_groups[0]["params"] = self._policy.weights
        self._optimiser.zero_grad()
        if objective.requires_grad:
            torch.autograd.backward(objective / len(rewards))
            self._optimiser.step()
        self._baseline = self._baseline_decay * baseline + (1 - self._baseline_decay) * mean_reward


class _Policy:
    """The weights, each made when it is first needed, from (seed, name of the weight) alone."""

    def __init__(self, hidden: int, *, seed: int) -> None:
        self.hidden = hidden
        self._seed = seed
        self._weights: dict[str, torch.nn.Parameter] = {}
        self.weight("lstm.input", 4 * hidden, hidden)
        self.weight("lstm.state", 4 * hidden, hidden)
        self.weight("lstm.bias", 4 * hidden)

    @property
    def weights(self) -> list[torch.nn.Parameter]:
        """All weights so far; the optimiser treats each by itself, so their order does not matter."""
        return list(self._weights.values())

    def weight(self, name: str, *shape: int) -> Tensor:
        """The named weight, at first uniform in [-0.08, 0.08] as in the paper."""
        if name not in self._weights:
            digest = sha256(f"{self._seed}/{name}".encode()).digest()
            generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
            start = torch.empty(shape).uniform_(-0.08, 0.08, generator=generator)
            self._weights[name] = torch.nn.Parameter(start)
        return self._weights[name]


class _Walk:
    """One pass of the policy through the questions of an architecture; sums up log-probability and entropy, in nats."""

    def __init__(self, policy: _Policy) -> None:
        self._policy = policy
        self._input = torch.zeros(policy.hidden)
        self._state = torch.zeros(policy.hidden)
        self._memory = torch.zeros(policy.hidden)
        self.log_probability = torch.zeros(())
        self.entropy = torch.zeros(())

    def step(self, domain: Domain, value: Value | None, rng: random.Random | None = None) -> Value:
        """Passes one question; the answer is `value`, or drawn with `rng` where that is None."""
        if domain.count == 1:
            return next(iter(domain.values()))
        self._advance()
        match domain:
            case Subset():
                return self._step_subset(domain, value, rng)
            case OneOf() | Integer():
                return self._step_categorical(domain, value, rng)
            case _:
                assert_never(domain)

    def _advance(self) -> None:
        """One step of the LSTM, from the embedding of the previous answer."""
        weight = self._policy.weight
        width = self._policy.hidden
        gates = (
            weight("lstm.input", 4 * width, width) @ self._input
            + weight("lstm.state", 4 * width, width) @ self._state
            + weight("lstm.bias", 4 * width)
        )
        in_gate, forget_gate, cell, out_gate = gates.chunk(4)
        self._memory = forget_gate.sigmoid() * self._memory + in_gate.sigmoid() * cell.tanh()
        self._state = out_gate.sigmoid() * self._memory.tanh()

    def _step_categorical(self, domain: OneOf | Integer, value: Value | None, rng: random.Random | None) -> Value:
        count, width = domain.count, self._policy.hidden
        logits = self._policy.weight(f"head/{domain}", count, width) @ self._state + self._policy.weight(
            f"bias/{domain}", count
        )
        if isinstance(domain, Integer):
            # Ordinal logits: sum over j <= i of log s_j plus sum over j > i of log(1 - s_j), with s = sigmoid(logits).
            below, above = logsigmoid(logits), logsigmoid(-logits)
            logits = below.cumsum(0) + above.sum() - above.cumsum(0)
        log_probabilities = logits.log_softmax(0)
        probabilities = log_probabilities.exp()
        if value is None:
            assert rng is not None
            (index,) = rng.choices(range(count), weights=probabilities.tolist())
        else:
            index = _position(domain, value)
        self.log_probability = self.log_probability + log_probabilities[index]
        self.entropy = self.entropy - (probabilities * log_probabilities).sum()
        self._input = self._policy.weight(f"embedding/{domain}", count, width)[index]
        return _answer(domain, index)

    def _step_subset(self, domain: Subset, value: Value | None, rng: random.Random | None) -> Value:
        """Goes through the options in order, each with its probability given those before and the bounds on the size."""
        weight, width = self._policy.weight, self._policy.hidden
        count = len(domain.options)
        anchors = weight(f"anchors/{domain}", count, width)
        attention = (
            anchors @ weight("anchor.previous", width, width).T + weight("anchor.current", width, width) @ self._state
        )
        logits = attention.tanh() @ weight("anchor.v", width)
        tails = _size_weights(logits)
        chosen: list[int] = []
        for index in range(count):
            least, most = domain.minimum - len(chosen), domain.maximum - len(chosen)
            if most == 0:
                break
            if least == count - index:
                chosen.append(index)
                continue
            total = _admissible(tails[index], least, most)
            log_in = logits[index] + _admissible(tails[index + 1], least - 1, most - 1) - total
            log_out = _admissible(tails[index + 1], least, most) - total
            if value is None:
                assert rng is not None
                is_in = rng.random() < log_in.exp().item()
            else:
                assert isinstance(value, tuple)
                is_in = domain.options[index] in value
            if is_in:
                chosen.append(index)
            self.log_probability = self.log_probability + (log_in if is_in else log_out)
            self.entropy = self.entropy - log_in.exp() * log_in - log_out.exp() * log_out
        self._input = anchors[chosen].mean(0) if chosen else torch.zeros(width)
        return tuple(domain.options[index] for index in chosen)


class _PolicyChooser(Chooser):
    """Answers as the policy does, drawing with `rng`."""

    def __init__(self, policy: _Policy, rng: random.Random) -> None:
        self.walk = _Walk(policy)
        self._rng = rng

    def decide(self, domain: Domain) -> Value:
        return self.walk.step(domain, None, self._rng)


def _position(domain: OneOf | Integer, value: Value) -> int:
    if isinstance(domain, Integer):
        assert isinstance(value, int)
        return value - domain.low
    assert not isinstance(value, tuple)
    return domain.options.index(value)


def _answer(domain: OneOf | Integer, index: int) -> Scalar:
    return domain.low + index if isinstance(domain, Integer) else domain.options[index]


def _size_weights(logits: Tensor) -> list[Tensor]:
    """For each j, the log of the summed odds of the subsets of options j, j + 1, … by their size, from 0 up.

    These are the elementary symmetric polynomials of the odds, from which the size of a sum of independent yes-or-no
    draws follows (Poisson binomial distribution).
    """
    tails = [torch.zeros(1)]
    for logit in reversed(logits.unbind()):
        rest = tails[-1]
        inner = torch.logaddexp(rest[1:], logit + rest[:-1])
        tails.append(torch.cat((rest[:1], inner, logit + rest[-1:])))
    return tails[::-1]


def _admissible(tail: Tensor, least: int, most: int) -> Tensor:
    """The log of the summed odds of the sizes from `least` to `most`."""
    return tail[max(least, 0) : most + 1].logsumexp(0)
