"""One search of a bake-off, in memory: what `nas search --executor serial` does, without database, JSON and weights.

The trials are those that `nas.session` would record, one by one; tests compare them. So proposals that break a
constraint are observed and count nothing, an architecture that is known takes over its result and counts, and no
controller sees what is only reported.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from db.trial import Measurement, Trial, TrialState
from nas.admission import MAX_REJECTIONS
from nas.bake_off.arena import WORKER, Arena, Values
from nas.controllers.controller import Controller, Exhausted, Proposal
from nas.early_stopping import StoppingRule, SuccessiveHalving
from nas.fidelities import Fidelities
from nas.objectives import Constraint, Objective
from nas.pareto import gains_of
from nas.search_plan import proposal_rng
from search_spaces.choices import Genotype
from search_spaces.errors import Fault, UserError
from workers.attempt import stopped
from workers.task import Outcome


@dataclass(frozen=True, slots=True)
class Rules:
    """What is the same for every search of a bake-off."""

    objectives: tuple[Objective, ...]
    constraints: tuple[Constraint, ...]
    stopping: StoppingRule
    budget: int
    time_budget_seconds: float | None
    """Of the simulated clock; where it is set, the stops of a search are seconds on it, else they are evaluations."""
    fidelity: int
    training_seed: int
    data: str
    evaluation_key: str
    reported: tuple[str, ...]
    measures: tuple[str, ...]
    """The values of the incumbent that are kept."""


@dataclass(frozen=True, slots=True)
class Point:
    """Where a search stands at a stop: the incumbent's number and measures; None and NaN before there is one."""

    evaluations: int
    seconds: float
    """On the simulated clock."""
    incumbent: int | None
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Run:
    """What a search came to: a point for each stop, and what became of its proposals."""

    points: tuple[Point, ...]
    evaluations: int
    reused: int
    """Evaluations that took over a known result."""
    rejected: int
    """Proposals that broke a constraint."""
    unsuccessful: int
    """Evaluations that failed or diverged."""
    stopped: int
    seconds: float
    """On the simulated clock."""
    milliseconds: tuple[float, ...]
    """Wall time of the controller for each proposal: to propose it and to observe what became of it."""


