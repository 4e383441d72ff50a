"""The graph Gaussian process proposes nothing twice, denoises what it has seen and finds more than random search."""

import math
import random
from dataclasses import replace

import numpy
import pytest
from scipy.stats import mannwhitneyu

import search_spaces
from analysis import analyze
from db.trial import Trial, TrialState
from nas.controllers import registry
from nas.controllers.controller import Proposal
from nas.controllers.graph_gp import GraphGaussianProcess
from nas.objectives import Direction, Objective
from search_spaces.choices import Genotype, RandomChooser
from search_spaces.errors import UserError
from tests.contracts.controller import (
    ACCURACY,
    COST,
    ControllerContract,
    Problem,
    ToySpace,
    best_found,
    draws,
    drive,
    mixed_ends,
    nasbench201_values,
    toy_values,
)

MACS = Objective("macs", Direction.MINIMISE)


class TestContract(ControllerContract):
    controller = "graph-gp"


def controller(problem: Problem, **settings: float) -> GraphGaussianProcess:
    return GraphGaussianProcess(problem.space, problem.objectives, **settings)


def nasbench201(*objectives: Objective) -> Problem:
    return Problem(search_spaces.load("nasbench201"), nasbench201_values, objectives or (ACCURACY,))


def keys(problem: Problem, trials: list[Trial]) -> list[str]:
    return [problem.space.replay(trial.genotype).architecture.simplified().key for trial in trials]


def test_no_isomorph_of_what_is_known_is_proposed() -> None:
    problem = nasbench201()
    found = keys(problem, drive(controller(problem), problem, 40))
    # The ten random ones may be isomorphic where 20 draws bring nothing new; that has a probability of nearly 0.
    assert len(set(found)) == 40


def test_proposals_that_are_out_at_the_same_time_mostly_differ() -> None:
    problem = nasbench201()
    search = controller(problem)
    drive(search, problem, 30)
    at_once = [search.propose(number, rng=draws(number)) for number in range(30, 38)]
    # By expected improvement alone all eight would be one; independent draws may agree now and then.
    assert len({proposal.elaboration.genotype for proposal in at_once}) >= 5


def test_it_finds_more_than_random_search() -> None:
    problem = Problem(ToySpace(3), toy_values, (ACCURACY,))
    ours = [best_found(controller(problem), problem, 30, seed=seed) for seed in range(8)]
    plain = registry.load("random", problem.space, problem.objectives, seed=0)
    theirs = [best_found(plain, problem, 30, seed=seed) for seed in range(8)]
    assert mannwhitneyu(ours, theirs, alternative="greater").pvalue < 0.01


def test_it_works_on_a_conditional_space_of_many_decisions() -> None:
    def values(genotype: Genotype) -> dict[str, float]:
        wide = sum(value for name, value in genotype.values if name.endswith("width"))
        residual = sum(value == "residual" for name, value in genotype.values if name.endswith("family"))
        return {"accuracy": residual - wide / 100, "cost": float(wide)}

    problem = Problem(search_spaces.load("cellular"), values, (ACCURACY,))
    trials = drive(controller(problem, initial=8), problem, 20)
    first = [trial.values["accuracy"] for trial in trials[:8]]
    guided = [trial.values["accuracy"] for trial in trials[8:]]
    assert numpy.mean(guided) > numpy.mean(first)
    assert len(set(keys(problem, trials))) == 20


def test_the_incumbent_is_not_the_luckiest_run() -> None:
    """Of values that follow the graph, with noise as loud as they vary, the estimate chooses better than the value."""
    problem = nasbench201()
    regrets: dict[float, list[float]] = {0.0: [], 0.5: [], 1.0: []}
    for seed in range(8):
        rng = random.Random(seed)
        trials: dict[str, Trial] = {}
        truths = []
        while len(trials) < 60:
            elaboration = problem.space.elaborate(RandomChooser(rng=rng))
            architecture = elaboration.architecture.simplified()
            if architecture.key not in trials:
                truths.append(math.log2(max(analyze(architecture).macs, 1e6)))
                template = problem.trial(Proposal(elaboration), len(trials))
                noisy = {**template.values, "accuracy": truths[-1] + rng.gauss(0.0, 1.0)}
                trials[architecture.key] = replace(template, values=noisy)
        for share, found in regrets.items():
            search = controller(problem, own_share=share)
            for trial in trials.values():
                search.observe(trial)
            chosen = search.incumbent()
            assert chosen is not None
            found.append(max(truths) - truths[chosen])
            if share == 1.0:
                assert chosen == max(trials.values(), key=lambda trial: trial.values["accuracy"]).number
    assert sum(regrets[0.0]) < 0.75 * sum(regrets[1.0])
    assert sum(regrets[0.5]) <= sum(regrets[1.0])


def test_there_is_no_incumbent_before_the_model_nor_with_several_objectives() -> None:
    problem = nasbench201()
    search = controller(problem)
    drive(search, problem, 9)
    assert search.incumbent() is None
    both = nasbench201(ACCURACY, COST)
    search = controller(both)
    drive(search, both, 12)
    assert search.incumbent() is None


def test_incumbents_are_complete_trials_whatever_else_happened() -> None:
    problem = replace(nasbench201(), state=mixed_ends)
    search = controller(problem)
    trials = {trial.number: trial for trial in drive(search, problem, 40)}
    chosen = search.incumbent()
    assert chosen is not None
    assert trials[chosen].state is TrialState.COMPLETE


def test_what_must_break_a_constraint_is_not_proposed() -> None:
    """Of a bound on the parameters it learns by rejections, and soon has none."""
    problem = nasbench201()
    search = controller(problem)
    rejected = []
    for number in range(80):
        proposal = search.propose(number, rng=draws(number))
        params = analyze(proposal.elaboration.architecture.simplified()).params
        problem.state = lambda _, params=params: TrialState.COMPLETE if params <= 500_000 else TrialState.REJECTED
        rejected.append(params > 500_000)
        search.observe(problem.trial(proposal, number))
    assert sum(rejected[:20]) >= 3
    assert sum(rejected[40:]) <= 6


def test_several_objectives_spread_over_the_front() -> None:
    """With a figure of the analysis as second objective, which needs no process, cheap and good ones are both found."""

    def values(genotype: Genotype) -> dict[str, float]:
        macs = analyze(space.replay(genotype).architecture.simplified()).macs
        return {**nasbench201_values(genotype), "macs": float(macs)}

    space = search_spaces.load("nasbench201")
    problem = Problem(space, values, (ACCURACY, MACS))
    trials = drive(controller(problem), problem, 60)
    guided = trials[10:]
    assert max(trial.values["accuracy"] for trial in guided) >= 5
    cheap = [trial.values["accuracy"] for trial in guided if trial.values["macs"] < 20e6]
    assert max(cheap) >= 2


@pytest.mark.parametrize(("settings", "message"), [({"initial": 1}, "initial"), ({"own_share": 1.5}, "own_share")])
def test_settings_that_make_no_sense_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        controller(nasbench201(), **settings)
