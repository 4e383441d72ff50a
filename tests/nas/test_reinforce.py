"""The policy's probabilities are probabilities, its weights do not depend on history, and it learns what is rewarded."""

import math
import random
from collections import Counter
from dataclasses import replace

import pytest

from db.trial import TrialState
from nas.controllers.reinforce import Reinforce
from search_spaces.choices import Chooser, Domain, Integer, OneOf, Subset
from search_spaces.errors import UserError
from search_spaces.space import SearchSpace
from tests.contracts.controller import ACCURACY, Problem, ToySpace, draws, drive, toy_values

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


def trained(domain: Domain, wanted: object, count: int) -> tuple[Reinforce, Problem]:
    """A policy that has been paid for one answer."""
    problem = Problem(
        OneQuestion(domain), lambda genotype: {"accuracy": float(genotype.values[0][1] == wanted)}, (ACCURACY,)
    )
    controller = Reinforce(problem.space, problem.objectives, hidden=8, entropy_weight=0.02, learning_rate=0.02)
    drive(controller, problem, count)
    return controller, problem


@pytest.mark.parametrize("domain", DOMAINS, ids=str)
def test_probabilities_of_all_answers_sum_to_one_and_are_what_is_drawn(domain: Domain) -> None:
    controller, _ = trained(domain, list(domain.values())[1], 40)
    drawn: Counter[object] = Counter()
    probability: dict[object, float] = {}
    for number in range(600):
        proposal = controller.propose(number, rng=draws(number))
        value = proposal.elaboration.decisions[0].value
        drawn[value] += 1
        probability[value] = math.exp(proposal.information["log_probability"])
    unseen = domain.count - len(probability)
    assert sum(probability.values()) <= 1 + 1e-5
    assert sum(probability.values()) > 1 - 0.02 * (unseen + 1e-3)
    for value, expected in probability.items():
        # Five standard deviations of a binomial share.
        assert abs(drawn[value] / 600 - expected) < 5 * math.sqrt(expected * (1 - expected) / 600) + 1e-3


@pytest.mark.parametrize("domain", DOMAINS, ids=str)
def test_it_learns_the_answer_that_is_rewarded(domain: Domain) -> None:
    wanted = list(domain.values())[-2]
    controller, _ = trained(domain, wanted, 160)
    answers = [controller.propose(n, rng=draws(n)).elaboration.decisions[0].value for n in range(200)]
    assert answers.count(wanted) / 200 > 2.0 / domain.count


def test_neighbours_of_a_rewarded_number_gain_more_than_far_ones() -> None:
    controller, _ = trained(Integer("depth", 1, 9), 2, 60)
    answers = Counter(controller.propose(n, rng=draws(n)).elaboration.decisions[0].value for n in range(600))
    assert answers[1] + answers[3] > answers[8] + answers[9]


def test_weights_do_not_depend_on_which_questions_came_first() -> None:
    problem = Problem(ToySpace(), toy_values, (ACCURACY,))
    fresh = Reinforce(problem.space, problem.objectives, seed=5)
    used = Reinforce(problem.space, problem.objectives, seed=5)
    for number in range(50, 80):
        used.propose(number, rng=draws(number))
    for number in range(10):
        assert used.propose(number, rng=draws(number)) == fresh.propose(number, rng=draws(number))


def test_it_learns_to_keep_a_constraint() -> None:
    problem = Problem(ToySpace(), toy_values, (ACCURACY,))
    controller = Reinforce(problem.space, problem.objectives, hidden=16)
    rejected: list[bool] = []
    for number in range(200):
        proposal = controller.propose(number, rng=draws(number))
        broken = dict(proposal.elaboration.genotype.values)["stage1.width"] != 4
        rejected.append(broken)
        trial = problem.trial(proposal, number)
        controller.observe(replace(trial, number=None, state=TrialState.REJECTED, values={}) if broken else trial)
    assert sum(rejected[-60:]) < 0.6 * sum(rejected[:60])


@pytest.mark.parametrize(
    "settings",
    [{"batch": 0}, {"hidden": 0}, {"learning_rate": 0.0}, {"entropy_weight": -1.0}, {"baseline_decay": 1.0}],
)
def test_settings_out_of_range_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(UserError, match=next(iter(settings))):
        Reinforce(ToySpace(), (ACCURACY,), **settings)
