"""The policy's probabilities are probabilities, what it draws follows them, and its weights do not depend on history."""

import math
import random
from collections import Counter

import pytest
import torch

from nas.controllers.policy import Policy
from search_spaces.choices import Chooser, Decision, Domain, Integer, OneOf, Subset
from search_spaces.space import SearchSpace
from tests.contracts.controller import ToySpace, draws

DOMAINS: list[Domain] = [
    OneOf("operation", ("none", "conv", "pool")),
    Integer("depth", 2, 6),
    Subset("inputs", (0, 1, 2, 3), 0, 4),
    Subset("inputs", (0, 1, 2, 3), 1, 2),
    Subset("inputs", ("a", "b", "c", "d", "e"), 3, 5),
    Subset("inputs", (0, 1, 2), 2, 2),
]


class OneQuestion(SearchSpace):
    """Asks one question; the architecture is that of the smallest toy."""

    name = "one-question"

    def __init__(self, domain: Domain) -> None:
        self._domain = domain

    def build(self, choose: Chooser):
        choose.decide(self._domain)
        return ToySpace(1).sample(rng=random.Random(0))


def opinionated(space: SearchSpace, *, seed: int = 0) -> Policy:
    """A policy whose weights are far from equal, so that its answers are not nearly uniform."""
    policy = Policy(8, seed=seed)
    for number in range(30):
        policy.draw(space, rng=draws(number))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in policy.weights:
            weight.normal_(generator=generator)
    return policy


def of_every_answer(policy: Policy, domain: Domain) -> tuple[torch.Tensor, torch.Tensor]:
    log_probabilities, entropies = policy.evaluate([[Decision(domain, value)] for value in domain.values()])
    return log_probabilities.detach()[:, 0].double(), entropies.detach()[:, 0].double()


@pytest.mark.parametrize("domain", DOMAINS, ids=str)
def test_probabilities_of_all_answers_sum_to_one_and_their_entropy_is_exact(domain: Domain) -> None:
    log_probabilities, entropies = of_every_answer(opinionated(OneQuestion(domain)), domain)
    assert log_probabilities.exp().sum().item() == pytest.approx(1, abs=1e-5)
    assert log_probabilities.exp().max() > 1.2 / domain.count
    expected = -(log_probabilities.exp() * log_probabilities).sum()
    torch.testing.assert_close(entropies, expected.expand(domain.count), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("domain", DOMAINS, ids=str)
def test_answers_are_drawn_with_their_probabilities(domain: Domain) -> None:
    space = OneQuestion(domain)
    policy = opinionated(space)
    log_probabilities, _ = of_every_answer(policy, domain)
    drawn: Counter[object] = Counter()
    count = 1500
    for number in range(count):
        elaboration, (log_probability,) = policy.draw(space, rng=draws(number))
        value = elaboration.decisions[0].value
        drawn[value] += 1
        assert log_probability == pytest.approx(log_probabilities[list(domain.values()).index(value)].item(), abs=1e-4)
    for value, log_probability in zip(domain.values(), log_probabilities.tolist(), strict=True):
        share = math.exp(log_probability)
        # Five standard deviations of a binomial share.
        assert abs(drawn[value] / count - share) < 5 * math.sqrt(share * (1 - share) / count) + 1e-3


def test_walks_in_step_are_the_walks_one_by_one() -> None:
    space = ToySpace(3)
    policy = opinionated(space)
    walks, drawn = [], []
    for number in range(12):
        elaboration, log_probabilities = policy.draw(space, rng=draws(number))
        walks.append(elaboration.decisions)
        drawn.append(log_probabilities)
    assert len({len(walk) for walk in drawn} | {walk[1].value for walk in walks}) > 1
    together, entropies = policy.evaluate(walks)
    assert together.shape == entropies.shape == (12, max(map(len, drawn)))
    for index, (walk, expected) in enumerate(zip(walks, drawn, strict=True)):
        alone, entropy = policy.evaluate([walk])
        assert together[index, : len(expected)].tolist() == pytest.approx(expected, abs=1e-4)
        assert alone[0].tolist() == pytest.approx(expected, abs=1e-4)
        assert entropies[index, : len(expected)].tolist() == pytest.approx(entropy[0].tolist(), abs=1e-4)
        assert not together[index, len(expected) :].any()
        assert not entropies[index, len(expected) :].any()


@pytest.mark.parametrize("domain", DOMAINS, ids=str)
def test_climbing_the_entropy_leads_to_equal_probabilities(domain: Domain) -> None:
    policy = opinionated(OneQuestion(domain))
    walk = [Decision(domain, next(domain.values()))]
    optimiser = torch.optim.Adam(policy.weights, lr=0.05, maximize=True)
    for _ in range(150):
        _, entropies = policy.evaluate([walk])
        optimiser.zero_grad()
        entropies.sum().backward()
        optimiser.step()
    highest = of_every_answer(policy, domain)[1][0].item()
    assert highest <= math.log(domain.count) + 1e-4
    # The ordinal logits of an integer cannot make all answers equal.
    assert highest > (0.9 if isinstance(domain, Integer) else 0.99) * math.log(domain.count)


def test_weights_do_not_depend_on_which_questions_came_first() -> None:
    space = ToySpace()
    fresh, used, other = Policy(16, seed=5), Policy(16, seed=5), Policy(16, seed=6)
    for number in range(50, 80):
        used.draw(space, rng=draws(number))
    for number in range(10):
        assert used.draw(space, rng=draws(number)) == fresh.draw(space, rng=draws(number))
    assert fresh.draw(space, rng=draws(0))[1] != other.draw(space, rng=draws(0))[1]


def test_a_question_with_a_single_answer_is_passed_over() -> None:
    single = OneOf("only", ("this",))
    policy = Policy(8, seed=0)
    elaboration, log_probabilities = policy.draw(OneQuestion(single), rng=draws(0))
    assert elaboration.decisions == (Decision(single, "this"),)
    assert log_probabilities == []
    assert policy.evaluate([elaboration.decisions])[0].shape == (1, 0)