class Simulation:
    """A search that runs trial by trial; the seed is both the session's and the controller's own."""

    def __init__(self, arena: Arena, rules: Rules, controller: Controller, *, seed: int) -> None:
        self._arena = arena
        self._rules = rules
        self._controller = controller
        self._seed = seed
        self._halving = SuccessiveHalving(rules.stopping, rules.objectives)
        self._fidelities = Fidelities(rules.stopping, rules.objectives)
        self.trials: list[Trial] = []
        """Those that count against the budget, in the order of their numbers."""
        self.rejected: list[Trial] = []
        self.milliseconds: list[float] = []
        self.spent_seconds = 0.0
        self._proposals = 0
        self._observations = 0
        self._exhausted = False
        self._records: dict[str, Genotype] = {}
        """The first genotype met under a key, which stands for its isomorphs."""
        self._known: dict[str, Trial] = {}
        """The trial whose result a twin takes over, by key."""
        self._best: Trial | None = None

    @property
    def finished(self) -> bool:
        """Whether no more trials are begun."""
        limit = self._rules.time_budget_seconds
        out_of_time = limit is not None and self.spent_seconds >= limit
        return len(self.trials) >= self._rules.budget or out_of_time or self._exhausted

    @property
    def position(self) -> float:
        """How much of what is limited has been spent: seconds on the simulated clock where those are, else evaluations."""
        return len(self.trials) if self._rules.time_budget_seconds is None else self.spent_seconds

    def run(self, stops: Sequence[float]) -> Run:
        """Runs to the end and says where it stood when it began the first trial at or after each stop (ascending)."""
        points: list[Point] = []
        while not self.finished:
            self._pass(stops, points, self.position)
            self.step()
        self._pass(stops, points, math.inf)
        states = [trial.state for trial in self.trials]
        return Run(
            points=tuple(points),
            evaluations=len(self.trials),
            reused=sum(trial.reused_from is not None for trial in self.trials),
            rejected=len(self.rejected),
            unsuccessful=states.count(TrialState.FAILED) + states.count(TrialState.DIVERGED),
            stopped=states.count(TrialState.STOPPED),
            seconds=self.spent_seconds,
            milliseconds=tuple(self.milliseconds),
        )

    def step(self) -> None:
        """Takes the next proposal that keeps the constraints to its end; without one the search is finished."""
        rejections = 0
        while True:
            number, self._proposals = self._proposals, self._proposals + 1
            rng = proposal_rng(self._seed, number)
            began = time.perf_counter()
            try:
                proposal = self._controller.propose(number, rng=rng)
            except Exhausted:
                self._exhausted = True
                return
            took = time.perf_counter() - began
            trial = self._admit(number, proposal)
            broken = [constraint for constraint in self._rules.constraints if not constraint.holds(trial.values)]
            if not broken:
                self._end(*self._evaluated(trial), took)
                return
            rejections += 1
            self._reject(trial, broken, took)
            if rejections >= MAX_REJECTIONS:
                raise UserError(
                    f"the last {MAX_REJECTIONS} proposals all broke a constraint (the last one: "
                    f"{self.rejected[-1].reason}); relax the constraint"
                )

    def incumbent(self) -> Trial | None:
        """The trial that the controller takes for the best one, or else the best of those that were observed."""
        number = self._controller.incumbent()
        if number is None:
            return self._best
        if not 0 <= number < len(self.trials) or self.trials[number].state is not TrialState.COMPLETE:
            raise Fault(f"its incumbent is {number}, which is no complete trial")
        return self.trials[number]

    def _pass(self, stops: Sequence[float], points: list[Point], position: float) -> None:
        """Adds a point for each stop up to `position` that has none yet."""
        passed = sum(stop <= position for stop in stops[len(points) :])
        if not passed:
            return
        best = self.incumbent()
        values = tuple(math.nan if best is None else best.values[name] for name in self._rules.measures)
        point = Point(len(self.trials), self.spent_seconds, None if best is None else best.number, values)
        points.extend([point] * passed)

    def _admit(self, number: int, proposal: Proposal) -> Trial:
        genotype = proposal.elaboration.genotype
        key = self._arena.key(genotype)
        record = self._records.setdefault(key, genotype)
        return Trial(
            proposal=number,
            number=len(self.trials),
            state=TrialState.RUNNING,
            genotype=genotype,
            key=key,
            evaluation_key=self._rules.evaluation_key,
            data=self._rules.data,
            fidelity=self._rules.fidelity,
            seed=self._rules.training_seed,
            parent=proposal.parent,
            mutation=proposal.mutation,
            information=proposal.information,
            values=Values(partial(self._arena.figures, record), {}),
        )

    def _reject(self, trial: Trial, broken: Sequence[Constraint], took: float) -> None:
        reason = "; ".join(f"{each.name} {trial.values[each.name]:,} breaks {each}" for each in broken)
        rejected = replace(trial, number=None, state=TrialState.REJECTED, reason=reason, observed=self._observations)
        self.rejected.append(rejected)
        self._show(rejected, (), took)

    def _evaluated(self, trial: Trial) -> tuple[Trial, Sequence[Measurement]]:
        """The trial with its result, that of a twin where there is one, and what was measured on the way."""
        source = self._known.get(trial.key)
        if source is not None:
            assert source.number is not None
            taken_over = replace(
                trial,
                state=source.state,
                reason=source.reason,
                values=source.values,
                seconds=0.0,
                reused_from=(WORKER, source.number),
            )
            return taken_over, ()
        assert trial.number is not None
        course = self._arena.course(trial.genotype, self._records[trial.key])
        outcome, measurements = course.outcome, course.measurements
        for count, measurement in enumerate(measurements, start=1):
            if not self._halving.report(trial, measurement):
                outcome, measurements = stopped(outcome, measurement), measurements[:count]
                break
        return self._ended(trial, outcome), measurements

    def _ended(self, trial: Trial, outcome: Outcome) -> Trial:
        assert trial.number is not None
        assert isinstance(trial.values, Values)
        state, reason, metrics = outcome.state, outcome.reason, dict(outcome.values)
        last = self._halving.end(trial.number)
        if last is not None and state is TrialState.COMPLETE:
            state = TrialState.STOPPED
            metrics["epochs"] = float(last.epoch)
            reason = f"stopped at {last.epoch} of {trial.fidelity}: not among the best that came so far"
        values = trial.values.with_metrics(metrics)
        if state in (TrialState.COMPLETE, TrialState.STOPPED):
            for objective in self._rules.objectives:
                if objective.name not in values:
                    state, reason = TrialState.FAILED, f"the evaluation gave no {objective.name}"
                elif not math.isfinite(values[objective.name]):
                    state, reason = TrialState.DIVERGED, f"{objective.name} is {values[objective.name]}"
        return replace(
            trial,
            state=state,
            values=values,
            reason=reason,
            seconds=metrics.get("cost_seconds", outcome.seconds),
            attempts=1,
            worker=outcome.worker,
        )

    def _end(self, trial: Trial, measurements: Sequence[Measurement], took: float) -> None:
        ended = replace(trial, observed=self._observations)
        self.trials.append(ended)
        self.spent_seconds += ended.seconds or 0.0
        if ended.state in (TrialState.COMPLETE, TrialState.STOPPED):
            self._known.setdefault(ended.key, ended)
        if ended.state is TrialState.COMPLETE:
            objectives = self._rules.objectives
            if self._best is None or gains_of(ended, objectives) > gains_of(self._best, objectives):
                self._best = ended
        self._show(ended, measurements, took)

    def _show(self, trial: Trial, measurements: Sequence[Measurement], took: float) -> None:
        """Lets the controller observe a trial, without what is only reported, and comparable to the others."""
        self._observations += 1
        values = trial.values
        if self._rules.reported:
            assert isinstance(values, Values)
            seen = {name: value for name, value in values.metrics.items() if name not in self._rules.reported}
            trial = replace(trial, values=values.with_metrics(seen))
        trial = self._fidelities.show(trial, measurements)
        began = time.perf_counter()
        self._controller.observe(trial)
        self.milliseconds.append(1000 * (took + time.perf_counter() - began))
