"""Optuna's samplers see what was observed, keep their bookkeeping, and never answer outside a domain."""

from typing import ClassVar

import optuna
import pytest
from scipy.stats import mannwhitneyu

import search_spaces
from nas.controllers import registry
from nas.controllers.optuna_parameters import AskingChooser, has_places, parameters_of
from nas.controllers.optuna_sampler import OptunaSampler
from search_spaces.architecture import Architecture
from search_spaces.builder import GraphBuilder
from search_spaces.choices import Chooser, Decision, Domain, Genotype, Integer, OneOf, Subset
from search_spaces.errors import UserError
from search_spaces.ops import conv2d
from search_spaces.space import SearchSpace
from tests.contracts.controller import (
    ACCURACY,
    COST,
    ControllerContract,
    Problem,
    ToySpace,
    best_found,
    draws,
    drive,
    toy_values,
)
from tests.nas.test_policy import DOMAINS


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


@pytest.mark.parametrize("sampler", ["random", "gp", "TPESampler"])
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


@pytest.mark.parametrize("name", ["grid", "BruteForceSampler", "partialfixed"])
def test_samplers_that_cannot_keep_the_contract_are_refused_with_the_reason(name: str) -> None:
    with pytest.raises(UserError, match="cannot propose here"):
        registry.load("optuna", ToySpace(), (ACCURACY,), seed=0, sampler=name)


@pytest.mark.parametrize("domain", DOMAINS, ids=str)
@pytest.mark.parametrize("placed", [False, True])
def test_the_parameters_of_a_decision_lead_to_it_again(domain: Domain, placed: bool) -> None:
    by_place = frozenset({domain}) if placed and has_places(domain) else frozenset()
    for value in domain.values():
        parameters = parameters_of(Decision(domain, value), by_place=by_place)
        study = optuna.create_study()
        study.enqueue_trial({name: said for name, (_, said) in parameters.items()})
        asked = study.ask()
        assert AskingChooser(asked, rng=draws(0), by_place=by_place).decide(domain) == value
        assert asked.distributions == {name: distribution for name, (distribution, _) in parameters.items()}


def test_what_has_places() -> None:
    assert has_places(OneOf("width", (16, 32, 64)))
    assert has_places(OneOf("skip", (False, True)))
    assert has_places(Integer("depth", 1, 3))
    assert has_places(Subset("inputs", ("a", "b"), 0, 2))
    assert not has_places(OneOf("width", (32, 16, 64)))
    assert not has_places(OneOf("operation", ("conv", "pool")))
    assert not has_places(Integer("depth", 3, 3))


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "qmc", "random"])
def test_what_is_known_is_not_proposed_again(sampler: str) -> None:
    search = problem()
    controller = OptunaSampler(search.space, search.objectives, sampler=sampler)
    trials = drive(controller, search, 60)
    assert len({trial.key for trial in trials}) >= 59


def test_notes_hold_nothing_that_only_trials_out_need() -> None:
    search = problem()
    for sampler, expected in (("tpe", set()), ("nsga2", {"NSGAIISampler:generation"})):
        trials = drive(OptunaSampler(search.space, search.objectives, sampler=sampler), search, 15)
        assert set(trials[-1].information["notes"]) == expected


class Numbers(SearchSpace):
    """Four numbers with a best value each, of which one is coded by an option and one is in the way."""

    name = "numbers"

    def build(self, choose: Chooser):
        for name in ("a", "b", "c"):
            choose.integer(name, 0, 40)
        choose.one_of("width", (1, 2, 4, 8, 16, 32))
        choose.one_of("kind", ("this", "that"))
        return ToySpace(1).build(choose)


def near_the_best(genotype: Genotype) -> dict[str, float]:
    values = dict(genotype.values)
    numbers = [values["a"] - 30, values["b"] - 8, values["c"] - 20, 5 * (values["width"].bit_length() - 5)]
    return {"accuracy": -float(sum(number**2 for number in numbers))}


def numbers() -> Problem:
    return Problem(Numbers(), near_the_best, (ACCURACY,))


