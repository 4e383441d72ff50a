"""Regularised evolution keeps the last complete trials and mutates the best of them."""

import pytest

from nas.controllers.evolution import RegularisedEvolution
from search_spaces.choices import ReplayChooser
from search_spaces.errors import UserError
from tests.contracts.controller import ACCURACY, Problem, ToySpace, draws, drive, mixed_ends, toy_values


def problem() -> Problem:
    return Problem(ToySpace(), toy_values, (ACCURACY,))


def test_the_oldest_dies_however_good() -> None:
    search = problem()
    controller = RegularisedEvolution(search.space, search.objectives, population=4, sample=4)
    best = max(drive(controller, search, 30), key=lambda trial: trial.values["accuracy"])
    fillers = [search.trial(controller.propose(100 + n, rng=draws(100 + n)), 100 + n) for n in range(4)]
    controller.observe(best)
    for filler in fillers:
        controller.observe(filler)
    parents = {controller.propose(200 + n, rng=draws(200 + n)).parent for n in range(40)}
    assert parents <= {100, 101, 102, 103}
    assert best.number not in parents


def test_a_child_changes_one_decision_of_its_parent_and_good_parents_have_more() -> None:
    search = problem()
    controller = RegularisedEvolution(search.space, search.objectives, population=5, sample=5)
    trials = {trial.number: trial for trial in drive(controller, search, 5)}
    children = [controller.propose(number, rng=draws(number)) for number in range(5, 105)]
    for child in children:
        after = dict(child.elaboration.genotype.values)
        before = trials[child.parent].genotype.values
        assert [name for name, value in before if name in after and after[name] != value] == [child.mutation]
    accuracies = sorted(trial.values["accuracy"] for trial in trials.values())
    chosen = [trials[child.parent].values["accuracy"] for child in children]
    # The best of five draws is in the sample with probability 1 - 0.8^5 = 0.67, the worst alone is with 0.2^5.
    assert chosen.count(accuracies[-1]) > 50
    assert accuracies[0] not in chosen


def test_a_population_fills_with_trials_that_have_values_only() -> None:
    search = problem()
    search.state = mixed_ends
    controller = RegularisedEvolution(search.space, search.objectives, population=8, sample=2)
    trials = drive(controller, search, 40)
    valued = [trial.number for trial in trials if controller.gains(trial) is not None]
    first_child = next(trial.proposal for trial in trials if trial.parent is not None)
    assert first_child == valued[7] + 1
    assert {trial.parent for trial in trials if trial.parent is not None} <= set(valued)


def test_a_mutation_answers_the_questions_it_raises() -> None:
    search = problem()
    controller = RegularisedEvolution(search.space, search.objectives, population=3, sample=1)
    kinds = [trial for trial in drive(controller, search, 60) if (trial.mutation or "").endswith("kind")]
    assert kinds
    for trial in kinds:
        chooser = ReplayChooser(trial.genotype)
        search.space.elaborate(chooser)
        assert not chooser.unused


@pytest.mark.parametrize(("population", "sample"), [(0, 0), (5, 6), (5, 0)])
def test_sizes_that_make_no_sense_are_refused(population: int, sample: int) -> None:
    with pytest.raises(UserError, match="sample must be from 1 to population"):
        RegularisedEvolution(problem().space, (ACCURACY,), population=population, sample=sample)
