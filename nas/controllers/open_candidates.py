"""Keeps which candidates of a space are still open: not tried before, nor certain to break a constraint."""

import random

from db.trial import Trial, TrialState
from nas.controllers.candidates import Candidate, candidates_of
from nas.controllers.feasibility import Feasibility
from search_spaces.choices import Genotype, RandomChooser
from search_spaces.space import Elaboration, SearchSpace

_RANDOM_TRIES = 20
"""Random draws until one is open; a space in which none of them is has been nearly exhausted."""


class OpenCandidates:
    """The candidates of a space without those that trials have closed; isomorphic ones are closed together."""

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self._candidates = candidates_of(space)
        self._feasibility = Feasibility()
        self._keys: set[str] = set()
        self._likenesses: set[int] = set()

    def close(self, trial: Trial) -> tuple[str, Candidate]:
        """Takes in a trial, whatever became of it; returns its canonical key and what is known of its genotype."""
        found, key = self._candidates.candidate(trial.genotype), self._candidates.key(trial.genotype)
        self._keys.add(key)
        self._likenesses.add(found.likeness)
        if trial.state is TrialState.REJECTED:
            self._feasibility.rejected(found.figures)
        else:
            self._feasibility.admitted(found.figures)
        return key, found

    def __contains__(self, candidate: Candidate) -> bool:
        # The exact key takes longer than all else, and only what has the likeness of a trial can have its key.
        if candidate.likeness in self._likenesses and self._candidates.key(candidate.genotype) in self._keys:
            return False
        return not self._feasibility.ruled_out(candidate.figures)

    def candidate(self, genotype: Genotype) -> Candidate:
        """What is known of a genotype, open or not."""
        return self._candidates.candidate(genotype)

    def neighbours(self, genotype: Genotype) -> tuple[Genotype, ...]:
        """The genotypes with one decision changed, open or not."""
        return self._candidates.neighbours(genotype)

    def mutate(self, genotype: Genotype, *, rng: random.Random) -> Genotype:
        """The genotype with one decision changed at random, open or not."""
        return self._candidates.mutate(genotype, rng=rng)

    def random(self, *, rng: random.Random) -> Elaboration:
        """A random architecture, an open one if some draws find one."""
        for _ in range(_RANDOM_TRIES):
            elaboration = self._space.elaborate(RandomChooser(rng=rng))
            if self.candidate(elaboration.genotype) in self:
                break
        return elaboration
