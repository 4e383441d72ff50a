"""A recurrent policy over decisions: an LSTM that answers the questions of a space with probabilities.

At each question the LSTM takes in the embedding of the previous answer; a head for the question turns its state into
a distribution over the answers. Heads and embeddings belong to a question by its name and domain; they come into being
when it is first asked, with weights that depend on (seed, name, domain) alone. A question with a single answer is
passed over.

- `OneOf`: a softmax.
- `Integer`: an ordered categorical (Tang & Agrawal 2020): what raises an answer raises its neighbours.
- `Subset`: anchor attention, section 3.3 of Zoph & Le: option j has the logit v^T tanh(W_prev a_j + W_curr h), and the
  options are independent but for the bounds on the size: a subset within them has a probability in proportion to the
  product of its options' odds.

Deviations from Zoph & Le: one layer, not two. The anchors a_j are learned for each option, where the paper takes the
LSTM's state at the earlier layer that the option stands for, because an option here need not be one.

Results are the same on one kind of CPU; another kind may round otherwise.

Shape legend: B walks, H hidden, A answers or options.

References:
    Zoph, Le: Neural Architecture Search with Reinforcement Learning. ICLR 2017.
    Tang, Agrawal: Discretizing Continuous Action Space for On-Policy Optimization. AAAI 2020 (section 5, ordinal).
"""

import math
import random
from collections.abc import Sequence
from hashlib import sha256

import torch
from torch import Tensor
from torch.nn.functional import linear, logsigmoid

from search_spaces.choices import Chooser, Decision, Domain, Integer, OneOf, Subset, Value
from search_spaces.space import Elaboration, SearchSpace


