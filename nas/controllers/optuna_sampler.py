"""Lets a sampler of Optuna propose, by name: `tpe`, `nsga2`, `nsga3`, `gp`, `cmaes`, `qmc` or `random`.

Optuna is used as a sampler alone. Every proposal is asked from a new in-memory study that holds the observed trials,
from a new sampler seeded by the proposal's `rng`, and the study is thrown away; so nothing but the observed trials
counts, and what a sampler notes on a trial while it is asked (NSGA-II its generation) travels in the proposal's
information and comes back when the trial is observed. Trials still out are unknown to the sampler. How questions
become parameters tells `optuna_parameters`. Where a sampler suggests what was observed already, itself or as an isomorph
(TPE in 3 of 10 of its first 150 proposals on NAS-Bench-201), one of the decisions is changed at random instead; asked
again, a sampler would often say the same.

A rejected or diverged trial, or a stopped one of which nothing is expected yet, is told as pruned and breaking a
constraint: TPE counts it among the bad ones, the other samplers leave it out. A failed one says nothing about its
architecture and is left out.

- `tpe` and `gp` model together the questions that every architecture is asked, and each of the others by itself (`tpe`)
  or not at all (`gp`).
- `nsga2` and `nsga3` cross only the questions that every architecture is asked and draw the others at random. They begin
  to select after `population_size` trials, here 10 unless told: Optuna's 50 makes a search of 50 trials random and one
  of 300 six generations. On NAS-Bench-201, 10 did better than 20 and 50 from 50 trials on, with one objective and two.
- `cmaes` moves along the questions that every architecture is asked and whose answers lie along a line: numbers in
  order, and each option of a subset as 0 or 1, for which it needs its margin (Hamano et al. 2022), here on unless told.
  All else is drawn at random, so a space must have two such questions. It has one objective. Optuna would store its
  state as a pickle; here it is worked out from the observed trials again.
- `qmc` takes the point of a scrambled Sobol sequence that has the number of the proposal, so that trials out at a time
  differ. It fills the questions of the first trial evenly and learns nothing.

References:
    Akiba, Sano, Yanase, Ohta, Koyama: Optuna: A Next-generation Hyperparameter Optimization Framework. KDD 2019.
    Watanabe: Tree-Structured Parzen Estimator: Understanding Its Algorithm Components. arXiv 2304.11127, 2023.
    Deb, Pratap, Agarwal, Meyarivan: A Fast and Elitist Multiobjective Genetic Algorithm: NSGA-II. IEEE Transactions on
    Evolutionary Computation 6(2), 2002.
    Hamano, Saito, Nomura, Shirakawa: CMA-ES with Margin: Lower-Bounding Marginal Probability for Mixed-Integer
    Black-Box Optimization. GECCO 2022.
"""

import copy
import inspect
import random
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial

from db.trial import Trial, TrialState
from nas.controllers.controller import Controller, Proposal
from nas.controllers.known import KnownArchitectures
from nas.controllers.optuna_parameters import AskingChooser, has_places, parameters_of
from nas.objectives import Direction, Objective
from search_spaces.choices import Decision, Domain, RandomChooser
from search_spaces.errors import UserError, unknown_name
from search_spaces.space import Elaboration, SearchSpace


@dataclass(frozen=True, slots=True)
class _Method:
    """A sampler of Optuna, with what this file adds to its own defaults."""

    make: Callable[..., BaseSampler]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    moves_along_numbers: bool = False


_METHODS = {
    "cmaes": _Method(optuna.samplers.CmaEsSampler, {"with_margin": True}, moves_along_numbers=True),
    "gp": _Method(optuna.samplers.GPSampler),
    "nsga2": _Method(optuna.samplers.NSGAIISampler, {"population_size": 10}),
    "nsga3": _Method(optuna.samplers.NSGAIIISampler, {"population_size": 10}),
    "qmc": _Method(optuna.samplers.QMCSampler, {"scramble": True}),
    "random": _Method(optuna.samplers.RandomSampler),
    "tpe": _Method(optuna.samplers.TPESampler),
}

_UNFIT = {
    "bruteforce": "it has to know the trials still out",
    "grid": "it has to be given the whole grid beforehand",
    "partialfixed": "it only wraps another sampler",
}

_DIRECTIONS = {
    Direction.MAXIMISE: optuna.study.StudyDirection.MAXIMIZE,
    Direction.MINIMISE: optuna.study.StudyDirection.MINIMIZE,
}

