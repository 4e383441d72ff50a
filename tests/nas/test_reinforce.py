"""REINFORCE and PPO learn what is rewarded, and to keep constraints."""

from collections import Counter
from dataclasses import replace

import pytest

from db.trial import TrialState
from nas.controllers import known
from nas.controllers.policy_gradient import PolicyGradient
from nas.controllers.ppo import Ppo
from nas.controllers.reinforce import Reinforce
from search_spaces.choices import Domain, Integer
from search_spaces.errors import UserError
from tests.contracts.controller import ACCURACY, Problem, ToySpace, draws, drive, toy_values
from tests.nas.test_policy import DOMAINS, OneQuestion


@pytest.fixture
def known_answers_are_given_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A space of a few answers is soon known whole, and then every draw but the last would be in vain."""
    monkeypatch.setattr(known, "DRAWS", 1)


BOTH = pytest.mark.parametrize("method", [Reinforce, Ppo])


def answers_after(method: type[PolicyGradient], domain: Domain, wanted: object, count: int) -> Counter[object]:
    """What a policy answers 150 times, once it has been paid for one answer in `count` trials."""
    problem = Problem(
        OneQuestion(domain), lambda genotype: {"accuracy": float(genotype.values[0][1] == wanted)}, (ACCURACY,)
    )
    controller = method(problem.space, problem.objectives, hidden=8, entropy_weight=0.02, learning_rate=0.02)
    drive(controller, problem, count)
    return Counter(controller.propose(n, rng=draws(n)).elaboration.decisions[0].value for n in range(150))


@BOTH
@pytest.mark.usefixtures("known_answers_are_given_again")
@pytest.mark.parametrize("domain", DOMAINS, ids=str)
def test_it_learns_the_answer_that_is_rewarded(method: type[PolicyGradient], domain: Domain) -> None:
    wanted = list(domain.values())[-2]
    assert answers_after(method, domain, wanted, 160)[wanted] / 150 > 2.0 / domain.count


@BOTH
@pytest.mark.usefixtures("known_answers_are_given_again")
def test_neighbours_of_a_rewarded_number_gain_more_than_far_ones(method: type[PolicyGradient]) -> None:
    answers = answers_after(method, Integer("depth", 1, 9), 2, 60)
    assert answers[1] + answers[3] > answers[8] + answers[9]


@BOTH
def test_it_learns_to_keep_a_constraint(method: type[PolicyGradient]) -> None:
    problem = Problem(ToySpace(3), toy_values, (ACCURACY,))
    controller = method(problem.space, problem.objectives, hidden=16)
    rejected: list[bool] = []
    for number in range(200):
        proposal = controller.propose(number, rng=draws(number))
        broken = dict(proposal.elaboration.genotype.values)["stage1.width"] != 4
        rejected.append(broken)
        trial = problem.trial(proposal, number)
        controller.observe(replace(trial, number=None, state=TrialState.REJECTED, values={}) if broken else trial)
    assert sum(rejected[-60:]) < 0.6 * sum(rejected[:60])


@BOTH
def test_what_is_known_is_drawn_anew(method: type[PolicyGradient]) -> None:
    problem = Problem(ToySpace(3), toy_values, (ACCURACY,))
    trials = drive(method(problem.space, problem.objectives, hidden=16), problem, 150)
    assert len({trial.key for trial in trials}) > 140


@BOTH
@pytest.mark.parametrize(
    "settings",
    [{"batch": 0}, {"hidden": 0}, {"learning_rate": 0.0}, {"entropy_weight": -1.0}, {"baseline_decay": 1.0}],
)
def test_settings_out_of_range_are_refused(method: type[PolicyGradient], settings: dict[str, float]) -> None:
    with pytest.raises(UserError, match=f"'{method.name}': {next(iter(settings))}"):
        method(ToySpace(), (ACCURACY,), **settings)
