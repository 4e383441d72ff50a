"""The session: the one place where a search moves on, from a proposal to a recorded and observed result.

propose → simplify and key → known already? → analyse → constraints → record → hand out → record the result → observe.

Only the session writes trials. It is a work source: executors ask it for tasks and bring it outcomes, from one thread.
"""

import math
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import replace

from analysis import analyze
from db.store import Store
from db.trial import ArchitectureRecord, Measurement, Trial, TrialState
from nas.controllers.controller import Controller, Exhausted, Proposal
from nas.early_stopping import NEVER, SuccessiveHalving
from nas.fidelities import Fidelities
from nas.front_weights import FrontWeights
from nas.objectives import Constraint
from nas.pareto import gains_of
from nas.progress import Progress
from nas.search_plan import SearchPlan, proposal_rng
from nas.weights import WeightsStore
from search_spaces.architecture import Architecture
from search_spaces.errors import UserError
from workers.task import EvaluationTask, Outcome

MAX_ATTEMPTS = 3
"""How many attempts a trial has: with so many of its workers dead it has failed."""

MAX_REJECTIONS = 1_000
"""How many proposals in a row may break the constraints before the search gives up."""


class Session:
    """A running search; fulfils `workers.task.WorkSource`.

    A session is made for a search that exists in the store, new or interrupted, and first lets its controller observe
    what was observed before, in that order. Trials that were out when an earlier session ended are handed out again.
    """

    def __init__(
        self,
        plan: SearchPlan,
        controller: Controller,
        store: Store,
        weights: WeightsStore,
        *,
        listener: Callable[[Progress], None] = lambda progress: None,
    ) -> None:
        self._plan = plan
        self._controller = controller
        self._store = store
        self._weights = FrontWeights(plan.name, store, weights, self._gains)
        self._listener = listener
        self._trials: dict[int, Trial] = {}
        self._waiting: deque[int] = deque()
        self._out: dict[str, int] = {}
        """The trial being evaluated, by architecture key: a twin proposed meanwhile waits for its result."""
        self._twins: dict[str, list[int]] = {}
        self._measurements: dict[int, list[Measurement]] = {}
        self._proposals = 0
        self._observations = 0
        self._rejected = 0
        self._finished = 0
        self._reused = 0
        self._unsuccessful = 0
        self._stopped = 0
        self._spent_seconds = 0.0
        self._exhausted = False
        self._halving = SuccessiveHalving(plan.stopping, plan.objectives)
        self._fidelities = Fidelities(plan.stopping, plan.objectives)
        self._stopped_keys: dict[str, Trial] = {}
        """Trials that were stopped, by architecture key: a twin shares that end too."""
        self._best: Trial | None = None
        self._losses: Counter[int] = Counter()
        """How many workers each trial has cost this session; an interruption is no loss."""
        self._began = time.monotonic()
        self._restore()
        self._finished_before = self._finished
        self._listener(self.progress)

    def close(self) -> None:
        """Ends the session: what is out waits for whoever continues the search."""
        self._store.return_to_waiting(self._plan.name)

    def _restore(self) -> None:
        name = self._plan.name
        self._store.return_to_waiting(name)
        observed = self._store.observed(name)
        trials = self._store.trials(name, include_rejected=True)
        for trial in observed:
            self._show(trial, self._recorded(trial))
        self._observations = len(observed)
        self._proposals = 1 + max((trial.proposal for trial in trials), default=-1)
        for trial in trials:
            if trial.number is None:
                self._rejected += 1
                continue
            self._trials[trial.number] = trial
            if trial.state.is_finished:
                self._halving.restore(trial, self._recorded(trial))
                self._count(trial)
                self._weights.restore(trial)
            else:
                self._waiting.append(trial.number)

    def _recorded(self, trial: Trial) -> Sequence[Measurement]:
        """The measurements of a trial, which count where trials are stopped by them."""
        if trial.number is None or self._plan.stopping is NEVER:
            return ()
        return self._store.measurements(self._plan.name, trial.number)

    def _count(self, trial: Trial) -> None:
        """Takes a finished trial into the counts and the best."""
        self._finished += 1
        self._reused += trial.reused_from is not None
        self._stopped += trial.state is TrialState.STOPPED
        self._unsuccessful += trial.state in (TrialState.DIVERGED, TrialState.FAILED)
        self._spent_seconds += trial.seconds or 0.0
        if trial.state is TrialState.STOPPED:
            self._stopped_keys.setdefault(trial.key, trial)
        if trial.state is TrialState.COMPLETE and (self._best is None or self._gains(trial) > self._gains(self._best)):
            self._best = trial

    @property
    def finished(self) -> bool:
        return not self._begins_more and self._finished == len(self._trials)

    @property
    def _begins_more(self) -> bool:
        """Whether trials are still begun: the budgets of trials and time are not spent, nor the controller's ideas."""
        limit = self._plan.time_budget_seconds
        in_time = limit is None or self._spent_seconds < limit
        return len(self._trials) < self._plan.budget and in_time and not self._exhausted

    @property
    def progress(self) -> Progress:
        """Where the search stands now."""
        return Progress(
            name=self._plan.name,
            objectives=tuple(objective.name for objective in self._plan.objectives),
            budget=len(self._trials) if self._exhausted else self._plan.budget,
            finished=self._finished,
            running=len(self._out),
            reused=self._reused,
            unsuccessful=self._unsuccessful,
            stopped=self._stopped,
            rejected=self._rejected,
            best=self._best,
            elapsed_seconds=time.monotonic() - self._began,
            finished_before=self._finished_before,
            spent_seconds=self._spent_seconds,
            time_budget_seconds=self._plan.time_budget_seconds,
        )

    def next_task(self, worker: str) -> EvaluationTask | None:
        while True:
            if self._waiting:
                trial = self._trials[self._waiting.popleft()]
            elif self._begins_more:
                try:
                    trial = self._admit(worker)
                except Exhausted:
                    self._exhausted = True
                    self._listener(self.progress)
                    return None
                if trial.state is TrialState.RUNNING:
                    return self._task(trial)
            else:
                return None
            task = self._dispatch(trial, worker)
            if task is not None:
                return task

    def report(self, number: int, measurement: Measurement) -> bool:
        self._measurements.setdefault(number, []).append(measurement)
        return self._halving.report(self._trials[number], measurement)

    def finish(self, number: int, outcome: Outcome) -> None:
        trial = self._trials[number]
        state, reason = outcome.state, outcome.reason
        values = {**trial.values, **outcome.values}
        last = self._halving.end(number)
        if last is not None and state is TrialState.COMPLETE:
            state, values = TrialState.STOPPED, {**values, "epochs": float(last.epoch)}
            reason = f"stopped at {last.epoch} of {trial.fidelity}: not among the best that came so far"
        if state in (TrialState.COMPLETE, TrialState.STOPPED):
            for name in [objective.name for objective in self._plan.objectives]:
                if name not in values:
                    state, reason = TrialState.FAILED, f"the evaluation gave no {name}"
                elif not math.isfinite(values[name]):
                    state, reason = TrialState.DIVERGED, f"{name} is {values[name]}"
        ended = replace(
            trial,
            state=state,
            values=values,
            reason=reason,
            worker=outcome.worker,
            # A simulated clock goes by what the evaluation says it cost.
            seconds=values.get("cost_seconds", outcome.seconds),
            finished_at=time.time(),
        )
        self._end(ended, weights=outcome.weights)

    def lost(self, number: int, reason: str) -> None:
        trial = self._trials[number]
        self._measurements.pop(number, None)
        self._halving.forget(number)
        self._losses[number] += 1
        if self._losses[number] >= MAX_ATTEMPTS:
            text = f"lost {self._losses[number]} workers, the last with: {reason}"
            self._end(replace(trial, state=TrialState.FAILED, reason=text, finished_at=time.time()))
            return
        del self._out[trial.key]
        self._waiting.appendleft(number)

    def _admit(self, worker: str) -> Trial:
        """Asks for proposals until one keeps the constraints; records it, running already where it must be evaluated."""
        rejected: list[Trial] = []
        fresh: dict[str, ArchitectureRecord] = {}
        while True:
            number = self._proposals
            self._proposals += 1
            try:
                proposal = self._controller.propose(number, rng=proposal_rng(self._plan.seed, number))
            except Exhausted:
                if rejected:
                    self._store.record_proposals(self._plan.name, rejected, tuple(fresh.values()))
                raise
            trial = self._trial(number, proposal, self._record(proposal, fresh))
            broken = [constraint for constraint in self._plan.constraints if not constraint.holds(trial.values)]
            if not broken:
                break
            rejected.append(self._reject(trial, broken))
            if len(rejected) >= MAX_REJECTIONS:
                self._store.record_proposals(self._plan.name, rejected, tuple(fresh.values()))
                raise UserError(
                    f"the last {MAX_REJECTIONS} proposals all broke a constraint (the last one: {rejected[-1].reason}); "
                    f"relax the constraint and start a new search"
                )
        if self._known(trial.key) or trial.key in self._out:
            trial = replace(trial, state=TrialState.WAITING)
        else:
            trial = replace(trial, attempts=1, worker=worker, started_at=time.time())
            self._out[trial.key] = trial.number or 0
        self._store.record_proposals(self._plan.name, [*rejected, trial], tuple(fresh.values()))
        self._remember(trial)
        return trial

    def _record(self, proposal: Proposal, fresh: dict[str, ArchitectureRecord]) -> ArchitectureRecord:
        """The record under the key of a proposed architecture: the stored one, else a new one, added to `fresh`.

        Isomorphic architectures differ in names and order of their nodes, and so in initial weights. The first one
        that the database meets stands for all, so that what is trained is what is stored.
        """
        architecture = proposal.elaboration.architecture.simplified()
        key = architecture.key
        if key not in fresh:
            stored = self._store.architectures((key,))
            if key in stored:
                return stored[key]
            figures = analyze(architecture).figures()
            fresh[key] = ArchitectureRecord(key, self._plan.space, architecture.to_json(), figures)
        return fresh[key]

    def _trial(self, number: int, proposal: Proposal, record: ArchitectureRecord) -> Trial:
        return Trial(
            proposal=number,
            number=len(self._trials),
            state=TrialState.RUNNING,
            genotype=proposal.elaboration.genotype,
            key=record.key,
            evaluation_key=self._plan.evaluation_key,
            data=self._plan.data,
            fidelity=self._plan.epochs,
            seed=self._plan.training_seed,
            parent=proposal.parent,
            mutation=proposal.mutation,
            information=proposal.information,
            values=record.figures,
        )

    def _reject(self, trial: Trial, broken: Sequence[Constraint]) -> Trial:
        reason = "; ".join(
            f"{constraint.name} {trial.values[constraint.name]:,} breaks {constraint}" for constraint in broken
        )
        rejected = replace(
            trial, number=None, state=TrialState.REJECTED, reason=reason, observed=self._next_observation()
        )
        self._rejected += 1
        self._show(rejected)
        return rejected

    def _dispatch(self, trial: Trial, worker: str) -> EvaluationTask | None:
        """The task of a waiting trial; None if its result is known by now, or will be when its twin has ended."""
        assert trial.number is not None
        source = self._known(trial.key)
        if source is not None:
            self._reuse(trial, *source)
            return None
        if trial.key in self._out:
            self._twins.setdefault(trial.key, []).append(trial.number)
            return None
        running = replace(
            trial,
            state=TrialState.RUNNING,
            attempts=trial.attempts + 1,
            worker=worker,
            started_at=time.time(),
        )
        self._out[trial.key] = trial.number
        self._store.start_attempt(
            self._plan.name, trial.number, worker=worker, attempt=running.attempts, started_at=running.started_at or 0.0
        )
        self._remember(running)
        return self._task(running)

    def _task(self, trial: Trial) -> EvaluationTask:
        assert trial.number is not None
        return EvaluationTask(
            number=trial.number,
            architecture=Architecture.from_json(self._store.architecture(trial.key).document),
            epochs=trial.fidelity,
            seed=trial.seed,
            attempt=trial.attempts,
            genotype=trial.genotype,
        )

    def _known(self, key: str) -> tuple[str, Trial] | None:
        if key in self._stopped_keys:
            return self._plan.name, self._stopped_keys[key]
        return self._store.known(key, self._plan.evaluation_key)

    def _reuse(self, trial: Trial, search: str, source: Trial) -> None:
        assert source.number is not None
        ended = replace(
            trial,
            state=source.state,
            reason=source.reason,
            # As in a fresh trial, what was evaluated hides a figure of the same name.
            values={**trial.values, **source.values},
            seconds=0.0,
            finished_at=time.time(),
            reused_from=(search, source.number),
        )
        self._end(ended, weights=source.weights_sha256)

    def _end(self, trial: Trial, *, weights: bytes | str | None = None) -> None:
        """Records the end of a trial and lets the controller observe it."""
        assert trial.number is not None
        ended = self._weights.offer(replace(trial, observed=self._next_observation()), weights)
        measurements = self._measurements.pop(trial.number, [])
        self._store.finish_trial(self._plan.name, ended, measurements)
        for number in self._weights.release():
            self._trials[number] = replace(self._trials[number], weights_sha256=None)
        if self._out.get(ended.key) == ended.number:
            del self._out[ended.key]
        self._waiting.extend(self._twins.pop(ended.key, []))
        self._count(ended)
        self._show(ended, measurements)
        self._remember(ended)

    def _show(self, trial: Trial, measurements: Sequence[Measurement] = ()) -> None:
        """Lets the controller observe a trial, without what is only reported, and comparable to the others."""
        if self._plan.reported:
            values = {name: value for name, value in trial.values.items() if name not in self._plan.reported}
            trial = replace(trial, values=values)
        self._controller.observe(self._fidelities.show(trial, measurements))

    def _gains(self, trial: Trial) -> tuple[float, ...]:
        return gains_of(trial, self._plan.objectives)

    def _remember(self, trial: Trial) -> None:
        assert trial.number is not None
        self._trials[trial.number] = trial
        self._listener(self.progress)

    def _next_observation(self) -> int:
        self._observations += 1
        return self._observations - 1
