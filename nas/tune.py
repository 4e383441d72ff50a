"""Our spaces and controllers in a Ray Tune run of your own: a search algorithm that proposes architectures to it."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from analysis import FIGURES, analyze
from db.trial import Trial, TrialState
from nas.controllers import registry
from nas.controllers.controller import Controller, Exhausted
from nas.objectives import Constraint, parse_constraint, parse_objective
from nas.search_plan import proposal_rng
from search_spaces.architecture import Architecture
from search_spaces.choices import Genotype
from search_spaces.errors import UserError
from search_spaces.space import SearchSpace
from workers.ray_tune_searcher import ProposalSearcher

MAX_IDLE_PROPOSALS = 1_000
"""How many proposals in a row may break the constraints or repeat what is known before the search gives up."""


def searcher(
    space: SearchSpace,
    controller: str,
    *,
    objectives: Sequence[str],
    constraints: Sequence[str] = (),
    seed: int = 0,
    controller_settings: Mapping[str, Any] | None = None,
) -> ProposalSearcher:
    """A `search_alg` for `ray.tune.TuneConfig` that proposes architectures of `space`.

    A Tune config has `trial` (the number of the proposal), `key` (of the architecture) and `genotype`, of which
    `architecture` makes the network. Objectives (`NAME`, `NAME:max`, `NAME:min`) are metrics that every trial reports,
    or figures of the analysis; the last result of a trial counts. An architecture is proposed once; what came of it is
    told to the controller again whenever that asks for it.

    Raises:
        UserError: a name or a setting is unknown.
    """
    if not objectives:
        raise UserError("objectives: name at least one metric that the trials report, such as accuracy:max")
    parsed = tuple(parse_objective(text, (text.partition(":")[0].strip(), *FIGURES)) for text in objectives)
    bounds = tuple(parse_constraint(text, FIGURES) for text in constraints)
    loaded = registry.load(controller, space, parsed, seed=seed, **(controller_settings or {}))
    return ProposalSearcher(ControllerProposals(loaded, bounds))


def architecture(space: SearchSpace, config: Mapping[str, Any]) -> Architecture:
    """The architecture that a Tune config of a `searcher` over the same space means.

    Raises:
        UserError: the config is of another space.
    """
    genotype = Genotype.from_json(json.dumps(config["genotype"]))
    return space.replay(genotype).architecture.simplified()


@dataclass(slots=True)
class _Running:
    """A trial that Tune runs, and those proposed meanwhile that wait for its result."""

    trial: Trial
    twins: list[Trial]


class ControllerProposals:
    """Proposes what a controller does and lets it observe the results; fulfils `Proposals`."""

    def __init__(self, controller: Controller, constraints: tuple[Constraint, ...]) -> None:
        self._controller = controller
        self._constraints = constraints
        self._proposals = 0
        self._admitted = 0
        self._observations = 0
        self._running: dict[str, _Running] = {}
        self._key_is_running: dict[str, str] = {}
        """The Tune trial that runs an architecture, by its key."""
        self._known: dict[str, Trial] = {}
        """The first ended trial of an architecture, by its key."""
        self._finished = False

    @property
    def finished(self) -> bool:
        return self._finished

    def next_config(self, trial_id: str) -> dict[str, Any] | None:
        trial: Trial | None = None
        for _ in range(MAX_IDLE_PROPOSALS):
            if self._finished:
                return None
            try:
                trial = self._propose()
            except Exhausted:
                self._finished = True
                return None
            if trial.state is TrialState.REJECTED:
                self._observe(trial)
            elif trial.key in self._known:
                known = self._known[trial.key]
                self._observe(replace(trial, state=known.state, values=known.values, reason=known.reason))
            elif trial.key in self._key_is_running:
                self._running[self._key_is_running[trial.key]].twins.append(trial)
            else:
                self._running[trial_id] = _Running(trial, [])
                self._key_is_running[trial.key] = trial_id
                return _config(trial)
        assert trial is not None
        if trial.state is TrialState.REJECTED:
            raise UserError(
                f"the last {MAX_IDLE_PROPOSALS} proposals led to nothing ({trial.reason}); relax the constraint"
            )
        # While others run their results may lead elsewhere.
        self._finished = not self._running
        return None

    def complete(self, trial_id: str, result: Mapping[str, Any]) -> None:
        values = dict(self._running[trial_id].trial.values)
        for name in [objective.name for objective in self._controller.objectives if objective.name not in FIGURES]:
            if name not in result:
                self._end(trial_id, TrialState.FAILED, values, f"the trial reported no {name}")
                return
            values[name] = float(result[name])
            if not math.isfinite(values[name]):
                self._end(trial_id, TrialState.DIVERGED, {}, f"{name} is {values[name]}")
                return
        self._end(trial_id, TrialState.COMPLETE, values)

    def failed(self, trial_id: str) -> None:
        self._end(trial_id, TrialState.FAILED, {}, "the Tune trial ended by an error")

    def _propose(self) -> Trial:
        number = self._proposals
        self._proposals += 1
        proposal = self._controller.propose(number, rng=proposal_rng(self._controller.seed, number))
        built = proposal.elaboration.architecture.simplified()
        trial = Trial(
            proposal=number,
            number=self._admitted,
            state=TrialState.RUNNING,
            genotype=proposal.elaboration.genotype,
            key=built.key,
            evaluation_key="",
            data="",
            fidelity=1,
            seed=0,
            parent=proposal.parent,
            mutation=proposal.mutation,
            information=proposal.information,
            values=analyze(built).figures(),
        )
        broken = [constraint for constraint in self._constraints if not constraint.holds(trial.values)]
        if broken:
            return replace(
                trial, number=None, state=TrialState.REJECTED, reason=f"it breaks {' and '.join(map(str, broken))}"
            )
        self._admitted += 1
        return trial

    def _end(self, trial_id: str, state: TrialState, values: Mapping[str, float], reason: str | None = None) -> None:
        running = self._running.pop(trial_id)
        del self._key_is_running[running.trial.key]
        for trial in (running.trial, *running.twins):
            ended = replace(trial, state=state, values={**trial.values, **values}, reason=reason)
            self._known.setdefault(ended.key, ended)
            self._observe(ended)

    def _observe(self, trial: Trial) -> None:
        self._controller.observe(replace(trial, observed=self._observations))
        self._observations += 1


def _config(trial: Trial) -> dict[str, Any]:
    genotype = {name: list(value) if isinstance(value, tuple) else value for name, value in trial.genotype.values}
    return {"trial": trial.number, "key": trial.key, "genotype": genotype}
