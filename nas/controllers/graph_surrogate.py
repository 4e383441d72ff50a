"""What is believed of architectures from those observed: a Gaussian process for each objective over graph features.

The unit is the isomorphism class: evaluations of one canonical key are averaged, and noise counts less for more of
them. An objective that the analysis knows needs no process: its figure is exact for every candidate. A class that
diverged counts as the worst value seen.

The parameters are fitted anew whenever the classes have grown by a quarter, so that all fits together cost a few times
the last one, and on at most 300 classes spread evenly over time, since their cost is cubic. They depend on the classes
at that moment alone, never on an earlier fit or on when somebody asks.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean

import numpy

from nas.controllers.candidates import Candidate, Distances
from nas.controllers.gaussian_process import Array, Parameters, Posterior, condition, fit
from nas.controllers.warping import Warping, half_rank_warping
from nas.objectives import Objective

_GROWTH = 1.25
_MOST_FITTED = 300


@dataclass(slots=True)
class ObservedClass:
    """An isomorphism class: the trial that had it first, and the gains of each evaluation, none where it diverged."""

    candidate: Candidate
    number: int | None
    gains: list[tuple[float, ...]] = field(default_factory=list)

    def mean(self) -> tuple[float, ...]:
        """The mean of the gains, empty where there are none."""
        return tuple(fmean(column) for column in zip(*self.gains, strict=True))


@dataclass(frozen=True, slots=True)
class Beliefs:
    """The state of belief after some observations; values are warped (see `warping`), more being better.

    `observed` and `means` have the shape (objectives, classes): what was seen of each class and what the processes
    make of it.
    """

    observed: Array
    means: Array
    _objectives: tuple[Objective, ...]
    _warpings: tuple[Warping, ...]
    _posteriors: tuple[Posterior | None, ...]
    _distances: Distances

    def predict(self, candidates: Sequence[Candidate]) -> tuple[Array, Array]:
        """Means and standard deviations of candidates, noise left out: both (objectives, candidates)."""
        distances = self._distances.to(candidates)
        means, deviations = [], []
        for objective, warping, posterior in zip(self._objectives, self._warpings, self._posteriors, strict=True):
            if posterior is None:
                exact = numpy.array([objective.gain(dict(candidate.figures)) for candidate in candidates])
                means.append(warping(exact))
                deviations.append(numpy.zeros(len(candidates)))
            else:
                mean, deviation = posterior.predict(distances)
                means.append(mean)
                deviations.append(deviation)
        return numpy.array(means), numpy.array(deviations)


class GraphSurrogate:
    """Gathers observations and gives what is believed because of them; `groups` are those of `graph_features`.

    It believes something once it has `initial` classes and a value of one of them.
    """

    def __init__(self, objectives: tuple[Objective, ...], groups: Sequence[str], *, initial: int) -> None:
        self.classes: dict[str, ObservedClass] = {}
        """What was observed, by canonical key, in the order first seen."""
        self._objectives = objectives
        self._distances = Distances(groups)
        self._next_fit = initial
        self._parameters: tuple[Parameters | None, ...] | None = None
        self._beliefs: Beliefs | None = None

    def add(
        self, key: str, candidate: Candidate, number: int | None, gains: tuple[float, ...] | None, *, reused: bool
    ) -> None:
        """Takes in an evaluation, or a divergence (`gains` None); what is `reused` is no news of a class known."""
        known = self.classes.get(key)
        if known is None:
            known = self.classes[key] = ObservedClass(candidate, number)
            self._distances.add(candidate)
        elif reused:
            return
        if gains is not None:
            known.gains.append(gains)
        self._beliefs = None
        if len(self.classes) >= self._next_fit and any(other.gains for other in self.classes.values()):
            self._next_fit = int(len(self.classes) * _GROWTH) + 1
            self._parameters = self._fitted()

    def beliefs(self) -> Beliefs | None:
        """What is believed now, or None as long as too little was observed."""
        if self._beliefs is None and self._parameters is not None:
            self._beliefs = self._conditioned(self._parameters)
        return self._beliefs

    def _warpings(self) -> tuple[Warping, ...]:
        seen = [gains for known in self.classes.values() for gains in known.gains]
        worst = tuple(map(min, zip(*seen, strict=True)))
        means = numpy.array([known.mean() or worst for known in self.classes.values()])
        return tuple(half_rank_warping(column) for column in means.T)

    def _counts(self) -> Array:
        return numpy.array([max(len(known.gains), 1) for known in self.classes.values()], dtype=numpy.float64)

    def _is_exact(self, objective: Objective) -> bool:
        first = next(iter(self.classes.values()))
        return any(name == objective.name for name, _ in first.candidate.figures)

    def _fitted(self) -> tuple[Parameters | None, ...]:
        count = len(self.classes)
        chosen = numpy.unique(numpy.linspace(0, count - 1, min(count, _MOST_FITTED)).astype(int))
        distances = self._distances.among[:, chosen[:, None], chosen]
        counts = self._counts()[chosen]
        return tuple(
            None if self._is_exact(objective) else fit(distances, warping.observed[chosen], counts)
            for objective, warping in zip(self._objectives, self._warpings(), strict=True)
        )

    def _conditioned(self, parameters: tuple[Parameters | None, ...]) -> Beliefs:
        warpings, counts, among = self._warpings(), self._counts(), self._distances.among
        posteriors = tuple(
            None if found is None else condition(among, warping.observed, counts, found)
            for found, warping in zip(parameters, warpings, strict=True)
        )
        means = [
            warping.observed if posterior is None else posterior.fitted
            for posterior, warping in zip(posteriors, warpings, strict=True)
        ]
        observed = numpy.array([warping.observed for warping in warpings])
        return Beliefs(observed, numpy.array(means), self._objectives, warpings, posteriors, self._distances)
