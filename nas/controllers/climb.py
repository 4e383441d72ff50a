"""Climbs on the decision neighbourhood by a score of one's own: looks at candidates, keeps them, goes on from the best."""

from collections.abc import Callable, Iterable, Sequence

from nas.controllers.candidates import Candidate
from nas.controllers.open_candidates import OpenCandidates
from search_spaces.choices import Genotype


class Climb:
    """The candidates looked at so far with their scores.

    Of candidates of one likeness (isomorphic ones) the first is kept; those that are not open are left out.
    """

    def __init__(
        self,
        candidates: OpenCandidates,
        score: Callable[[Sequence[Candidate]], Iterable[float]],
    ) -> None:
        self._candidates = candidates
        self._score = score
        self._scores: dict[int, float] = {}
        self._found: dict[int, Candidate] = {}
        self._expanded: set[Genotype] = set()

    def take(self, genotypes: Iterable[Genotype]) -> None:
        """Looks at these genotypes."""
        fresh: dict[int, Candidate] = {}
        for genotype in genotypes:
            candidate = self._candidates.candidate(genotype)
            if candidate.likeness not in self._found and candidate in self._candidates:
                fresh.setdefault(candidate.likeness, candidate)
        if fresh:
            self._found.update(fresh)
            self._scores.update(zip(fresh, map(float, self._score(list(fresh.values()))), strict=True))

    def around(self, centres: Iterable[Candidate]) -> None:
        """Looks at the neighbours of these candidates, each time it has not done so before."""
        new = [centre.genotype for centre in centres if centre.genotype not in self._expanded]
        self._expanded.update(new)
        self.take(other for genotype in new for other in self._candidates.neighbours(genotype))

    def best(self, count: int) -> list[Candidate]:
        """Those of the greatest scores, the best first; of equal ones, the first looked at."""
        order = sorted(self._scores, key=lambda likeness: -self._scores[likeness])
        return [self._found[likeness] for likeness in order[:count]]
