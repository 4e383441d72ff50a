"""Lets a sampler of Optuna propose, by name: `tpe`, `nsga2`, `nsga3`, `gp` or `random`.

Optuna is used as a sampler alone. Every proposal is asked from a new in-memory study that holds the observed trials,
from a new sampler seeded by the proposal's `rng`, and the study is thrown away; so nothing but the observed trials
counts, and what a sampler notes on a trial while it is asked (NSGA-II its generation) travels in the proposal's
information and comes back when the trial is observed. Trials still out are unknown to the sampler.

A question becomes the parameter `NAME in DOMAIN`, because Optuna forbids one name with two sets of options:

- `OneOf` a categorical one, `Integer` an integer one;
- `Subset` one yes-or-no categorical for each option (`NAME has OPTION of ...`). Where the answers break the minimum or
  maximum, options drawn at random are added or left out, and the sampler is told what was built, not what it said.

A rejected, diverged or stopped trial is told as pruned and breaking a constraint: TPE counts it among the bad ones, the other
samplers leave it out. A failed one says nothing about its architecture and is left out. NSGA-II and NSGA-III cross
only those questions that every architecture is asked and draw the others at random; they begin to select after
`population_size` trials (50 unless told), so a small search should say less.

References:
    Akiba, Sano, Yanase, Ohta, Koyama: Optuna: A Next-generation Hyperparameter Optimization Framework. KDD 2019.
    Watanabe: Tree-Structured Parzen Estimator: Understanding Its Algorithm Components. arXiv 2304.11127, 2023.
    Deb, Pratap, Agarwal, Meyarivan: A Fast and Elitist Multiobjective Genetic Algorithm: NSGA-II. IEEE Transactions on
    Evolutionary Computation 6(2), 2002.
"""

import copy
import inspect
import random
import warnings
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, assert_never

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial

from db.trial import Trial, TrialState
from nas.controllers.controller import Controller, Proposal
from nas.objectives import Direction, Objective
from search_spaces.choices import Chooser, Decision, Domain, Integer, OneOf, Scalar, Subset, Value
from search_spaces.errors import UserError, unknown_name
from search_spaces.space import SearchSpace

_SAMPLERS: Mapping[str, Callable[..., BaseSampler]] = {
    "gp": optuna.samplers.GPSampler,
    "nsga2": optuna.samplers.NSGAIISampler,
    "nsga3": optuna.samplers.NSGAIIISampler,
    "random": optuna.samplers.RandomSampler,
    "tpe": optuna.samplers.TPESampler,
}

_UNFIT = {
    "bruteforce": "it has to know the trials still out",
    "cmaes": "it answers numbers only, and keeps its state as a pickle",
    "grid": "it has to be given the whole grid beforehand",
    "partialfixed": "it only wraps another sampler",
    "qmc": "it counts its proposals, so that trials out at the same time would be the same",
}

_DIRECTIONS = {
    Direction.MAXIMISE: optuna.study.StudyDirection.MAXIMIZE,
    Direction.MINIMISE: optuna.study.StudyDirection.MINIMIZE,
}

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
        self._sampler = _sampler_type(sampler)
        self._settings = sampler_settings
        known = [key for key in inspect.signature(self._sampler).parameters if key != "seed"]
        for key in sampler_settings:
            if key not in known:
                raise unknown_name(f"setting of Optuna's sampler {sampler!r}", key, known)
        try:
            self._make_sampler(seed)
        except (TypeError, ValueError) as error:
            raise UserError(f"Optuna's sampler {sampler!r} refuses its settings {sampler_settings}: {error}") from None
        self._observed: list[FrozenTrial] = []

    def propose(self, number: int, *, rng: random.Random) -> Proposal:
        study = optuna.create_study(
            directions=[_DIRECTIONS[objective.direction] for objective in self.objectives],
            sampler=self._make_sampler(rng.getrandbits(32)),
        )
        study.add_trials(self._observed)
        asked = study.ask()
        elaboration = self.space.elaborate(_AskingChooser(asked, rng))
        notes = study.get_trials(deepcopy=False)[asked.number].system_attrs
        return Proposal(elaboration, information={"notes": copy.deepcopy(notes)})

    def observe(self, trial: Trial) -> None:
        state = _STATES[trial.state]
        complete = state is optuna.trial.TrialState.COMPLETE
        parameters, distributions = _parameters(self.space.replay(trial.genotype).decisions)
        notes = dict(trial.information.get("notes", {}))
        if state is optuna.trial.TrialState.PRUNED:
            notes |= optuna.trial.create_trial(state=state, constraints={"fit": 1.0}).system_attrs
        self._observed.append(
            _ObservedTrial(
                number=len(self._observed),
                trial_id=len(self._observed),
                state=state,
                value=None,
                values=[trial.values[objective.name] for objective in self.objectives] if complete else None,
                datetime_start=_NO_TIME,
                datetime_complete=_NO_TIME,
                params=parameters,
                distributions=distributions,
                user_attrs={},
                system_attrs=notes,
                intermediate_values={},
            )
        )

    def _make_sampler(self, seed: int) -> BaseSampler:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return self._sampler(seed=seed % 2**32, **self._settings)


