"""What every controller must keep, as tests: a controller's own tests derive from `ControllerContract`."""

import json
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy
import pytest
import torch

import search_spaces
from db.trial import Trial, TrialState
from nas.controllers import registry
from nas.controllers.controller import Controller, Proposal
from nas.controllers.known import KnownArchitectures
from nas.objectives import Direction, Objective
from search_spaces.architecture import Architecture
from search_spaces.builder import GraphBuilder
from search_spaces.choices import Chooser, Genotype
from search_spaces.ops import Add, conv2d, pool2d
from search_spaces.space import SearchSpace

ACCURACY = Objective("accuracy", Direction.MAXIMISE)
COST = Objective("cost", Direction.MINIMISE)

BRANCHES = {
    "point": lambda width: conv2d(width, 1),
    "small": lambda width: conv2d(width, 3),
    "large": lambda width: conv2d(width, 5),
    "max": lambda width: pool2d("max", 3, stride=1, padding=1),
}


class ToySpace(SearchSpace):
    """Stages that are either a chain of some depth or a sum of some branches: every kind of question, conditional."""

    name = "toy"

    def __init__(self, stages: int = 2) -> None:
        self._stages = stages

    def build(self, choose: Chooser) -> Architecture:
        builder = GraphBuilder()
        node = builder.input()
        for number in range(1, self._stages + 1):
            node = choose.independent(f"stage{number}", lambda inner, source=node: self._stage(inner, builder, source))
        return Architecture(builder.graph(node), ((3, 8, 8),))

    def _stage(self, choose: Chooser, builder: GraphBuilder, node: int) -> int:
        width = choose.one_of("width", (4, 8, 16))
        node = builder.add("widen", conv2d(width, 1), node)
        if choose.one_of("kind", ("chain", "sum")) == "chain":
            for _ in range(choose.integer("depth", 1, 6)):
                node = builder.add("conv", conv2d(width, 3), node)
            return node
        names = choose.subset("branches", tuple(BRANCHES), minimum=2, maximum=3)
        branches = [builder.add(name, BRANCHES[name](width), node) for name in names]
        return builder.add("sum", Add(), *branches)


def toy_values(genotype: Genotype) -> dict[str, float]:
    """Made-up figures: wide sums of small and max are best, chains of depth 4 are good, small things are cheap."""
    accuracy = cost = 0.0
    for name, value in genotype.values:
        match name.partition(".")[2]:
            case "width":
                accuracy += {4: 0.0, 8: 0.5, 16: 1.0}[value]
                cost += value
            case "depth":
                accuracy += 1 - abs(value - 4) / 3
                cost += value
            case "branches":
                accuracy += ("small" in value) + ("max" in value) - 0.5 * (len(value) - 2)
                cost += 2 * len(value)
    return {"accuracy": accuracy, "cost": cost}


def nasbench201_values(genotype: Genotype) -> dict[str, float]:
    """Made-up figures: each edge has an operation that it likes best."""
    operations = [value for _, value in genotype.values]
    likes = ("nor_conv_3x3", "skip_connect", "nor_conv_3x3", "nor_conv_1x1", "avg_pool_3x3", "nor_conv_3x3")
    accuracy = sum(value == liked for value, liked in zip(operations, likes, strict=True))
    return {"accuracy": float(accuracy), "cost": float(sum(value.startswith("nor_conv") for value in operations))}


@dataclass
class Problem:
    """A space, what its architectures are worth, and which of them end badly."""

    space: SearchSpace
    values: Callable[[Genotype], dict[str, float]]
    objectives: tuple[Objective, ...]
    state: Callable[[int], TrialState] = field(default=lambda number: TrialState.COMPLETE)

    def trial(self, proposal: Proposal, number: int) -> Trial:
        """What the session would let the controller observe, once recorded and read again."""
        genotype = Genotype.from_json(proposal.elaboration.genotype.to_json())
        state = self.state(number)
        values = self.values(genotype)
        if state is TrialState.STOPPED and number % 2:
            # What is expected of the whole.
            values["accuracy"] -= 0.5
        elif state is not TrialState.COMPLETE:
            # A trial without a result still has the figures of the analysis.
            del values["accuracy"]
        return Trial(
            proposal=number,
            number=None if state is TrialState.REJECTED else number,
            state=state,
            genotype=genotype,
            key=KnownArchitectures(self.space).key(proposal.elaboration),
            evaluation_key="",
            data="",
            fidelity=1,
            seed=0,
            parent=proposal.parent,
            mutation=proposal.mutation,
            information=json.loads(json.dumps(dict(proposal.information), allow_nan=False)),
            values=values,
        )


def draws(number: int, seed: int = 0) -> random.Random:
    """The random numbers of a proposal, as the session makes them: from the seed and the number."""
    return random.Random(f"{seed}/{number}")


def drive(controller: Controller, problem: Problem, count: int, *, seed: int = 0, workers: int = 1) -> list[Trial]:
    """Lets a controller make `count` proposals, `workers` being out at a time; returns the trials as observed."""
    out: deque[Trial] = deque()
    observed: list[Trial] = []
    order = random.Random(seed)
    for number in range(count):
        out.append(problem.trial(controller.propose(number, rng=draws(number, seed)), number))
        if len(out) == workers:
            out.rotate(order.randrange(workers))
            observed.append(out.popleft())
            controller.observe(observed[-1])
    return observed


