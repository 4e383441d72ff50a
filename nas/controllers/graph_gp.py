"""Bayesian optimisation by a Gaussian process over features of the architecture's graph; isomorphic ones are one.

The surrogate is a Gaussian process over counts of operations, effective paths and subtrees of the live graph and over
its size (`graph_features`), told the half-rank warped values of each isomorphism class (`graph_surrogate`). The next
proposal is the class, not seen before, of the greatest expected improvement over the best posterior mean (noise left
out, so that a lucky run is no bar) among random architectures and those that a climb on the decision neighbourhood
finds from the ones believed best.

The incumbent is chosen by the estimate of each class seen: its posterior mean, moved by `own_share` of the way to what
was observed. What the surrogate leaves unexplained is in part noise and in part the architecture's own; single runs
cannot tell how much. By default all is the architecture's own, so that the best value counts: that is never far from
the best choice, and a surrogate that fits poorly does no harm. Where runs are known to be noisy, 0 denoises.

- While other proposals are out, scores are independent draws from the posterior (Thompson sampling), so that those made
  at the same time differ.
- Several objectives: every proposal draws weights, and its score is the augmented Chebyshev scalarisation of the
  optimistic estimates (mean plus one deviation), each scaled by its range over the front. The session's best of the
  first objective stands for the incumbent.
- What must break a constraint, judged by the figures of rejected trials (`feasibility`), is not proposed. A diverged
  trial counts as the worst value seen, a failed one tells nothing; neither is proposed again.

A proposal costs the cube of the number of classes seen, 10 ms at 300 of them.

References:
    Jones, Schonlau, Welch: Efficient Global Optimization of Expensive Black-Box Functions. Journal of Global
    Optimization 13, 1998 (equation 15, expected improvement).
    White, Neiswanger, Savani: BANANAS: Bayesian Optimization with Neural Architectures for Neural Architecture Search.
    AAAI 2021 (path encoding, independent Thompson sampling).
    Ru, Wan, Dong, Osborne: Interpretable Neural Architecture Search via Bayesian Optimisation with Weisfeiler-Lehman
    Kernels. ICLR 2021 (a Gaussian process on subtree counts; theirs has a linear kernel and no neighbourhood climb).
    Knowles: ParEGO: A Hybrid Algorithm with On-Line Landscape Approximation for Expensive Multiobjective Optimization
    Problems. IEEE Transactions on Evolutionary Computation 10(1), 2006 (equation 2; its process is fitted to the
    scalarised values, ours are fitted to the objectives).
    Paria, Kandasamy, Póczos: A Flexible Framework for Multi-Objective Bayesian Optimization using Random
    Scalarizations. UAI 2019 (weights drawn over optimistic estimates).
"""

import operator
import random
from collections.abc import Sequence

import numpy

from db.trial import Trial, TrialState
from nas.controllers.acquisition import expected_improvement, independent_samples, random_scalarisation
from nas.controllers.candidates import Candidate
from nas.controllers.climb import Climb
from nas.controllers.controller import Controller, Proposal
from nas.controllers.gaussian_process import Array
from nas.controllers.graph_features import GROUPS
from nas.controllers.graph_surrogate import Beliefs, GraphSurrogate
from nas.controllers.open_candidates import OpenCandidates
from nas.objectives import Objective
from search_spaces.choices import RandomChooser
from search_spaces.errors import UserError
from search_spaces.space import SearchSpace

_CENTRES = 5
"""From how many architectures a climb goes on: enough not to be held by one local optimum."""

_CLIMBS = 3
"""Steps of a climb, each a decision further: what lies beyond is better judged after the next observation."""

_SAMPLES = 50
"""Random architectures for each proposal, so that no part of the space is out of reach."""


class GraphGaussianProcess(Controller):
    """See the head of this file.

    The first `initial` architectures are random: ten give the surrogate's few parameters something to go by.

    Raises:
        UserError: `initial` is less than 2, or `own_share` is not from 0 (posterior mean) to 1 (observed value).
    """

    def __init__(
        self,
        space: SearchSpace,
        objectives: tuple[Objective, ...],
        *,
        seed: int = 0,
        initial: int = 10,
        own_share: float = 1.0,
    ) -> None:
        super().__init__(space, objectives, seed=seed)
        if initial < 2:
            raise UserError(f"controller 'graph-gp': initial must be at least 2, got {initial}")
        if not 0.0 <= own_share <= 1.0:
            raise UserError(f"controller 'graph-gp': own_share must be from 0 to 1, got {own_share}")
        self._own_share = own_share
        self._candidates = OpenCandidates(space)
        self._surrogate = GraphSurrogate(objectives, GROUPS, initial=initial)
        self._observed = 0
        self._complete: set[int | None] = set()
        """The numbers of the complete trials: what was stopped is no incumbent."""

    def observe(self, trial: Trial) -> None:
        self._observed += 1
        key, found = self._candidates.close(trial)
        if trial.state is TrialState.COMPLETE:
            self._complete.add(trial.number)
        gains = self.gains(trial)
        if gains is not None or trial.state is TrialState.DIVERGED:
            self._surrogate.add(key, found, trial.number, gains, reused=trial.reused_from is not None)

    def incumbent(self) -> int | None:
        beliefs = self._surrogate.beliefs()
        if beliefs is None or len(self.objectives) > 1:
            return None
        classes = list(self._surrogate.classes.values())
        estimates = beliefs.means[0] + self._own_share * (beliefs.observed[0] - beliefs.means[0])
        complete = [index for index, known in enumerate(classes) if known.number in self._complete]
        if not complete:
            return None
        return classes[max(complete, key=lambda index: float(estimates[index]))].number

    def propose(self, number: int, *, rng: random.Random) -> Proposal:
        beliefs = self._surrogate.beliefs()
        if beliefs is not None:
            found = self._search(beliefs, rng, outstanding=number - self._observed)
            if found is not None:
                return Proposal(self.space.replay(found.genotype))
        return Proposal(self._candidates.random(rng=rng))

    def _search(self, beliefs: Beliefs, rng: random.Random, *, outstanding: int) -> Candidate | None:
        """The open candidate of the greatest score among random ones and those around what is believed best."""
        several = len(self.objectives) > 1
        scalarise = random_scalarisation(beliefs.observed, rng=rng) if several else operator.itemgetter(0)
        worth: Array = scalarise(beliefs.means)

        def score(candidates: Sequence[Candidate]) -> Array:
            means, deviations = beliefs.predict(candidates)
            if outstanding > 0:
                return scalarise(independent_samples(means, deviations, rng=rng))
            if several:
                return scalarise(means + deviations)
            return expected_improvement(means[0], deviations[0], worth.max())

        climb = Climb(self._candidates, score)
        members = [known.candidate for known in self._surrogate.classes.values()]
        climb.around(members[index] for index in numpy.argsort(-worth, kind="stable")[:_CENTRES])
        climb.take(self.space.elaborate(RandomChooser(rng=rng)).genotype for _ in range(_SAMPLES))
        for _ in range(_CLIMBS):
            climb.around(climb.best(_CENTRES))
        return next(iter(climb.best(1)), None)