_NO_TIME = datetime(1970, 1, 1)

_STATES = {
    TrialState.COMPLETE: optuna.trial.TrialState.COMPLETE,
    TrialState.REJECTED: optuna.trial.TrialState.PRUNED,
    TrialState.DIVERGED: optuna.trial.TrialState.PRUNED,
    TrialState.STOPPED: optuna.trial.TrialState.PRUNED,
    TrialState.FAILED: optuna.trial.TrialState.FAIL,
}


class _ObservedTrial(FrozenTrial):
    """A trial that nobody changes, so that a study may take it in without copying its parameters."""

    def __deepcopy__(self, memo: dict[int, Any]) -> FrozenTrial:
        return copy.copy(self)


class _AskingChooser(Chooser):
    """Answers by the suggestions of an Optuna trial."""

    def __init__(self, trial: optuna.Trial, rng: random.Random) -> None:
        self._trial = trial
        self._rng = rng

    def decide(self, domain: Domain) -> Value:
        match domain:
            case OneOf(_, options):
                chosen = self._trial.suggest_categorical(_name(domain), options)
                assert chosen is not None
                return chosen
            case Integer(_, low, high):
                return self._trial.suggest_int(_name(domain), low, high)
            case Subset(_, options):
                answers = [
                    option
                    for option in options
                    if self._trial.suggest_categorical(_name(domain, option), (False, True))
                ]
                return _repaired(answers, domain, self._rng)
            case _:
                assert_never(domain)


def _repaired(chosen: list[Scalar], domain: Subset, rng: random.Random) -> Value:
    """The nearest answer within the bounds on the size, what to add or leave out being drawn at random."""
    if len(chosen) > domain.maximum:
        chosen = rng.sample(chosen, domain.maximum)
    elif len(chosen) < domain.minimum:
        rest = [option for option in domain.options if option not in chosen]
        chosen = chosen + rng.sample(rest, domain.minimum - len(chosen))
    return tuple(option for option in domain.options if option in chosen)


def _parameters(decisions: tuple[Decision, ...]) -> tuple[dict[str, Any], dict[str, BaseDistribution]]:
    """The parameters by which `_AskingChooser` would have come to these decisions, and their distributions."""
    parameters: dict[str, Any] = {}
    distributions: dict[str, BaseDistribution] = {}
    for decision in decisions:
        domain, value = decision.domain, decision.value
        match domain:
            case OneOf(_, options):
                parameters[_name(domain)] = value
                distributions[_name(domain)] = CategoricalDistribution(options)
            case Integer(_, low, high):
                parameters[_name(domain)] = value
                distributions[_name(domain)] = IntDistribution(low, high)
            case Subset(_, options):
                assert isinstance(value, tuple)
                for option in options:
                    parameters[_name(domain, option)] = option in value
                    distributions[_name(domain, option)] = CategoricalDistribution((False, True))
            case _:
                assert_never(domain)
    return parameters, distributions


def _name(domain: Domain, option: Scalar | None = None) -> str:
    match domain:
        case OneOf(name, options):
            return f"{name} in {options}"
        case Integer(name, low, high):
            return f"{name} in {low}..{high}"
        case Subset(name, options, minimum, maximum):
            return f"{name} has {option!r} of {minimum} to {maximum} of {options}"
        case _:
            assert_never(domain)


def _sampler_type(name: str) -> Callable[..., BaseSampler]:
    """The sampler by its short name or its class name in Optuna."""
    for short, found in _SAMPLERS.items():
        if name in (short, found.__name__):
            return found
    reason = _UNFIT.get(name.lower().removesuffix("sampler"))
    if reason is not None:
        raise UserError(f"Optuna's sampler {name!r} cannot propose here: {reason}; take one of: {', '.join(_SAMPLERS)}")
    raise unknown_name("sampler", name, _SAMPLERS)
