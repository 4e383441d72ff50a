"""Local search tries every neighbour before it leaves, moves to what is better, and knows what it has seen."""

from dataclasses import replace

import pytest

import search_spaces
from db.trial import Trial, TrialState
from nas.controllers.local_search import LocalSearch
from search_spaces.choices import Genotype
from tests.contracts.controller import (
    ACCURACY,
    COST,
    ControllerContract,
    Problem,
    ToySpace,
    draws,
    drive,
    nasbench201_values,
    toy_values,
)


class TestLocalSearch(ControllerContract):
    controller = "local-search"


def cells() -> Problem:
    return Problem(search_spaces.load("nasbench201"), nasbench201_values, (ACCURACY,))


def neighbours(problem: Problem, genotype: Genotype) -> set[Genotype]:
    return {elaboration.genotype for _, elaboration in problem.space.neighbours(genotype)}


def test_it_moves_to_the_first_better_neighbour_and_to_no_other() -> None:
    search = cells()
    trials = drive(LocalSearch(search.space, search.objectives), search, 60)
    by_number = {trial.number: trial for trial in trials}
    best: dict[int, Trial] = {}
    for trial in trials:
        descent = trial.information["descent"]
        if descent not in best:
            assert trial.parent is None
            best[descent] = trial
            continue
        parent = by_number[trial.parent]
        assert trial.genotype in neighbours(search, parent.genotype)
        assert parent.values["accuracy"] == best[descent].values["accuracy"]
        if trial.values["accuracy"] > best[descent].values["accuracy"]:
            best[descent] = trial


def test_a_descent_ends_in_a_local_optimum_of_which_every_neighbour_was_tried() -> None:
    search = cells()
    trials = drive(LocalSearch(search.space, search.objectives), search, 150)
    descents = list(dict.fromkeys(trial.information["descent"] for trial in trials))
    assert len(descents) > 1
    # Without isomorphs in the made-up key, known means proposed before.
    for number, descent in enumerate(descents[:-1]):
        own = [trial for trial in trials if trial.information["descent"] == descent]
        before = {t.genotype for t in trials if t.information["descent"] in descents[: number + 1]}
        top = max(trial.values["accuracy"] for trial in own)
        for trial in own:
            if trial.values["accuracy"] == top:
                assert neighbours(search, trial.genotype) <= before
        # Each edge likes one operation, so the only local optimum is the global one.
        assert number > 0 or top == 6


def test_nothing_known_is_proposed_again_nor_an_isomorph_of_it() -> None:
    search = cells()
    controller = LocalSearch(search.space, search.objectives)
    keys: list[str] = []
    for number in range(80):
        proposal = controller.propose(number, rng=draws(number))
        keys.append(proposal.elaboration.architecture.simplified().key)
        controller.observe(replace(search.trial(proposal, number), key=keys[-1]))
    assert len(set(keys)) == len(keys)


def test_an_isomorph_of_another_trial_counts_as_known() -> None:
    search = cells()
    controller = LocalSearch(search.space, search.objectives)
    start = controller.propose(0, rng=draws(0))
    controller.observe(search.trial(start, 0))
    step = controller.propose(1, rng=draws(1))
    # The trial observed looks different but is, by its key, what would have been proposed.
    disguised = replace(
        search.trial(start, 1), state=TrialState.FAILED, key=step.elaboration.architecture.simplified().key
    )
    controller.observe(disguised)
    again = [controller.propose(2, rng=draws(n)).elaboration for n in range(200)]
    assert step.elaboration not in again


@pytest.mark.parametrize("state", [TrialState.REJECTED, TrialState.FAILED, TrialState.DIVERGED])
def test_it_never_moves_to_what_did_not_complete(state: TrialState) -> None:
    search = cells()
    search.state = lambda number: TrialState.COMPLETE if number % 2 == 0 else state
    trials = drive(LocalSearch(search.space, search.objectives), search, 60)
    assert any(trial.state is state and trial.parent is not None for trial in trials)
    assert all(trial.parent % 2 == 0 for trial in trials if trial.parent is not None)
    assert len({trial.genotype for trial in trials}) == len(trials)


def test_workers_seldom_propose_what_another_has() -> None:
    search = cells()
    repeats = 0
    for seed in range(3):
        controller = LocalSearch(search.space, search.objectives, seed=seed)
        trials = drive(controller, search, 100, seed=seed, workers=8)
        repeats += len(trials) - len({trial.genotype for trial in trials})
        assert len({trial.parent for trial in trials}) > 5
    assert repeats < 0.06 * 300


def test_a_space_known_whole_is_searched_on_without_end() -> None:
    search = Problem(ToySpace(1), toy_values, (ACCURACY,))
    # Three widths, each with six depths or ten sets of branches.
    trials = drive(LocalSearch(search.space, search.objectives), search, 48 + 20)
    assert len({trial.genotype for trial in trials}) >= 45


def test_questions_that_a_step_raises_are_answered() -> None:
    search = Problem(ToySpace(), toy_values, (ACCURACY,))
    trials = drive(LocalSearch(search.space, search.objectives), search, 120)
    kinds = [trial for trial in trials if (trial.mutation or "").endswith("kind")]
    assert kinds
    for trial in kinds:
        search.space.replay(trial.genotype)


def test_with_two_objectives_the_neighbours_of_a_whole_front_are_tried() -> None:
    search = Problem(ToySpace(3), toy_values, (ACCURACY, COST))
    trials = drive(LocalSearch(search.space, search.objectives), search, 150)
    first = [trial for trial in trials if trial.information["descent"] == 0]
    assert len({trial.parent for trial in first}) > 5

    def worse(trial: Trial, other: Trial) -> bool:
        return (
            other.values["accuracy"] >= trial.values["accuracy"]
            and other.values["cost"] <= trial.values["cost"]
            and other.values != trial.values
        )

    by_number = {trial.number: trial for trial in trials}
    for trial in trials:
        if trial.parent is not None:
            earlier = [
                other
                for other in trials
                if other.number < trial.number and other.information["descent"] == trial.information["descent"]
            ]
            assert not any(worse(by_number[trial.parent], other) for other in earlier)
