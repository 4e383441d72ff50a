"""What a surrogate knows of a genotype before anybody evaluates it: features, figures, key, and what is near it.

All of it is a pure function of space and genotype, so it is remembered for the whole process: searches of one space,
as in a comparison with many seeds, work it out once.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import numpy
from numpy.typing import NDArray

from analysis import analyze
from nas.controllers.graph_features import GROUPS, graph_features
from nas.controllers.known import keys_of
from search_spaces.choices import Decision, Genotype, Integer, RandomChooser, ReplayChooser, Subset, Value, mutate
from search_spaces.errors import UserError
from search_spaces.space import SearchSpace

Floats = NDArray[numpy.float64]
ScalarT = TypeVar("ScalarT", bound=numpy.generic)
Whole = NDArray[numpy.int32]

_COLUMNS: tuple[dict[str, int], ...] = tuple({} for _ in GROUPS)
"""For each group the number of every feature met so far; only its identity counts, never its order."""

_REMEMBERED_CANDIDATES = 20_000
"""More than NAS-Bench-201 has cells; a candidate takes about 2 kB."""

_REMEMBERED_NEIGHBOURHOODS = 2_000


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A genotype with the features of its architecture (for each group columns and values) and its figures.

    Candidates of equal `likeness` have the same features, so that a surrogate cannot tell them apart: isomorphic ones,
    and very seldom others.
    """

    genotype: Genotype
    likeness: int
    columns: tuple[Whole, ...]
    values: tuple[Whole, ...]
    figures: tuple[tuple[str, float], ...]
    """Of the analysis, as the session knows them."""


class Candidates:
    """The genotypes of one space as candidates, and which are near which."""

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self._keys = keys_of(space)
        self.candidate = lru_cache(_REMEMBERED_CANDIDATES)(self._candidate)
        """What is known of a genotype."""
        self.neighbours = lru_cache(_REMEMBERED_NEIGHBOURHOODS)(self._neighbours)
        """The genotypes with one decision changed; see `_neighbours`."""
        self._decisions = lru_cache(_REMEMBERED_CANDIDATES)(self._find_decisions)

    def key(self, genotype: Genotype) -> str:
        """The canonical key of the architecture: equal for isomorphic ones alone."""
        if genotype not in self._keys:
            self._keys[genotype] = self._space.replay(genotype).architecture.simplified().key
        return self._keys[genotype]

    def mutate(self, genotype: Genotype, *, rng: random.Random) -> Genotype:
        """The genotype that `SearchSpace.mutate` makes, without its architecture: there is time for hundreds."""
        decisions = self._decisions(genotype)
        if decisions is None:
            return self._space.mutate(genotype, rng=rng)[1].genotype
        _, changed = mutate(decisions, rng=rng)
        # Where it answers just what is asked, nothing is left to be answered at random.
        return changed if self._decisions(changed) is not None else self._space.complete(changed, rng=rng).genotype

    def _find_decisions(self, genotype: Genotype) -> tuple[Decision, ...] | None:
        """None where the genotype does not answer just the questions that are asked, in their order."""
        try:
            elaboration = self._space.replay(genotype)
        except UserError:
            return None
        return elaboration.decisions if elaboration.genotype == genotype else None

    def _candidate(self, genotype: Genotype) -> Candidate:
        architecture = self._space.replay(genotype).architecture
        figures = {name: float(figure) for name, figure in analyze(architecture.simplified()).figures().items()}
        features = graph_features(architecture, figures)
        columns, values = [], []
        for known, group in zip(_COLUMNS, features, strict=True):
            columns.append(numpy.array([known.setdefault(name, len(known)) for name in group], dtype=numpy.int32))
            values.append(numpy.array(list(group.values()), dtype=numpy.int32))
        likeness = hash(tuple(frozenset(group.items()) for group in features))
        return Candidate(genotype, likeness, tuple(columns), tuple(values), tuple(figures.items()))

    def _neighbours(self, genotype: Genotype) -> tuple[Genotype, ...]:
        """In the order of decisions and answers.

        Of a subset, those answers count that differ in one option, or in two where the size stays; of a whole number,
        those beside it. A question that newly arises is answered at random, once for all, by what its genotype reads.
        """
        found = []
        for position, decision in enumerate(self._space.replay(genotype).decisions):
            for value in _other_answers(decision):
                answers = [*genotype.values]
                answers[position] = (decision.name, value)
                changed = Genotype(tuple(answers))
                rng = random.Random(changed.to_json())
                chooser = ReplayChooser(changed, fallback=RandomChooser(rng=rng))
                found.append(self._space.elaborate(chooser).genotype)
        return tuple(found)


