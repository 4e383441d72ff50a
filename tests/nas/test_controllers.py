"""Every controller keeps the contract, and those that learn beat random search."""

from functools import cache
from typing import Any, ClassVar

import pytest
from scipy.stats import mannwhitneyu

from nas.controllers import registry
from tests.contracts.controller import ACCURACY, ControllerContract, Problem, ToySpace, best_found, toy_values


class TestRandom(ControllerContract):
    controller = "random"


class TestEvolution(ControllerContract):
    controller = "evolution"
    settings: ClassVar = {"population": 6, "sample": 3}


class TestReinforce(ControllerContract):
    controller = "reinforce"
    settings: ClassVar = {"hidden": 8, "batch": 3}


class TestTpe(ControllerContract):
    controller = "optuna:tpe"
    settings: ClassVar = {"n_startup_trials": 6}


class TestNsga2(ControllerContract):
    controller = "optuna"
    settings: ClassVar = {"sampler": "nsga2", "population_size": 6}


REPEATS = 6
BUDGET = 80


@cache
def bests(name: str, **settings: Any) -> list[float]:
    problem = Problem(ToySpace(stages=3), toy_values, (ACCURACY,))
    return [
        best_found(
            registry.load(name, problem.space, problem.objectives, seed=seed, **settings), problem, BUDGET, seed=seed
        )
        for seed in range(REPEATS)
    ]


@pytest.mark.parametrize("name", ["evolution", "local-search", "optuna:tpe", "pareto-evolution", "ppo", "reinforce"])
def test_it_beats_random_search(name: str) -> None:
    assert mannwhitneyu(bests(name), bests("random"), alternative="greater").pvalue < 0.01