class TestCmaes(ControllerContract):
    controller = "optuna:cmaes"
    settings: ClassVar = {"popsize": 4}

    @pytest.fixture(params=["numbers", "toy"])
    def problem(self, request: pytest.FixtureRequest) -> Problem:
        return numbers() if request.param == "numbers" else Problem(ToySpace(3), toy_values, (ACCURACY,))


class TestQmc(ControllerContract):
    controller = "optuna:qmc"


class TestGp(ControllerContract):
    controller = "optuna:gp"
    settings: ClassVar = {"n_startup_trials": 5}
    steps = 9


class TestNsga3(ControllerContract):
    controller = "optuna:nsga3"
    settings: ClassVar = {"population_size": 6}


def test_cmaes_beats_random_search_on_numbers_and_moves_by_generations() -> None:
    def bests(name: str) -> list[float]:
        search = numbers()
        controllers = [registry.load(name, search.space, search.objectives, seed=seed) for seed in range(6)]
        return [best_found(controller, numbers(), 100, seed=seed) for seed, controller in enumerate(controllers)]

    assert mannwhitneyu(bests("optuna:cmaes"), bests("random"), alternative="greater").pvalue < 0.01
    search = numbers()
    trials = drive(OptunaSampler(search.space, search.objectives, sampler="cmaes", popsize=6), search, 40, workers=3)
    generations = [trial.information["notes"].get("cmawm:generation") for trial in trials]
    assert set(range(4)) <= set(generations)


def test_cmaes_keeps_no_pickle_in_the_record() -> None:
    search = numbers()
    trials = drive(OptunaSampler(search.space, search.objectives, sampler="cmaes", popsize=4), search, 30)
    assert {key for trial in trials for key in trial.information["notes"]} == {"x_for_tell", "cmawm:generation"}


def test_cmaes_says_where_it_does_not_apply() -> None:
    with pytest.raises(UserError, match="'nasbench201' asks every architecture fewer than two"):
        registry.load("optuna:cmaes", search_spaces.load("nasbench201"), (ACCURACY,), seed=0)
    with pytest.raises(UserError, match="has one objective, got accuracy, cost"):
        registry.load("optuna:cmaes", Numbers(), (ACCURACY, COST), seed=0)


class Chain(SearchSpace):
    """Asks for the length of a chain."""

    name = "chain"

    def build(self, choose: Chooser):
        builder = GraphBuilder()
        node = builder.input()
        for number in range(choose.integer("length", 1, 16)):
            node = builder.add(f"conv{number}", conv2d(4, 3), node)
        return Architecture(builder.graph(node), ((3, 8, 8),))


def test_qmc_takes_the_point_of_the_number_and_spreads_evenly() -> None:
    search = Problem(Chain(), lambda genotype: {"accuracy": 0.0}, (ACCURACY,))
    controller = OptunaSampler(search.space, search.objectives, sampler="qmc", seed=3)
    first = controller.propose(0, rng=draws(0))
    controller.observe(search.trial(first, 0))
    # All of these are out at a time. Sixteen points in a row of a Sobol sequence fall into sixteen bins, one into each;
    # the bin of the first trial is known, so another is drawn in its place.
    lengths = {controller.propose(n, rng=draws(n)).elaboration.decisions[0].value for n in range(16, 32)}
    assert lengths == set(range(1, 17)) - {first.elaboration.decisions[0].value}


def test_unknown_samplers_and_settings_are_refused() -> None:
    with pytest.raises(UserError, match="unknown sampler 'tpee'; did you mean 'tpe'"):
        registry.load("optuna:tpee", ToySpace(), (ACCURACY,), seed=0)
    with pytest.raises(UserError, match="did you mean 'population_size'"):
        registry.load("optuna:nsga2", ToySpace(), (ACCURACY,), seed=0, population=10)
    with pytest.raises(UserError, match="refuses"):
        registry.load("optuna:nsga2", ToySpace(), (ACCURACY,), seed=0, population_size=1)
