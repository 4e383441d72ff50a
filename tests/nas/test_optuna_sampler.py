"""Optuna's samplers see what was observed, keep their bookkeeping, and never answer outside a domain."""

import pytest

from nas.controllers import registry
from nas.controllers.optuna_sampler import OptunaSampler
from search_spaces.choices import Chooser
from search_spaces.errors import UserError
from search_spaces.space import SearchSpace
from tests.contracts.controller import ACCURACY, COST, Problem, ToySpace, drive, toy_values


def problem() -> Problem:
    return Problem(ToySpace(), toy_values, (ACCURACY, COST))


@pytest.mark.parametrize("workers", [1, 3])
def test_nsga2_advances_by_generations_of_observed_trials(workers: int) -> None:
    search = problem()
    controller = OptunaSampler(search.space, search.objectives, sampler="nsga2", population_size=5)
    trials = drive(controller, search, 23, workers=workers)
    generations = [trial.information["notes"]["NSGAIISampler:generation"] for trial in trials]
    assert set(range(4)) <= set(generations)
    # A generation is left once five of it were observed; those still out then join it late.
    assert all(5 <= generations.count(generation) < 5 + workers for generation in range(3))


@pytest.mark.parametrize("sampler", ["random", "nsga3", "gp", "TPESampler"])
def test_other_samplers_propose_too(sampler: str) -> None:
    search = problem()
    controller = OptunaSampler(search.space, search.objectives, sampler=sampler)
    for trial in drive(controller, search, 13):
        search.space.replay(trial.genotype)


class Changing(SearchSpace):
    """Asks one name with different options, and a subset that independent yes-or-no answers often miss."""

    name = "changing"

    def build(self, choose: Chooser):
        large = choose.one_of("large", (False, True))
        choose.one_of("kernel", (3, 5, 7) if large else (1, 3))
        choose.integer("depth", 1, 4 if large else 2)
        choose.subset("exactly", ("a", "b", "c", "d"), minimum=2, maximum=2)
        return ToySpace(1).build(choose)


@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
def test_a_name_may_have_other_options_elsewhere_and_subsets_keep_their_bounds(sampler: str) -> None:
    search = Problem(Changing(), lambda genotype: {"accuracy": float(dict(genotype.values)["kernel"])}, (ACCURACY,))
    controller = OptunaSampler(search.space, search.objectives, sampler=sampler)
    pairs = [dict(trial.genotype.values)["exactly"] for trial in drive(controller, search, 25)]
    assert {len(pair) for pair in pairs} == {2}
    assert len(set(pairs)) > 1


@pytest.mark.parametrize("name", ["cmaes", "CmaEsSampler", "qmc", "grid"])
def test_samplers_that_cannot_keep_the_contract_are_refused_with_the_reason(name: str) -> None:
    with pytest.raises(UserError, match="cannot propose here"):
        registry.load("optuna", ToySpace(), (ACCURACY,), seed=0, sampler=name)


def test_unknown_samplers_and_settings_are_refused() -> None:
    with pytest.raises(UserError, match="unknown sampler 'tpee'; did you mean 'tpe'"):
        registry.load("optuna:tpee", ToySpace(), (ACCURACY,), seed=0)
    with pytest.raises(UserError, match="did you mean 'population_size'"):
        registry.load("optuna:nsga2", ToySpace(), (ACCURACY,), seed=0, population=10)
    with pytest.raises(UserError, match="refuses"):
        registry.load("optuna:nsga2", ToySpace(), (ACCURACY,), seed=0, population_size=1)