def mixed_ends(number: int) -> TrialState:
    """Every seventh trial rejected, failed, diverged, and two of them stopped; all else complete."""
    ends = {
        0: TrialState.STOPPED,
        2: TrialState.REJECTED,
        3: TrialState.STOPPED,
        4: TrialState.FAILED,
        6: TrialState.DIVERGED,
    }
    return ends.get(number % 7, TrialState.COMPLETE)


class ControllerContract:
    """Derive, name the controller and its settings, and pytest does the rest."""

    controller: ClassVar[str]
    settings: ClassVar[dict[str, Any]] = {}
    steps: ClassVar[int] = 20
    """Enough for the method to leave its random beginning."""

    def make(self, problem: Problem, *, seed: int = 0) -> Controller:
        return registry.load(self.controller, problem.space, problem.objectives, seed=seed, **self.settings)

    @pytest.fixture(params=["toy", "nasbench201"])
    def problem(self, request: pytest.FixtureRequest) -> Problem:
        if request.param == "toy":
            return Problem(ToySpace(), toy_values, (ACCURACY, COST))
        return Problem(search_spaces.load("nasbench201"), nasbench201_values, (ACCURACY,))

    def test_a_proposal_is_replayed_from_its_genotype(self, problem: Problem) -> None:
        controller = self.make(problem)
        observed: dict[int | None, Trial] = {}
        for number in range(self.steps):
            proposal = controller.propose(number, rng=draws(number))
            assert problem.space.replay(proposal.elaboration.genotype) == proposal.elaboration
            assert proposal.parent is None or proposal.parent in observed
            if proposal.mutation is not None:
                before = dict(observed[proposal.parent].genotype.values)
                after = dict(proposal.elaboration.genotype.values)
                assert before[proposal.mutation] != after[proposal.mutation]
            trial = problem.trial(proposal, number)
            observed[trial.number] = trial
            controller.observe(trial)

    def test_the_same_seed_gives_the_same_proposals(self, problem: Problem) -> None:
        first, again = (drive(self.make(problem, seed=3), problem, self.steps) for _ in range(2))
        assert first == again

    def test_another_seed_gives_other_proposals(self, problem: Problem) -> None:
        first, other = (drive(self.make(problem, seed=seed), problem, self.steps, seed=seed) for seed in (3, 4))
        assert first != other

    def test_proposing_changes_nothing(self, problem: Problem) -> None:
        asked_once, asked_often = self.make(problem), self.make(problem)
        for number in range(self.steps):
            asked_often.propose(number, rng=draws(1000))
            proposal = asked_once.propose(number, rng=draws(number))
            assert asked_often.propose(number, rng=draws(number)) == proposal
            trial = problem.trial(proposal, number)
            asked_once.observe(trial)
            asked_often.observe(trial)

    @pytest.mark.parametrize("workers", [1, 4])
    def test_replaying_the_observed_trials_restores_the_state(self, problem: Problem, workers: int) -> None:
        problem = replace(problem, state=mixed_ends)
        controller, resumed = self.make(problem), self.make(problem)
        for trial in drive(controller, problem, self.steps, workers=workers):
            resumed.observe(trial)
        for number in range(self.steps, self.steps + 5):
            assert resumed.propose(number, rng=draws(number)) == controller.propose(number, rng=draws(number))

    def test_its_incumbent_is_a_complete_trial_and_restored_like_all_else(self, problem: Problem) -> None:
        problem = replace(problem, state=mixed_ends)
        controller, resumed = self.make(problem), self.make(problem)
        assert controller.incumbent() is None
        trials = drive(controller, problem, self.steps)
        for trial in trials:
            resumed.observe(trial)
        incumbent = controller.incumbent()
        assert incumbent == resumed.incumbent()
        assert incumbent in (None, *(trial.number for trial in trials if trial.state is TrialState.COMPLETE))

    def test_it_survives_a_search_in_which_nothing_completes(self, problem: Problem) -> None:
        for state in (TrialState.REJECTED, TrialState.FAILED, TrialState.DIVERGED, TrialState.STOPPED):
            failing = replace(problem, state=lambda number, state=state: state)
            assert len(drive(self.make(failing), failing, self.steps)) == self.steps

    def test_it_neither_uses_nor_changes_the_global_random_numbers(self, problem: Problem) -> None:
        def states() -> tuple[object, ...]:
            return random.getstate(), str(numpy.random.get_state()), torch.get_rng_state().tolist()

        before = states()
        first = drive(self.make(problem), problem, self.steps)
        assert states() == before
        random.seed(1)
        torch.manual_seed(1)
        numpy.random.seed(1)
        assert drive(self.make(problem), problem, self.steps) == first


def best_found(controller: Controller, problem: Problem, budget: int, *, seed: int) -> float:
    """The best first objective among `budget` trials, its sign turned so that more is better."""
    trials = drive(controller, problem, budget, seed=seed)
    return max(problem.objectives[0].gain(trial.values) for trial in trials)
