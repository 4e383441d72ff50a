"""Regularised evolution: mutates the best of a sample of the population, from which the oldest dies.

The population is the last `population` trials with a result, in the order observed. Until there are so many, proposals
are random. Then the best of `sample` members, drawn with replacement, is the parent, and one of its decisions is given
another answer (`SearchSpace.mutate`). Several objectives are ordered by Pareto rank within the population, then by the
first objective (see `ranking`).

Deviations from the paper: proposals are asynchronous, so a child may be proposed while older ones are still being
evaluated, and a trial is as old as its observation; there is no mutation that leaves the parent unchanged; a mutation
answers questions that it newly raises at random. Rejected, failed and diverged trials do not enter the population.
What was observed in this search, itself or as an isomorph, is not proposed again but drawn anew.
The paper has a population of 100 and samples of 25 for 20,000 evaluations. The defaults, 20 and 10, are for some hundreds:
a larger population begins to select too late to do well at 50, and of smaller ones, or smaller samples, none did better
at any budget from 100 to 300 on both data sets of NAS-Bench-201 (benchmarks/notes/controllers.md).

References:
    Real, Aggarwal, Huang, Le: Regularized Evolution for Image Classifier Architecture Search. AAAI 2019 (algorithm 1).
"""

import random
from collections import deque
from dataclasses import dataclass

from db.trial import Trial
from nas.controllers.controller import Controller, Proposal
from nas.controllers.known import KnownArchitectures
from nas.controllers.ranking import sort_key
from nas.objectives import Objective
from search_spaces.choices import Genotype, RandomChooser
from search_spaces.errors import UserError
from search_spaces.space import SearchSpace


@dataclass(frozen=True, slots=True)
class _Member:
    number: int | None
    genotype: Genotype
    gains: tuple[float, ...]


class RegularisedEvolution(Controller):
    """Aging evolution with tournament selection; see the head of this file.

    Raises:
        UserError: `population` or `sample` is less than 1, or `sample` exceeds `population`.
    """

    def __init__(
        self,
        space: SearchSpace,
        objectives: tuple[Objective, ...],
        *,
        seed: int = 0,
        population: int = 20,
        sample: int = 10,
    ) -> None:
        super().__init__(space, objectives, seed=seed)
        if not 1 <= sample <= population:
            raise UserError(
                f"controller 'evolution': sample must be from 1 to population, got sample {sample} "
                f"of population {population}"
            )
        self._known = KnownArchitectures(space)
        self._sample = sample
        self._members: deque[_Member] = deque(maxlen=population)

    def propose(self, number: int, *, rng: random.Random) -> Proposal:
        draw = self._child if len(self._members) == self._members.maxlen else self._newcomer
        return self._known.first_unknown(lambda: draw(rng))

    def _newcomer(self, rng: random.Random) -> Proposal:
        return Proposal(self.space.elaborate(RandomChooser(rng=rng)))

    def _child(self, rng: random.Random) -> Proposal:
        contestants = rng.choices(self._members, k=self._sample)
        everyone = [member.gains for member in self._members]
        parent = max(contestants, key=lambda member: sort_key(member.gains, everyone))
        mutation, elaboration = self.space.mutate(parent.genotype, rng=rng)
        return Proposal(elaboration, parent=parent.number, mutation=mutation)

    def observe(self, trial: Trial) -> None:
        self._known.add(trial)
        gains = self.gains(trial)
        if gains is not None:
            self._members.append(_Member(trial.number, trial.genotype, gains))