def candidates_of(space: SearchSpace) -> Candidates:
    """The candidates of a space, the same for all who ask for it in this process."""
    try:
        return _candidates_of(space)
    except TypeError:
        # A space that cannot be hashed is remembered by each controller for itself.
        return Candidates(space)


@lru_cache(maxsize=4)
def _candidates_of(space: SearchSpace) -> Candidates:
    return Candidates(space)


def _other_answers(decision: Decision) -> Sequence[Value]:
    domain, now = decision.domain, decision.value
    match domain, now:
        case Integer(), int():
            return [value for value in (now - 1, now + 1) if value in domain]
        case Subset(_, options), tuple():
            chosen = [option in now for option in options]
            answers = []
            for first in range(len(options)):
                for second in range(first, len(options)):
                    other = list(chosen)
                    other[first] = not other[first]
                    if second > first:
                        if chosen[first] == chosen[second]:
                            continue
                        other[second] = not other[second]
                    value = tuple(option for option, taken in zip(options, other, strict=True) if taken)
                    if value in domain:
                        answers.append(value)
            return answers
        case _:
            return [value for value in domain.values() if value != now]


class Distances:
    """Squared distances of features, group by group, to a growing list of candidates; exact, being of whole numbers."""

    def __init__(self, groups: Sequence[str] = GROUPS) -> None:
        self._groups = [GROUPS.index(group) for group in groups]
        self._places: list[NDArray[numpy.int64]] = [numpy.full(0, -1, dtype=numpy.int64) for _ in groups]
        """For each group the column in `_rows` of every feature, -1 for those that no member has."""
        self._rows: list[Floats] = [numpy.zeros((0, 0)) for _ in groups]
        self._squares: list[Floats] = [numpy.zeros(0) for _ in groups]
        self._among: Floats = numpy.zeros((len(groups), 0, 0))
        self._count = 0

    def add(self, member: Candidate) -> None:
        """Appends a member to the list."""
        count = self._count
        self._count += 1
        for index, group in enumerate(self._groups):
            columns, values = member.columns[group], member.values[group]
            places = _lengthened(self._places[index], int(columns.max(initial=-1)) + 1, -1)
            self._places[index] = places
            fresh = columns[places[columns] < 0]
            width = int(places.max(initial=-1)) + 1
            places[fresh] = numpy.arange(width, width + len(fresh))
            rows = self._rows[index]
            if count >= rows.shape[0] or width + len(fresh) > rows.shape[1]:
                wider: Floats = numpy.zeros((2 * count + 16, 2 * (width + len(fresh)) + 16))
                wider[: rows.shape[0], : rows.shape[1]] = rows
                rows = self._rows[index] = wider
                self._squares[index] = _lengthened(self._squares[index], len(wider), 0)
            rows[count, places[columns]] = values
            self._squares[index][count] = float(values.astype(numpy.float64) @ values)
        distances = self.to([member])
        if self._among.shape[1] < self._count:
            larger: Floats = numpy.zeros((len(self._groups), 2 * count + 16, 2 * count + 16))
            larger[:, :count, :count] = self._among[:, :count, :count]
            self._among = larger
        self._among[:, count, : self._count] = distances[:, 0]
        self._among[:, : self._count, count] = distances[:, 0]

    @property
    def among(self) -> Floats:
        """The distances of the members to each other: (groups, members, members)."""
        return self._among[:, : self._count, : self._count]

    def to(self, candidates: Sequence[Candidate]) -> Floats:
        """The distances of candidates to the members: (groups, candidates, members)."""
        result = numpy.empty((len(self._groups), len(candidates), self._count))
        for index, group in enumerate(self._groups):
            lengths = [len(item.columns[group]) for item in candidates]
            columns = numpy.concatenate([item.columns[group] for item in candidates])
            values = numpy.concatenate([item.values[group] for item in candidates]).astype(numpy.float64)
            row = numpy.repeat(numpy.arange(len(candidates)), lengths)
            places = _lengthened(self._places[index], int(columns.max(initial=-1)) + 1, -1)[columns]
            known = places >= 0
            width = int(self._places[index].max(initial=-1)) + 1
            rows = numpy.zeros((len(candidates), width))
            rows[row[known], places[known]] = values[known]
            squares = numpy.bincount(row, weights=values * values, minlength=len(candidates))
            members = self._rows[index][: self._count, :width]
            result[index] = squares[:, None] + self._squares[index][: self._count] - 2.0 * (rows @ members.T)
        return result


def _lengthened(array: NDArray[ScalarT], length: int, filler: int) -> NDArray[ScalarT]:
    if len(array) >= length:
        return array
    return numpy.concatenate([array, numpy.full(2 * length - len(array), filler, dtype=array.dtype)])
