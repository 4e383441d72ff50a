"""The predictor ranks architectures by their graphs, and what it likes best is better than random search finds."""

import random

import numpy
import pytest
from scipy.stats import mannwhitneyu, spearmanr
from sklearn.linear_model import Ridge

import search_spaces
from db.trial import Trial
from nas.controllers import registry
from nas.controllers.candidates import Distances, candidates_of
from nas.controllers.graph_features import GROUPS
from nas.controllers.predictor import PredictorGuidedEvolution
from nas.controllers.ridge_ensemble import fit_ridges
from nas.objectives import Objective
from search_spaces.choices import RandomChooser
from search_spaces.errors import UserError
from tests.contracts.controller import (
    ACCURACY,
    COST,
    ControllerContract,
    Problem,
    ToySpace,
    best_found,
    drive,
    nasbench201_values,
    toy_values,
)


class TestContract(ControllerContract):
    controller = "predictor"


def nasbench201(*objectives: Objective) -> Problem:
    return Problem(search_spaces.load("nasbench201"), nasbench201_values, objectives or (ACCURACY,))


def test_no_isomorph_of_what_is_known_is_proposed() -> None:
    problem = nasbench201()
    trials = drive(PredictorGuidedEvolution(problem.space, problem.objectives), problem, 40)
    keys = {problem.space.replay(trial.genotype).architecture.simplified().key for trial in trials}
    assert len(keys) == 40


def test_it_finds_more_than_random_search() -> None:
    problem = Problem(ToySpace(3), toy_values, (ACCURACY,))

    def best(name: str, seed: int, **settings: int) -> float:
        search = registry.load(name, problem.space, problem.objectives, seed=seed, **settings)
        return best_found(search, problem, 30, seed=seed)

    ours = [best("predictor", seed, mutants=40) for seed in range(6)]
    theirs = [best("random", seed) for seed in range(6)]
    assert mannwhitneyu(ours, theirs, alternative="greater").pvalue < 0.01


def test_with_two_objectives_good_and_cheap_ones_are_mutated() -> None:
    problem = nasbench201(ACCURACY, COST)
    trials = drive(PredictorGuidedEvolution(problem.space, problem.objectives), problem, 40)

    def mean_loss(observed: list[Trial]) -> float:
        return float(numpy.mean([trial.values["cost"] - trial.values["accuracy"] for trial in observed]))

    assert mean_loss(trials[10:]) < mean_loss(trials[:10])


def test_the_ensemble_ranks_architectures_it_has_not_seen() -> None:
    space = search_spaces.load("nasbench201")
    known = candidates_of(space)
    rng = random.Random(0)
    drawn = [known.candidate(space.elaborate(RandomChooser(rng=rng)).genotype) for _ in range(160)]
    macs = numpy.array([dict(item.figures)["macs"] for item in drawn])
    distances = Distances(GROUPS[:3])
    for item in drawn[:80]:
        distances.add(item)
    generator = numpy.random.default_rng(0)
    ensemble = fit_ridges(distances.among, macs[:80] / 1e8, members=10, penalty=0.2, rng=generator)
    means, deviations = ensemble.predict(distances.to(drawn[80:]))
    assert spearmanr(means, macs[80:]).statistic > 0.9
    assert (deviations > 0).all()


class _WholeSample:
    """Stands for a generator whose bootstrap sample is the whole."""

    def integers(self, count: int, *, size: int) -> numpy.ndarray:
        assert count == size
        return numpy.arange(count)


def test_a_member_is_the_ridge_regression_of_scikit_learn() -> None:
    rng = numpy.random.default_rng(0)
    inputs, others = rng.integers(0, 9, size=(30, 5)).astype(float), rng.integers(0, 9, size=(7, 5)).astype(float)
    values = rng.normal(size=30)

    def distances(first: numpy.ndarray) -> numpy.ndarray:
        parts = (slice(0, 3), slice(3, 5))
        return numpy.stack([((first[:, None, part] - inputs[None, :, part]) ** 2).sum(-1) for part in parts])

    ensemble = fit_ridges(distances(inputs), values, members=1, penalty=0.3, rng=_WholeSample())
    spread = numpy.repeat([inputs[:, :3].var(0).sum(), inputs[:, 3:].var(0).sum()], [3, 2])
    scaled, scaled_others = ((part - inputs.mean(axis=0)) / numpy.sqrt(2 * spread) for part in (inputs, others))
    expected = Ridge(alpha=0.3).fit(scaled, values).predict(scaled_others)
    numpy.testing.assert_allclose(ensemble.predict(distances(others))[0], expected, rtol=1e-9)


@pytest.mark.parametrize("name", ["initial", "parents", "mutants"])
def test_settings_that_make_no_sense_are_refused(name: str) -> None:
    with pytest.raises(UserError, match=name):
        PredictorGuidedEvolution(ToySpace(), (ACCURACY,), **{name: 0})
