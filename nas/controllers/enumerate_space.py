"""Enumeration: every distinct architecture of the space once, in the order of its decisions.

The `number`-th proposal is the `number`-th architecture whose canonical key is new, so the state is the proposal's
number alone. Isomorphic architectures are proposed once. Meant for spaces that are small enough to be trained whole;
the walk goes on where the last proposal ended, and starts anew in a search that is resumed.
"""

import random
from collections.abc import Iterator

from db.trial import Trial
from nas.controllers.controller import Controller, Exhausted, Proposal
from nas.objectives import Objective
from search_spaces.choices import Genotype
from search_spaces.space import SearchSpace


class Enumeration(Controller):
    """Proposes every distinct architecture of the space, then nothing any more."""

    ends_by_itself = True

    def __init__(self, space: SearchSpace, objectives: tuple[Objective, ...], *, seed: int = 0) -> None:
        super().__init__(space, objectives, seed=seed)
        self._walk = _distinct(space)
        self._met: list[Genotype] = []

    def propose(self, number: int, *, rng: random.Random) -> Proposal:
        while len(self._met) <= number:
            genotype = next(self._walk, None)
            if genotype is None:
                raise Exhausted
            self._met.append(genotype)
        return Proposal(self.space.replay(self._met[number]))

    def observe(self, trial: Trial) -> None:
        pass


def _distinct(space: SearchSpace) -> Iterator[Genotype]:
    """The first genotype of every class of isomorphic architectures."""
    seen: set[str] = set()
    for genotype, architecture in space.enumerate():
        key = architecture.key
        if key not in seen:
            seen.add(key)
            yield genotype
