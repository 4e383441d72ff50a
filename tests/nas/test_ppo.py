"""PPO clips what leaves the trust region, and weighs by the probabilities with which a trial was proposed."""

from dataclasses import replace
from typing import ClassVar

import pytest
import torch

from nas.controllers.ppo import Ppo, clipped_objective
from nas.controllers.reinforce import Reinforce
from search_spaces.errors import UserError
from tests.contracts.controller import ACCURACY, ControllerContract, Problem, ToySpace, draws, drive, toy_values


class TestPpo(ControllerContract):
    controller = "ppo"
    settings: ClassVar = {"hidden": 8, "batch": 3, "epochs": 2}


def problem() -> Problem:
    return Problem(ToySpace(), toy_values, (ACCURACY,))


def test_the_objective_is_flat_where_the_ratio_has_gone_far_enough() -> None:
    ratios = torch.tensor([0.5, 0.9, 1.1, 1.5, 0.5, 0.9, 1.1, 1.5], requires_grad=True)
    advantages = torch.tensor([2.0] * 4 + [-2.0] * 4)
    found = clipped_objective(ratios, advantages, clip=0.2)
    assert found.tolist() == pytest.approx([1.0, 1.8, 2.2, 2.4, -1.6, -1.8, -2.2, -3.0])
    found.sum().backward()
    # A gain is not pursued above 1.2, a loss not below 0.8; what went the wrong way is always brought back.
    assert ratios.grad.tolist() == [2.0, 2.0, 2.0, 0.0, 0.0, -2.0, -2.0, -2.0]


def test_the_first_step_on_a_batch_is_that_of_reinforce() -> None:
    search = problem()
    settings = {"hidden": 8, "batch": 6, "learning_rate": 0.05, "entropy_weight": 0.05}
    one, other = (
        Ppo(search.space, search.objectives, epochs=1, **settings),
        Reinforce(search.space, search.objectives, **settings),
    )
    for trial in drive(one, search, 6):
        other.observe(trial)
    for number in range(6, 20):
        first, second = (controller.propose(number, rng=draws(number)) for controller in (one, other))
        assert first.elaboration == second.elaboration
        # Where the ratios are one, equation 7 has the gradient of the log-probability times the advantage.
        assert first.information["log_probabilities"] == pytest.approx(
            second.information["log_probabilities"], abs=1e-3
        )


def test_a_trial_of_another_policy_is_weighted_by_its_old_probabilities() -> None:
    search = problem()
    near, far = (Ppo(search.space, search.objectives, hidden=8, batch=4, epochs=1) for _ in range(2))
    for trial in drive(Ppo(search.space, search.objectives, hidden=8, batch=4, epochs=1), search, 4):
        near.observe(trial)
        # As if an earlier policy had hardly ever given these answers: the ratios are far above the clip.
        old = [number - 5 for number in trial.information["log_probabilities"]]
        far.observe(replace(trial, information={"log_probabilities": old}))
    changed = [
        sum(
            abs(a - b)
            for a, b in zip(
                controller.propose(9, rng=draws(9)).information["log_probabilities"],
                near.propose(9, rng=draws(9)).information["log_probabilities"],
                strict=True,
            )
        )
        for controller in (near, far)
    ]
    assert changed[0] == 0
    assert changed[1] > 1e-3


@pytest.mark.parametrize("settings", [{"epochs": 0}, {"clip": 0.0}])
def test_settings_out_of_range_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(UserError, match=f"'ppo': {next(iter(settings))}"):
        Ppo(ToySpace(), (ACCURACY,), **settings)
