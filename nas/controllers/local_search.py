"""Local search: tries the neighbours of the best found, moves to the first that is better, restarts where none is.

A **descent** starts at a random architecture. It proposes the neighbours (`SearchSpace.neighbours`) of the best trial it
has, in random order; the first that is better takes its place. Once every neighbour is known, the descent has ended in
a local optimum and another one starts. Several objectives make it Pareto local search: a descent keeps all of its
trials that none of its trials dominates, and has ended once the neighbours of all are known; equal trials stay side
by side, so a plateau is walked over.

What was observed in this search, itself or as an isomorph, is not proposed again, neither as a neighbour nor as a
start; a rejected, failed or diverged trial is known like any other and never a place to move to.

With several workers, what is out is unknown here; only the numbers of those proposals are known. The neighbours of a
trial are tried in a fixed order, so the first unknown ones are those that are out, and as many are skipped; where none
is left then, another descent starts meanwhile. Which proposals were made since a trial was observed follows exactly
where the number of workers does not change. A trial belongs to the descent by which it was proposed, however late it
comes.

Deviations from the papers: White et al. evaluate the start and restart in one budget as here, but know nothing of
isomorphs; Paquete et al. explore a random member of the front, here it is the latest, which with one objective is
the best.

References:
    White, Nolen, Savani: Exploring the Loss Landscape in Neural Architecture Search. UAI 2021 (local search).
    Den Ottelander, Dushatskiy, Virgolin, Bosman: Local Search is a Remarkably Strong Baseline for Neural Architecture
    Search. EMO 2021.
    Paquete, Chiarandini, Stützle: Pareto Local Optimum Sets in the Biobjective Traveling Salesman Problem. 2004.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from db.trial import Trial
from nas.controllers.controller import Controller, Proposal
from nas.controllers.known import KnownArchitectures
from nas.objectives import Objective
from nas.pareto import Gains, dominates
from search_spaces.choices import Genotype, RandomChooser, neighbours
from search_spaces.space import Elaboration, SearchSpace


@dataclass(frozen=True, slots=True)
class _Member:
    number: int | None
    genotype: Genotype
    gains: Gains
    order: int
    """What its neighbourhood is shuffled by; drawn with its proposal, so that all who come back to it agree."""
    since: int
    """How many trials were observed when it was, itself included."""


class LocalSearch(Controller):
    """First-improvement local search with restarts, for one objective or several; see the head of this file."""

    def __init__(self, space: SearchSpace, objectives: tuple[Objective, ...], *, seed: int = 0) -> None:
        super().__init__(space, objectives, seed=seed)
        self._known = KnownArchitectures(space)
        self._observed = 0
        self._all_arrived = 0
        """Every proposal with a lower number was observed."""
        self._arrived: set[int] = set()
        """The numbers of the other proposals observed."""
        self._descents: dict[int, list[_Member]] = {}
        """The undominated trials of every descent, the latest last, by the number of the proposal that started it."""
        self._explored: set[Genotype] = set()
        """A memo: what was found to have known neighbours only, which stays so."""

    def propose(self, number: int, *, rng: random.Random) -> Proposal:
        out = [earlier for earlier in range(self._all_arrived, number) if earlier not in self._arrived]
        workers_busy = len(out)
        order = rng.getrandbits(32)
        for descent, members in self._descents.items():
            for member in reversed(members):
                first_since = member.since + workers_busy
                skipped = sum(earlier >= first_since for earlier in out)
                steps = list(islice(self._unknown_neighbours(member), skipped + 1))
                if len(steps) > skipped:
                    name, elaboration = steps[-1]
                    information = {"descent": descent, "order": order}
                    return Proposal(elaboration, parent=member.number, mutation=name, information=information)
                # The steps left are out; the others that are out belong to a member still to come.
                older = [earlier for earlier in out if earlier < first_since]
                out = older + out[len(older) + len(steps) :]
        information = {"descent": number, "order": order}
        chooser = RandomChooser(rng=rng)
        return self._known.first_unknown(lambda: Proposal(self.space.elaborate(chooser), information=information))

    def adopt(self, elaboration: Elaboration, number: int, *, rng: random.Random) -> Proposal:
        # All that are adopted are one descent, which goes on from the best of them.
        return Proposal(elaboration, information={"descent": 0, "order": rng.getrandbits(32)})

    def observe(self, trial: Trial) -> None:
        self._observed += 1
        self._arrived.add(trial.proposal)
        while self._all_arrived in self._arrived:
            self._arrived.remove(self._all_arrived)
            self._all_arrived += 1
        self._known.add(trial)
        gains = self.gains(trial)
        if gains is None:
            return
        descent, order = trial.information["descent"], trial.information["order"]
        member = _Member(trial.number, trial.genotype, gains, order, self._observed)
        members = self._descents.setdefault(descent, [])
        if not any(dominates(other.gains, member.gains) for other in members):
            self._descents[descent] = [other for other in members if not dominates(member.gains, other.gains)] + [
                member
            ]

    def _unknown_neighbours(self, member: _Member) -> Iterator[tuple[str, Elaboration]]:
        """Those of the neighbours that are not known, the first of isomorphs only, with the changed decision's name."""
        if member.genotype in self._explored:
            return
        changes = list(neighbours(self.space.replay(member.genotype).decisions))
        random.Random(member.order).shuffle(changes)
        met: set[str] = set()
        for name, changed in changes:
            elaboration = self.space.neighbour(changed)
            if elaboration not in self._known and (key := self._known.key(elaboration)) not in met:
                met.add(key)
                yield name, elaboration
        if not met:
            self._explored.add(member.genotype)