PROBES = 200
"""How many random architectures show which questions all of them are asked."""

# A study is made for every proposal; announcing each is noise.
optuna.logging.set_verbosity(optuna.logging.ERROR)


class OptunaSampler(Controller):
    """Asks the named sampler of Optuna, `sampler_settings` being its own; see the head of this file.

    Raises:
        UserError: the sampler is unknown or cannot work here, or it does not know a setting or refuses its value.
    """

    def __init__(
        self,
        space: SearchSpace,
        objectives: tuple[Objective, ...],
        *,
        seed: int = 0,
        sampler: str = "tpe",
        **sampler_settings: Any,
    ) -> None:
        super().__init__(space, objectives, seed=seed)
        self._method = _method(sampler)
        known = [key for key in inspect.signature(self._method.make).parameters if key != "seed"]
        for key in sampler_settings:
            if key not in known:
                raise unknown_name(f"setting of Optuna's sampler {sampler!r}", key, known)
        self._settings = {**self._method.defaults, **sampler_settings}
        try:
            self._make_sampler(0, seed)
        except (TypeError, ValueError) as error:
            raise UserError(f"Optuna's sampler {sampler!r} refuses its settings {sampler_settings}: {error}") from None
        self._by_place: dict[Domain, Decision] = {}
        """The questions coded by places, each with an answer that stands in where it was not asked."""
        if self._method.moves_along_numbers:
            if len(objectives) > 1:
                names = ", ".join(objective.name for objective in objectives)
                raise UserError(f"controller 'optuna:cmaes' has one objective, got {names}; take 'optuna:nsga2'")
            self._by_place = _always_along_a_line(space)
        self._known = KnownArchitectures(space)
        self._observed: list[FrozenTrial] = []

    def propose(self, number: int, *, rng: random.Random) -> Proposal:
        asked = self._ask(self._make_sampler(number, rng.getrandbits(32)))
        suggested = self.space.elaborate(AskingChooser(asked, rng=rng, by_place=self._by_place.keys()))
        notes = {"notes": _notes(asked)}
        if suggested not in self._known:
            return Proposal(suggested, information=notes)

        def changed() -> Proposal:
            _, elaboration = self.space.mutate(suggested.genotype, rng=rng)
            return Proposal(elaboration, information=notes)

        return self._known.first_unknown(changed)

    def adopt(self, elaboration: Elaboration, number: int, *, rng: random.Random) -> Proposal:
        # A sampler of generations counts only what it has noted one on, which it does when it is asked.
        asked = self._ask(self._make_sampler(number, rng.getrandbits(32)))
        _ = asked.relative_params
        return Proposal(elaboration, information={"notes": _notes(asked)})

    def observe(self, trial: Trial) -> None:
        self._known.add(trial)
        gains = self.gains(trial)
        complete = gains is not None
        state = optuna.trial.TrialState.COMPLETE if complete else _STATES[trial.state]
        notes = dict(trial.information.get("notes", {}))
        if state is optuna.trial.TrialState.PRUNED:
            notes |= optuna.trial.create_trial(state=state, constraints={"fit": 1.0}).system_attrs
        parameters = self._parameters(self.space.replay(trial.genotype).decisions)
        self._observed.append(
            _ObservedTrial(
                number=len(self._observed),
                trial_id=len(self._observed),
                state=state,
                value=None,
                values=[trial.values[objective.name] for objective in self.objectives] if complete else None,
                datetime_start=_NO_TIME,
                datetime_complete=_NO_TIME,
                params={name: value for name, (_, value) in parameters.items()},
                distributions={name: distribution for name, (distribution, _) in parameters.items()},
                user_attrs={},
                system_attrs=notes,
                intermediate_values={},
            )
        )
        if complete and self._method is _METHODS["cmaes"]:
            notes |= self._state_of_cmaes()

    def _ask(self, sampler: BaseSampler) -> optuna.Trial:
        """A new trial of a new study that holds what was observed."""
        directions = [_DIRECTIONS[objective.direction] for objective in self.objectives]
        study = optuna.create_study(directions=directions, sampler=sampler)
        study.add_trials(self._observed)
        return study.ask()

    def _state_of_cmaes(self) -> dict[str, Any]:
        """What CMA-ES notes where a generation is complete: itself, having learnt from it; else nothing.

        It looks for that among the complete trials, so it belongs with the last of them, where no later one has it yet.
        """
        asked = self._ask(self._make_sampler(0, 0))
        _ = asked.relative_params
        return {key: value for key, value in _notes(asked).items() if _IS_STATE in key}

    def _parameters(self, decisions: tuple[Decision, ...]) -> dict[str, tuple[BaseDistribution, Any]]:
        """What a sampler is told of a trial: all, or to one that moves along numbers always the same numbers."""
        if self._by_place:
            answered = {decision.domain: decision for decision in decisions}
            decisions = tuple(answered.get(domain, stand_in) for domain, stand_in in self._by_place.items())
        return {
            name: parameter
            for decision in decisions
            for name, parameter in parameters_of(decision, by_place=self._by_place.keys()).items()
        }

    def _make_sampler(self, number: int, seed: int) -> BaseSampler:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            if self._method is _METHODS["qmc"]:
                others = optuna.samplers.RandomSampler(seed=seed % 2**32)
                settings = {"independent_sampler": others, **self._settings}
                return _NumberedQmc(number, seed=self.seed % 2**32, **settings)
            return self._method.make(seed=seed % 2**32, **self._settings)