class Policy:
    """The weights, and what they say: draws an architecture, or tells how likely given ones are."""

    def __init__(self, hidden: int, *, seed: int) -> None:
        self.hidden = hidden
        self._seed = seed
        self._weights: dict[tuple[str, Domain | None], torch.nn.Parameter] = {}

    @property
    def weights(self) -> list[torch.nn.Parameter]:
        """All weights so far; an optimiser treats each by itself, so their order does not matter."""
        return list(self._weights.values())

    def draw(self, space: SearchSpace, *, rng: random.Random) -> tuple[Elaboration, list[float]]:
        """An architecture as the policy would make it, and the log-probability of each answer, in nats."""
        chooser = _DrawingChooser(self, rng)
        with torch.no_grad():
            elaboration = space.elaborate(chooser)
        return elaboration, chooser.log_probabilities

    def evaluate(self, walks: Sequence[Sequence[Decision]]) -> tuple[Tensor, Tensor]:
        """The log-probability of each answer and the entropy of its distribution, in nats, with gradients.

        Both have the shape (walks, most questions with a choice in a walk) and are zero behind the end of a walk. The
        walks go through the LSTM in step, and those that are asked the same question share its head.
        """
        open_walks = [[decision for decision in walk if decision.domain.count > 1] for walk in walks]
        flow = self.start(len(walks))
        columns: list[tuple[Tensor, Tensor]] = []
        for step in range(max(map(len, open_walks), default=0)):
            state, memory = self.advance(*flow)
            asked: dict[Domain, list[int]] = {}
            for index, walk in enumerate(open_walks):
                if step < len(walk):
                    asked.setdefault(walk[step].domain, []).append(index)
            answered = [
                self._answer(domain, [open_walks[index][step].value for index in rows], _rows(state, rows))
                for domain, rows in asked.items()
            ]
            order = [index for rows in asked.values() for index in rows]
            log_probability, entropy, embedding = (
                _scatter(list(parts), order, len(walks)) for parts in zip(*answered, strict=True)
            )
            columns.append((log_probability, entropy))
            flow = embedding, state, memory
        if not columns:
            return torch.zeros(len(walks), 0), torch.zeros(len(walks), 0)
        log_probabilities, entropies = zip(*columns, strict=True)
        return torch.stack(log_probabilities, 1), torch.stack(entropies, 1)

    def start(self, walks: int) -> tuple[Tensor, Tensor, Tensor]:
        """Input, state and memory of the LSTM before the first question."""
        zeros = torch.zeros(walks, self.hidden)
        return zeros, zeros, zeros

    def advance(self, embedding: Tensor, state: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """One step of the LSTM, from the embedding of the previous answer; returns state and memory."""
        width = self.hidden
        found: tuple[Tensor, Tensor] = torch.lstm_cell(
            embedding,
            (state, memory),
            self._weight("lstm.input", None, 4 * width, width),
            self._weight("lstm.state", None, 4 * width, width),
            self._weight("lstm.bias", None, 4 * width),
        )
        return found

    def log_probabilities(self, domain: OneOf | Integer, state: Tensor) -> Tensor:
        """The log-probability of each answer, in order; (B, A)."""
        head = self._weight("head", domain, domain.count, self.hidden)
        logits = linear(state, head, self._weight("bias", domain, domain.count))
        if isinstance(domain, Integer):
            # Ordinal logits: sum over j <= i of log s_j plus sum over j > i of log(1 - s_j), with s = sigmoid(logits).
            below, above = logsigmoid(logits), logsigmoid(-logits)
            logits = below.cumsum(1) + above.sum(1, keepdim=True) - above.cumsum(1)
        return logits.log_softmax(1)

    def embeddings(self, domain: OneOf | Integer) -> Tensor:
        """What the LSTM takes in of each answer; (A, H)."""
        return self._weight("embedding", domain, domain.count, self.hidden)

    def subset_logits(self, domain: Subset, state: Tensor) -> Tensor:
        """The log of each option's odds; (B, A)."""
        width = self.hidden
        anchors = linear(self.anchors(domain), self._weight("anchor.previous", None, width, width))
        current = linear(state, self._weight("anchor.current", None, width, width))
        return (anchors + current.unsqueeze(1)).tanh() @ self._weight("anchor.v", None, width)

    def anchors(self, domain: Subset) -> Tensor:
        """What stands for each option; the LSTM takes in the mean of those chosen. (A, H)."""
        return self._weight("anchors", domain, len(domain.options), self.hidden)

    def _answer(self, domain: Domain, values: Sequence[Value], state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log-probability (B), entropy (B) and embedding (B, H) of the answers of all walks that are asked this now."""
        if isinstance(domain, Subset):
            chosen = torch.tensor([_is_chosen(domain, value) for value in values])
            logits = self.subset_logits(domain, state)
            total = _log_total(logits, domain.minimum, domain.maximum)
            # An exponential family: the derivatives of the log of the total are the options' probabilities.
            (marginals,) = torch.autograd.grad(total.sum(), logits, create_graph=True)
            log_probability = (chosen * logits).sum(1) - total
            entropy = total - (marginals * logits).sum(1)
            sizes = chosen.sum(1, keepdim=True).clamp(min=1)
            return log_probability, entropy, chosen @ self.anchors(domain) / sizes
        log_probabilities = self.log_probabilities(domain, state)
        indices = torch.tensor([_position(domain, value) for value in values])
        log_probability = log_probabilities.gather(1, indices.unsqueeze(1)).squeeze(1)
        entropy = -(log_probabilities.exp() * log_probabilities).sum(1)
        return log_probability, entropy, self.embeddings(domain)[indices]

    def _weight(self, name: str, domain: Domain | None, *shape: int) -> Tensor:
        """The weight of that name, of a question or shared by all, at first uniform in [-0.08, 0.08] as in the paper."""
        found = self._weights.get((name, domain))
        if found is None:
            text = f"{self._seed}/{name}" if domain is None else f"{self._seed}/{name}/{domain}"
            generator = torch.Generator().manual_seed(int.from_bytes(sha256(text.encode()).digest()[:7], "big"))
            start = torch.empty(shape).uniform_(-0.08, 0.08, generator=generator)
            found = self._weights[name, domain] = torch.nn.Parameter(start)
        return found


class _DrawingChooser(Chooser):
    """Answers as the policy does, drawing with `rng`."""

    def __init__(self, policy: Policy, rng: random.Random) -> None:
        self._policy = policy
        self._rng = rng
        self._flow = policy.start(1)
        self.log_probabilities: list[float] = []

    def decide(self, domain: Domain) -> Value:
        if domain.count == 1:
            return next(iter(domain.values()))
        state, memory = self._policy.advance(*self._flow)
        if isinstance(domain, Subset):
            logits = self._policy.subset_logits(domain, state)[0].tolist()
            chosen, log_probability = _draw_subset(logits, domain, self._rng)
            anchors = self._policy.anchors(domain)
            embedding = anchors[chosen].mean(0) if chosen else torch.zeros(self._policy.hidden)
            value: Value = tuple(domain.options[index] for index in chosen)
        else:
            log_probabilities = self._policy.log_probabilities(domain, state)[0].tolist()
            weights = [math.exp(number) for number in log_probabilities]
            (index,) = self._rng.choices(range(domain.count), weights=weights)
            log_probability = log_probabilities[index]
            embedding = self._policy.embeddings(domain)[index]
            value = domain.low + index if isinstance(domain, Integer) else domain.options[index]
        self.log_probabilities.append(log_probability)
        self._flow = embedding.unsqueeze(0), state, memory
        return value


def _rows(values: Tensor, rows: list[int]) -> Tensor:
    return values if len(rows) == len(values) else values[rows]


def _scatter(parts: list[Tensor], order: list[int], count: int) -> Tensor:
    """Rows in the order of the walks, from parts that hold those of the walks named by `order`; zero for all others."""
    together = parts[0] if len(parts) == 1 else torch.cat(parts)
    if order == list(range(count)):
        return together
    return together.new_zeros(count, *together.shape[1:]).index_copy(0, torch.tensor(order), together)


def _position(domain: OneOf | Integer, value: Value) -> int:
    if isinstance(domain, Integer):
        assert isinstance(value, int)
        return value - domain.low
    assert not isinstance(value, tuple)
    return domain.options.index(value)


def _is_chosen(domain: Subset, value: Value) -> list[float]:
    assert isinstance(value, tuple)
    return [float(option in value) for option in domain.options]


def _log_total(logits: Tensor, least: int, most: int) -> Tensor:
    """The log of the summed odds of all subsets with `least` to `most` options; (B).

    By size, these sums are the elementary symmetric polynomials of the odds; each option in turn extends them.
    """
    by_size = logits.new_zeros(len(logits), 1)
    for option in range(logits.shape[1]):
        logit = logits[:, option : option + 1]
        inner = torch.logaddexp(by_size[:, 1:], logit + by_size[:, :-1])
        by_size = torch.cat((by_size[:, :1], inner, logit + by_size[:, -1:]), 1)
    return by_size[:, least : most + 1].logsumexp(1)


def _draw_subset(logits: list[float], domain: Subset, rng: random.Random) -> tuple[list[int], float]:
    """The indices of the options drawn, and the log-probability of just these."""
    # totals[j][n]: the log of the summed odds of the subsets of n of the options j, j + 1, …
    totals = [[0.0]]
    for logit in reversed(logits):
        rest = totals[-1]
        inner = [_log_sum((rest[size], logit + rest[size - 1])) for size in range(1, len(rest))]
        totals.append([0.0, *inner, logit + rest[-1]])
    totals.reverse()
    chosen: list[int] = []
    log_probability = 0.0
    for index, logit in enumerate(logits):
        least, most = domain.minimum - len(chosen), domain.maximum - len(chosen)
        total = _log_sum(totals[index][max(least, 0) : most + 1])
        # No draw where the bounds leave no choice, lest rounding break them.
        log_in = logit + _log_sum(totals[index + 1][max(least - 1, 0) : most]) - total if most > 0 else -math.inf
        is_in = least == len(logits) - index or rng.random() < math.exp(log_in)
        if is_in:
            chosen.append(index)
            log_probability += log_in
        else:
            log_probability += _log_sum(totals[index + 1][max(least, 0) : most + 1]) - total
    return chosen, log_probability


def _log_sum(values: Sequence[float]) -> float:
    """The log of the sum of what these are the logs of."""
    greatest = max(values)
    return greatest + math.log(sum(math.exp(value - greatest) for value in values))
