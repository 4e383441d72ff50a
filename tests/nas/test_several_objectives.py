"""Every controller either heeds all objectives or says in one line that it cannot; those that learn nothing need none."""

import pytest

from nas.controllers import registry
from nas.objectives import Direction, Objective
from search_spaces.choices import Genotype
from search_spaces.errors import UserError
from tests.contracts.controller import ACCURACY, COST, Problem, ToySpace, drive, toy_values
from tests.nas.command_line import Run

LEARN_NOTHING = ("random", "enumerate", "optuna:random", "optuna:qmc")
HEED_ALL = (
    "evolution",
    "local-search",
    "pareto-evolution",
    "reinforce",
    "ppo",
    "predictor",
    "graph-gp",
    "optuna:tpe",
    "optuna:nsga2",
    "optuna:nsga3",
    "optuna:gp",
)
HEED_ONE = ("optuna:cmaes",)
DEAR = Objective(COST.name, Direction.MAXIMISE)


def proposed(name: str, objectives: tuple[Objective, ...], *, count: int) -> list[Genotype]:
    problem = Problem(ToySpace(), toy_values, objectives)
    controller = registry.load(name, problem.space, objectives, seed=1)
    return [trial.genotype for trial in drive(controller, problem, count)]


def test_no_controller_is_left_out() -> None:
    named = {name.partition(":")[0] for name in (*LEARN_NOTHING, *HEED_ALL, *HEED_ONE)}
    assert named == set(registry.names())


@pytest.mark.parametrize("name", HEED_ALL)
def test_what_the_second_objective_is_makes_a_difference(name: str) -> None:
    count = 16 if name in ("optuna:gp", "graph-gp", "predictor") else 40
    cheap, dear = (proposed(name, (ACCURACY, second), count=count) for second in (COST, DEAR))
    assert cheap != dear
    assert cheap[0] == dear[0], "only what was observed differs"


@pytest.mark.parametrize("name", LEARN_NOTHING)
def test_what_learns_nothing_takes_any_number_of_objectives(name: str) -> None:
    assert proposed(name, (ACCURACY,), count=12) == proposed(name, (ACCURACY, COST, DEAR), count=12)


@pytest.mark.parametrize("name", HEED_ONE)
def test_what_heeds_one_says_so_in_one_line(name: str) -> None:
    assert proposed(name, (ACCURACY,), count=3)
    with pytest.raises(UserError, match="has one objective, got accuracy, cost; take 'optuna:nsga2'") as caught:
        registry.load(name, ToySpace(), (ACCURACY, COST), seed=1)
    assert name in str(caught.value) and "\n" not in str(caught.value)


def test_the_command_line_says_so_before_anything_is_written(run: Run) -> None:
    ran = run("search", "--controller", "optuna:cmaes", "--objective", "val_accuracy", "--objective", "macs:min")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.count("\n") == 1 and "optuna:cmaes" in ran.err
