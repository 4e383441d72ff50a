"""Multi-objective evolution: NSGA-II in a steady state, selecting by front and crowding, crossing and changing decisions.

The population is the best `population` complete trials so far: by front of the non-dominated sort, in a front by
crowding distance. It is brought up to date by each observation, so nothing waits for a generation. Until it is full,
proposals are random. Then each of two parents is the better of two members drawn. With probability `crossover`, every
question that both parents answered gets the answer of either with equal chance, and those that one alone answered keep
it; else the first parent stays as it is. At last every decision is changed with probability one in their number. What
an answer newly raises is answered at random.

What was observed in this search, itself or as an isomorph, is not proposed again but drawn anew. Rejected, failed and
diverged trials do not enter the population. With one objective this is an elitist genetic algorithm: a front is a set of
equal values.

Deviations from the paper: there are no generations (Durillo et al. 2009 found the steady state to converge better);
crossover and mutation are on named decisions, where the paper has bits and real numbers; the population is smaller than
its 100, for some hundreds of evaluations instead of 25,000.

References:
    Deb, Pratap, Agarwal, Meyarivan: A Fast and Elitist Multiobjective Genetic Algorithm: NSGA-II. IEEE Transactions on
    Evolutionary Computation 6(2), 2002.
    Durillo, Nebro, Luna, Alba: On the Effect of the Steady-State Selection Scheme in Multi-Objective Genetic
    Algorithms. EMO 2009.
"""

import random
from dataclasses import dataclass

from db.trial import Trial
from nas.controllers.controller import Controller, Proposal
from nas.controllers.known import KnownArchitectures
from nas.objectives import Objective
from nas.pareto import Gains, crowding_distances, non_dominated_sort
from search_spaces.choices import Genotype, RandomChooser, Value, other_answer
from search_spaces.errors import UserError
from search_spaces.space import Elaboration, SearchSpace


@dataclass(frozen=True, slots=True)
class _Member:
    number: int | None
    genotype: Genotype
    gains: Gains


class ParetoEvolution(Controller):
    """NSGA-II in a steady state; see the head of this file.

    Raises:
        UserError: `population` is less than 2, or `crossover` is no probability.
    """

    def __init__(
        self,
        space: SearchSpace,
        objectives: tuple[Objective, ...],
        *,
        seed: int = 0,
        population: int = 20,
        crossover: float = 0.9,
    ) -> None:
        super().__init__(space, objectives, seed=seed)
        if population < 2:
            raise UserError(f"controller 'pareto-evolution': population must be at least 2, got {population}")
        if not 0 <= crossover <= 1:
            raise UserError(f"controller 'pareto-evolution': crossover must be in [0, 1], got {crossover}")
        self._size = population
        self._crossover = crossover
        self._known = KnownArchitectures(space)
        self._members: list[_Member] = []
        """The best first."""

    def propose(self, number: int, *, rng: random.Random) -> Proposal:
        draw = self._child if len(self._members) == self._size else self._newcomer
        return self._known.first_unknown(lambda: draw(rng))

    def observe(self, trial: Trial) -> None:
        is_new = self._known.add(trial)
        gains = self.gains(trial)
        if is_new and gains is not None:
            self._members.append(_Member(trial.number, trial.genotype, gains))
            self._members = [self._members[index] for index in _best_first(self._members)][: self._size]

    def _newcomer(self, rng: random.Random) -> Proposal:
        return Proposal(self.space.elaborate(RandomChooser(rng=rng)))

    def _child(self, rng: random.Random) -> Proposal:
        # Members stand in order, so the better of two is the one with the lower place.
        first, second = (self._members[min(rng.randrange(self._size), rng.randrange(self._size))] for _ in range(2))
        parents = [first.number]
        child = self.space.replay(first.genotype)
        if rng.random() < self._crossover:
            child = self.space.complete(_crossed(first.genotype, second.genotype, rng), rng=rng)
            parents.append(second.number)
        return Proposal(self._changed(child, rng), parent=first.number, information={"parents": parents})

    def _changed(self, child: Elaboration, rng: random.Random) -> Elaboration:
        open_decisions = [decision for decision in child.decisions if decision.domain.count > 1]
        changes = {
            decision.name: other_answer(decision, rng=rng)
            for decision in open_decisions
            if rng.random() * len(open_decisions) < 1
        }
        answers = tuple((name, changes.get(name, value)) for name, value in child.genotype.values)
        return self.space.complete(Genotype(answers), rng=rng) if changes else child


def _best_first(members: list[_Member]) -> list[int]:
    """The indices of all members by front, in a front by crowding distance, of equal ones the earliest first."""
    gains = [member.gains for member in members]
    order: list[int] = []
    for front in non_dominated_sort(gains):
        distances = dict(zip(front, crowding_distances([gains[index] for index in front]), strict=True))
        order.extend(sorted(front, key=lambda index: -distances[index]))
    return order


def _crossed(first: Genotype, second: Genotype, rng: random.Random) -> Genotype:
    """The answers of both, and of either with equal chance where both have one."""
    ours, theirs = dict(first.values), dict(second.values)
    answers: dict[str, Value] = {**theirs, **ours}
    for name in ours:
        if name in theirs and rng.random() < 0.5:
            answers[name] = theirs[name]
    return Genotype(tuple(answers.items()))
