"""Multi-objective evolution keeps a spread front, makes children of good parents, and covers more than random search."""

from typing import ClassVar

import pytest
from scipy.stats import mannwhitneyu

from db.trial import Trial
from nas.controllers import registry
from nas.controllers.controller import Proposal
from nas.controllers.pareto_evolution import ParetoEvolution
from nas.pareto import gains_of, non_dominated_sort
from search_spaces.choices import RandomChooser
from search_spaces.errors import UserError
from tests.contracts.controller import (
    ACCURACY,
    COST,
    ControllerContract,
    Problem,
    ToySpace,
    draws,
    drive,
    mixed_ends,
    toy_values,
)


class TestParetoEvolution(ControllerContract):
    controller = "pareto-evolution"
    settings: ClassVar = {"population": 6}


def problem(stages: int = 3) -> Problem:
    return Problem(ToySpace(stages), toy_values, (ACCURACY, COST))


def hypervolume(trials: list[Trial]) -> float:
    """The area that a search dominates, of accuracies from 0 and costs up to 90; both bound what this toy can give."""
    area, most = 0.0, 0.0
    for trial in sorted(trials, key=lambda trial: (trial.values["cost"], -trial.values["accuracy"])):
        if trial.values["accuracy"] > most:
            area += (trial.values["accuracy"] - most) * (90 - trial.values["cost"])
            most = trial.values["accuracy"]
    return area


def test_the_area_of_a_front_is_what_it_dominates() -> None:
    search = problem()
    (trial,) = drive(ParetoEvolution(search.space, search.objectives), search, 1)
    accuracy, cost = trial.values["accuracy"], trial.values["cost"]
    assert hypervolume([trial, trial]) == accuracy * (90 - cost)


def test_its_front_dominates_more_than_that_of_random_search() -> None:
    search = problem()

    def areas(name: str) -> list[float]:
        controllers = (registry.load(name, search.space, search.objectives, seed=seed) for seed in range(8))
        return [hypervolume(drive(controller, search, 90, seed=seed)) for seed, controller in enumerate(controllers)]

    assert mannwhitneyu(areas("pareto-evolution"), areas("random"), alternative="greater").pvalue < 0.01


def test_parents_come_from_the_best_fronts_and_the_better_are_chosen_more_often() -> None:
    search = problem()
    controller = ParetoEvolution(search.space, search.objectives, population=8)
    # Random trials, twice as many as there is room for.
    trials = drive(registry.load("random", search.space, search.objectives, seed=0), search, 16)
    for trial in trials:
        controller.observe(trial)
    fronts = non_dominated_sort([gains_of(trial, search.objectives) for trial in trials])
    sizes = [len(front) for front in fronts]
    kept = next(count for count in range(len(sizes)) if sum(sizes[: count + 1]) >= 8) + 1
    chosen = [controller.propose(16, rng=draws(number)).parent for number in range(300)]
    assert set(chosen) <= {trials[index].number for front in fronts[:kept] for index in front}
    assert len(set(chosen)) == 8
    first = {trials[index].number for index in fronts[0]}
    # Drawn at random, parents would be of the first front as often as members are.
    assert sum(number in first for number in chosen) / 300 > min(len(first), 8) / 8 + 0.05


def test_the_ends_of_a_front_survive_in_a_crowd() -> None:
    search = problem()
    controller = ParetoEvolution(search.space, search.objectives, population=3)
    trials = drive(registry.load("random", search.space, search.objectives, seed=1), search, 60)
    for trial in trials:
        controller.observe(trial)
    parents = {controller.propose(60, rng=draws(number)).parent for number in range(200)}
    front = non_dominated_sort([gains_of(trial, search.objectives) for trial in trials])[0]
    assert len(front) > 3
    ends = (max(front, key=lambda i: trials[i].values["accuracy"]), min(front, key=lambda i: trials[i].values["cost"]))
    assert {trials[index].number for index in ends} <= parents


def test_a_child_has_the_answers_of_its_parents_but_for_one_on_average() -> None:
    search = problem()
    for crossover, parents in ((0.0, 1), (1.0, 2)):
        controller = ParetoEvolution(search.space, search.objectives, population=6, crossover=crossover)
        trials = {trial.number: trial for trial in drive(controller, search, 6)}
        strangers = 0
        for number in range(200):
            child = controller.propose(6, rng=draws(number))
            assert len(child.information["parents"]) == parents
            assert child.information["parents"][0] == child.parent
            before = [dict(trials[parent].genotype.values) for parent in child.information["parents"]]
            for name, value in child.elaboration.genotype.values:
                known = [answers[name] for answers in before if name in answers]
                strangers += bool(known) and value not in known
        assert 0.5 < strangers / 200 < 1.7


def test_a_question_that_one_parent_alone_was_asked_keeps_its_answer() -> None:
    search = problem(1)
    controller = ParetoEvolution(search.space, search.objectives, population=2, crossover=1.0)
    toys = [Proposal(search.space.elaborate(RandomChooser(rng=draws(number)))) for number in range(30)]
    # The one kind is asked for its depth, the other for its branches.
    wanted_of = {"stage1.kind": "chain", "stage1.width": 4}, {"stage1.kind": "sum", "stage1.width": 16}
    parents = [
        next(toy for toy in toys if wanted.items() <= dict(toy.elaboration.genotype.values).items())
        for wanted in wanted_of
    ]
    for number, parent in enumerate(parents):
        controller.observe(search.trial(parent, number))
    answers = [dict(parent.elaboration.genotype.values) for parent in parents]
    wanted = {"stage1.depth": answers[0]["stage1.depth"], "stage1.branches": answers[1]["stage1.branches"]}
    children = [dict(controller.propose(2, rng=draws(n)).elaboration.genotype.values) for n in range(200)]
    kept = [child for child in children if wanted.items() & child.items()]
    # It may be changed thereafter, and both parents may be one. Without inheritance one in six depths and one in ten
    # sets of branches would agree, so less than 33; here five standard deviations more.
    assert len(kept) > 60


def test_only_new_trials_with_values_enter_the_population() -> None:
    search = problem()
    search.state = mixed_ends
    controller = ParetoEvolution(search.space, search.objectives, population=8)
    trials = drive(controller, search, 60)
    valued = [trial for trial in trials if controller.gains(trial) is not None]
    assert next(trial.proposal for trial in trials if trial.parent is not None) > valued[7].proposal
    assert {trial.parent for trial in trials if trial.parent is not None} <= {trial.number for trial in valued}
    assert len({trial.key for trial in trials}) == len(trials)


@pytest.mark.parametrize(
    ("settings", "message"), [({"population": 1}, "population must be at least 2"), ({"crossover": 1.5}, "crossover")]
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        ParetoEvolution(ToySpace(), (ACCURACY,), **settings)
