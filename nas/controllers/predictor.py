"""Predictor-guided evolution: of many mutants of the best, the one that an ensemble of regressions likes best is tried.

The first `initial` architectures are random. Then the `parents` best are mutated, a decision at a time and as often
again as a coin falls heads; of `mutants` new ones the proposal is that of the greatest draw from its predicted mean and
deviation (independent Thompson sampling). The predictor is a bagged ridge regression (`ridge_ensemble`) on the features
of the architecture's graph (`graph_features`); it predicts the place of an architecture in the order of those seen,
which for several objectives is that of Pareto ranks (`ranking`). Isomorphs of what is known are not proposed, nor what
must break a constraint (`feasibility`).

Deviations from the papers: BANANAS has five multilayer perceptrons on path encodings with a loss in the accuracy's
unit, NPENAS one graph network; here ten ridge regressions on counts of operations, paths, subtrees and sizes, which at
50 to 150 observations predicted as well as forests of 30 trees at a twentieth of their time, and ranks in place of
accuracies, so that failures to train do not set the scale. BANANAS proposes ten at a time; here each proposal uses all
observations. Rejected, failed and diverged trials do not train the predictor.

References:
    White, Neiswanger, Savani: BANANAS: Bayesian Optimization with Neural Architectures for Neural Architecture Search.
    AAAI 2021 (algorithm 1; 100 mutants, independent Thompson sampling, ten random architectures first).
    Wei, Niu, Tang, Liang: NPENAS: Neural Predictor Guided Evolution for Neural Architecture Search. 2020.
"""

import random

import numpy

from db.trial import Trial
from nas.controllers.acquisition import independent_samples
from nas.controllers.candidates import Candidate, Distances
from nas.controllers.controller import Controller, Proposal
from nas.controllers.graph_features import GROUPS
from nas.controllers.open_candidates import OpenCandidates
from nas.controllers.ranking import Ranking
from nas.controllers.ridge_ensemble import RidgeEnsemble, fit_ridges
from nas.objectives import Objective
from search_spaces.choices import Genotype
from search_spaces.errors import UserError
from search_spaces.space import SearchSpace

_MEMBERS = 10
"""Regressions in the ensemble: enough for a deviation that is told to a quarter."""

_PENALTY = 0.2
"""The share of noise: a fifth of the signal's variance, which was not tuned beyond its power of ten."""


class PredictorGuidedEvolution(Controller):
    """See the head of this file.

    Raises:
        UserError: `initial` is less than 2, or `parents` or `mutants` less than 1.
    """

    def __init__(
        self,
        space: SearchSpace,
        objectives: tuple[Objective, ...],
        *,
        seed: int = 0,
        initial: int = 10,
        parents: int = 10,
        mutants: int = 100,
    ) -> None:
        super().__init__(space, objectives, seed=seed)
        for name, value, least in (("initial", initial, 2), ("parents", parents, 1), ("mutants", mutants, 1)):
            if value < least:
                raise UserError(f"controller 'predictor': {name} must be at least {least}, got {value}")
        self._initial = initial
        self._parents = parents
        self._mutants = mutants
        self._candidates = OpenCandidates(space)
        self._members: list[Candidate] = []
        self._keys: set[str] = set()
        self._ranking = Ranking()
        self._distances = Distances(GROUPS)
        self._fitted: tuple[list[Candidate], RidgeEnsemble] | None = None

    def observe(self, trial: Trial) -> None:
        key, found = self._candidates.close(trial)
        gains = self.gains(trial)
        if gains is None or key in self._keys:
            return
        self._keys.add(key)
        self._members.append(found)
        self._distances.add(found)
        self._ranking.add(gains)
        self._fitted = None

    def propose(self, number: int, *, rng: random.Random) -> Proposal:
        if len(self._members) >= self._initial:
            best, ensemble = self._fit()
            mutants = self._mutated(best, rng)
            if mutants:
                means, deviations = ensemble.predict(self._distances.to(mutants))
                chosen = int(numpy.argmax(independent_samples(means, deviations, rng=rng)))
                return Proposal(self.space.replay(mutants[chosen].genotype))
        return Proposal(self._candidates.random(rng=rng))

    def _fit(self) -> tuple[list[Candidate], RidgeEnsemble]:
        """The best seen, and the ensemble; both depend on the observations and the seed alone."""
        if self._fitted is None:
            count = len(self._members)
            places = numpy.array([self._ranking.percentile(index) for index in range(count)])
            best = [self._members[index] for index in numpy.argsort(-places, kind="stable")[: self._parents]]
            rng = numpy.random.default_rng((self.seed, count))
            self._fitted = best, fit_ridges(self._distances.among, places, members=_MEMBERS, penalty=_PENALTY, rng=rng)
        return self._fitted

    def _mutated(self, best: list[Candidate], rng: random.Random) -> list[Candidate]:
        """Open mutants of the best, each likeness once."""
        found: dict[int, Candidate] = {}
        for _ in range(self._mutants):
            genotype: Genotype = rng.choice(best).genotype
            again = True
            while again:
                genotype = self._candidates.mutate(genotype, rng=rng)
                again = rng.random() < 0.5
            mutant = self._candidates.candidate(genotype)
            if mutant.likeness not in found and mutant in self._candidates:
                found[mutant.likeness] = mutant
        return list(found.values())
