"""The contract of a controller: it proposes architectures and observes what became of them."""

import random
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from db.trial import Trial, TrialState
from nas.objectives import Objective
from nas.pareto import gains_of
from search_spaces.space import Elaboration, SearchSpace


@dataclass(frozen=True, slots=True)
class Proposal:
    """An architecture to be tried, and where it comes from."""

    elaboration: Elaboration
    parent: int | None = None
    """The number of the trial it was made from."""
    mutation: str | None = None
    """The name of the decision that was changed."""
    information: Mapping[str, Any] = field(default_factory=dict)
    """What the controller needs again when it observes the trial; JSON values only."""


class Exhausted(Exception):
    """Raised by `propose` where nothing is left to propose, whatever is observed yet; the search is over then."""


class Controller(ABC):
    """Proposes architectures of one space for some objectives.

    Contract: the state is a function of the trials observed, in their order, and of the constructor's arguments;
    `propose` does not change it. So a controller that observes the recorded trials of a search again proposes what
    the first one would have proposed: resume is replay. All randomness comes from `rng`, which the session derives
    from (seed, number of the proposal); the seed given to the constructor is for initial weights only.

    Every proposal passes the space's `verify`; constraints are checked by the session, which lets the controller
    observe a rejected trial too (state `rejected`, analysis figures in `values`, no metrics). Failed and diverged
    trials are observed likewise. A trial that was stopped early has the values that are expected of the whole, or none
    as long as nothing is known of that (`nas.fidelities`); `gains` tells what there is to learn from.
    """

    ends_by_itself = False
    """Whether it stops proposing some day, so that a search without a budget of trials ends."""

    def __init__(self, space: SearchSpace, objectives: tuple[Objective, ...], *, seed: int = 0) -> None:
        self.space = space
        self.objectives = objectives
        self.seed = seed

    @abstractmethod
    def propose(self, number: int, *, rng: random.Random) -> Proposal:
        """The `number`-th proposal of the search, counted from 0.

        Raises:
            Exhausted: there is nothing left to propose, now or later.
        """

    def adopt(self, elaboration: Elaboration, number: int, *, rng: random.Random) -> Proposal:
        """The `number`-th proposal, where somebody else chose the architecture (`nas.warm_start`).

        Like `propose` it changes nothing. A controller that reads a trial's information when it observes it says here
        what that is for an architecture which it did not choose.
        """
        return Proposal(elaboration)

    @abstractmethod
    def observe(self, trial: Trial) -> None:
        """Takes in what became of a proposal."""

    def gains(self, trial: Trial) -> tuple[float, ...] | None:
        """What an observed trial is worth: a value for each objective, more being better; None where it has no result."""
        if trial.state not in (TrialState.COMPLETE, TrialState.STOPPED):
            return None
        if any(objective.name not in trial.values for objective in self.objectives):
            return None
        return gains_of(trial, self.objectives)

    def incumbent(self) -> int | None:
        """The number of the complete trial that is believed to be best; None for the best value observed.

        Where values are noisy the luckiest trial is not the best one, and a controller with a model may know better.
        It is a function of what was observed, as the proposals are.
        """
        return None