_NO_TIME = datetime(1970, 1, 1)

_IS_STATE = ":optimizer:"
"""What the names of the notes have in common in which CMA-ES keeps itself."""

_STATES = {
    TrialState.COMPLETE: optuna.trial.TrialState.COMPLETE,
    TrialState.REJECTED: optuna.trial.TrialState.PRUNED,
    TrialState.DIVERGED: optuna.trial.TrialState.PRUNED,
    TrialState.STOPPED: optuna.trial.TrialState.PRUNED,
    TrialState.FAILED: optuna.trial.TrialState.FAIL,
}


class _ObservedTrial(FrozenTrial):
    """A trial that nobody changes and that is valid, so that a study may take it in as it is."""

    def __deepcopy__(self, memo: dict[int, Any]) -> FrozenTrial:
        # A study numbers what it takes in from 0 on, which are the numbers that this has.
        return self

    def _validate(self) -> None:
        pass


class _NumberedQmc(optuna.samplers.QMCSampler):
    """Gives the point of a certain number, where Optuna's own would count what it was asked."""

    def __init__(self, number: int, **settings: Any) -> None:
        super().__init__(**settings)
        self._number = number

    def _find_sample_id(self, study: optuna.Study, search_space: dict[str, BaseDistribution]) -> int:
        return self._number


def _notes(asked: optuna.Trial) -> dict[str, Any]:
    """What the sampler noted on a trial while it was asked."""
    noted = asked.study.get_trials(deepcopy=False)[asked.number].system_attrs
    # TPE and GP note what they suggested for those who ask while the trial is out; nobody asks the same study again.
    return {key: copy.deepcopy(note) for key, note in noted.items() if ":relative_params:" not in key}


def _method(name: str) -> _Method:
    """The sampler by its short name or its class name in Optuna."""
    for short, found in _METHODS.items():
        if name in (short, getattr(found.make, "__name__", short)):
            return found
    reason = _UNFIT.get(name.lower().removesuffix("sampler"))
    if reason is not None:
        raise UserError(f"Optuna's sampler {name!r} cannot propose here: {reason}; take one of: {', '.join(_METHODS)}")
    raise unknown_name("sampler", name, _METHODS)


def _always_along_a_line(space: SearchSpace) -> dict[Domain, Decision]:
    """The questions that CMA-ES can answer: those with places that every one of many random architectures is asked.

    Raises:
        UserError: there are fewer than two parameters in them, which is the least that CMA-ES works with.
    """
    rng = random.Random(0)
    probes = [space.elaborate(RandomChooser(rng=rng)).decisions for _ in range(PROBES)]
    shared = set.intersection(*({decision.domain for decision in decisions} for decisions in probes))
    found = {
        decision.domain: decision for decision in probes[0] if decision.domain in shared and has_places(decision.domain)
    }
    places = frozenset(found)
    if sum(len(parameters_of(decision, by_place=places)) for decision in found.values()) < 2:
        raise UserError(
            f"controller 'optuna:cmaes' moves along numbers, of which the space {space.name!r} asks every architecture "
            "fewer than two; take 'optuna:tpe'"
        )
    return found
