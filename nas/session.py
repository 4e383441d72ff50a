"""The session: the one place where a search moves on, from a proposal to a recorded and observed result.

propose → simplify and key → known already? → analyse → constraints → record → hand out → record the result → observe.

Only the session writes trials. It is a work source: executors ask it for tasks and bring it outcomes, from one thread.
While the database does not answer, results that come in are kept on disk, and nothing new is begun.
"""

import math
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from db.store import Store
from db.trial import Measurement, Trial, TrialState
from nas.admission import Admission
from nas.arrivals import Arrivals
from nas.controllers.controller import Controller, Exhausted
from nas.early_stopping import NEVER, SuccessiveHalving
from nas.front_weights import FrontWeights
from nas.observations import Observations
from nas.pareto import gains_of
from nas.progress import Progress, WorkerProgress, at_work
from nas.search_plan import SearchPlan
from nas.spool import Arrival, Spool
from nas.tally import QUARANTINED, Tally
from nas.weights import WeightsStore
from search_spaces.errors import DatabaseUnavailable
from workers.task import EvaluationTask, Outcome

MAX_ATTEMPTS = 3
"""How many attempts a trial has: with so many of its workers dead it has failed."""

RENEW_SECONDS = 5.0
"""How often the lease on the search is renewed."""

LOOK_SECONDS = 0.5
"""How old the list of workers in the progress may be."""


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
        self._store = store
        self._listener = listener
        self._observations = Observations(plan, controller)
        self._admission = Admission(plan, controller, store, self._observations)
        self._weights = FrontWeights(plan.name, store, weights, self._gains)
        self._arrivals = Arrivals(Spool(plan.name, weights), record=self._take, probe=self._renew)
        self._tally = Tally(self._gains)
        self._renewed_at = -math.inf
        self._trials: dict[int, Trial] = {}
        self._waiting: deque[int] = deque()
        self._out: dict[str, int] = {}
        """The trial being evaluated, by architecture key: a twin proposed meanwhile waits for its result."""
        self._twins: dict[str, list[int]] = {}
        self._measurements: dict[int, list[Measurement]] = {}
        self._exhausted = False
        self._halving = SuccessiveHalving(plan.stopping, plan.objectives)
        self._losses: Counter[int] = Counter()
        """How many workers each trial has cost this session; an interruption is no loss."""
        self._alone: set[int] = set()
        """Trials that ran out of memory with others beside them."""
        self._devices: Mapping[str, tuple[int, int]] = {}
        self._seen_workers: tuple[WorkerProgress, ...] = ()
        self._looked_at = -math.inf
        self._began = time.monotonic()
        self._restore()
        self._finished_before = self._tally.finished
        self._arrivals.take_up(self._is_wanted)
        # What was only recorded now says nothing of this session's rate either.
        self._finished_before = self._tally.finished
        self._listener(self.progress)

    def close(self) -> None:
        """Ends the session: what is out waits for whoever continues the search.

        Raises:
            DatabaseUnavailable: results are left in the spool.
        """
        try:
            self._store.return_to_waiting(self._plan.name)
        except DatabaseUnavailable as error:
            remedy = "resume the search when the database is back"
            raise DatabaseUnavailable(f"{error}{self._arrivals.kept}; {remedy}") from None

    def _restore(self) -> None:
        name = self._plan.name
        self._store.return_to_waiting(name)
        observed = self._store.observed(name)
        trials = self._store.trials(name, include_rejected=True)
        for trial in observed:
            self._observations.show(trial, self._recorded(trial))
        self._admission.restore(trials)
        for trial in trials:
            if trial.number is None:
                continue
            self._trials[trial.number] = trial
            if trial.state.is_finished:
                self._halving.restore(trial, self._recorded(trial))
                self._tally.count(trial)
                self._weights.restore(trial)
            else:
                self._waiting.append(trial.number)

    def _is_wanted(self, arrival: Arrival) -> bool:
        """Whether a result that an earlier driver could not record is of a trial that is still without one."""
        trial = self._trials.get(arrival.number)
        if trial is None or arrival.number not in self._waiting or trial.attempts != arrival.attempt:
            return False
        self._waiting.remove(arrival.number)
        self._out[trial.key] = arrival.number
        return True

    def _recorded(self, trial: Trial) -> Sequence[Measurement]:
        """The measurements of a trial, which count where trials are stopped by them."""
        if trial.number is None or self._plan.stopping is NEVER:
            return ()
        return self._store.measurements(self._plan.name, trial.number)

    @property
    def finished(self) -> bool:
        return not self._begins_more and self._tally.finished == len(self._trials)

    @property
    def _begins_more(self) -> bool:
        """Whether trials are still begun: the budgets of trials and time are not spent, nor the controller's ideas."""
        limit = self._plan.time_budget_seconds
        in_time = limit is None or self._tally.spent_seconds < limit
        return len(self._trials) < self._plan.budget and in_time and not self._exhausted

    @property
    def progress(self) -> Progress:
        """Where the search stands now."""
        return Progress(
            name=self._plan.name,
            objectives=tuple(objective.name for objective in self._plan.objectives),
            budget=len(self._trials) if self._exhausted else self._plan.budget,
            finished=self._tally.finished,
            running=len(self._out),
            workers=self._worker_progress(),
            devices=self._devices,
            reused=self._tally.reused,
            unsuccessful=self._tally.unsuccessful,
            stopped=self._tally.stopped,
            rejected=self._admission.rejected,
            best=self._tally.best,
            elapsed_seconds=time.monotonic() - self._began,
            finished_before=self._finished_before,
            spent_seconds=self._tally.spent_seconds,
            time_budget_seconds=self._plan.time_budget_seconds,
            away_seconds=self._arrivals.away_seconds,
            spooled=self._arrivals.spooled,
        )

    def _worker_progress(self) -> tuple[WorkerProgress, ...]:
        """What the workers are at; of a thousand of them it is not worked out anew at every step."""
        if time.monotonic() - self._looked_at < LOOK_SECONDS:
            return self._seen_workers
        self._looked_at = time.monotonic()
        out = [self._trials[number] for number in self._out.values()]
        self._seen_workers = at_work(out, lambda number: len(self._measurements.get(number, ())))
        return self._seen_workers

    @property
    def is_blocked(self) -> bool:
        return self._arrivals.away_seconds is not None

    def heartbeat(self, devices: Mapping[str, tuple[int, int]]) -> None:
        self._devices = devices
        if self._arrivals.settle() and time.monotonic() - self._renewed_at >= RENEW_SECONDS:
            try:
                self._renew()
            except DatabaseUnavailable:
                self._arrivals.database_is_away()
        self._listener(self.progress)

    def _renew(self) -> None:
        self._store.renew_search(self._plan.name)
        self._renewed_at = time.monotonic()

    def next_task(self, worker: str) -> EvaluationTask | None:
        if not self._arrivals.settle():
            return None
        try:
            return self._next_task(worker)
        except DatabaseUnavailable:
            self._arrivals.database_is_away()
            return None

    def _next_task(self, worker: str) -> EvaluationTask | None:
        while True:
            if self._waiting:
                trial = self._trials[self._waiting[0]]
            elif self._begins_more:
                try:
                    trial = self._admission.admit(len(self._trials), partial(self._placed, worker))
                except Exhausted:
                    self._exhausted = True
                    self._listener(self.progress)
                    return None
                self._remember(trial)
                if trial.state is TrialState.RUNNING:
                    self._out[trial.key] = trial.number or 0
                    return self._task(trial)
                self._waiting.append(trial.number or 0)
            else:
                return None
            task = self._dispatch(trial, worker)
            if task is not None:
                return task

    def report(self, number: int, measurement: Measurement) -> bool:
        self._measurements.setdefault(number, []).append(measurement)
        return self._halving.report(self._trials[number], measurement)

    def finish(self, number: int, outcome: Outcome) -> None:
        if outcome.out_of_memory and number not in self._alone:
            self._alone.add(number)
            self._hand_out_again(number)
            return
        self._arrive(number, outcome)

    def lost(self, number: int, reason: str, *, out_of_memory: bool = False) -> None:
        if out_of_memory:
            self._alone.add(number)
        self._losses[number] += 1
        if self._losses[number] < MAX_ATTEMPTS:
            self._hand_out_again(number)
            return
        text = f"{QUARANTINED}lost {self._losses[number]} workers, the last with: {reason}"
        self._measurements.pop(number, None)
        self._halving.forget(number)
        self._arrive(number, Outcome(TrialState.FAILED, 0.0, self._trials[number].worker or "", {}, text))

    def _hand_out_again(self, number: int) -> None:
        self._measurements.pop(number, None)
        self._halving.forget(number)
        del self._out[self._trials[number].key]
        self._waiting.appendleft(number)

    def _arrive(self, number: int, outcome: Outcome) -> None:
        measurements = tuple(self._measurements.pop(number, ()))
        attempt = self._trials[number].attempts
        plain = replace(outcome, weights=None)
        self._arrivals.add(Arrival(number, attempt, plain, measurements, outcome.weights))

    def _take(self, arrival: Arrival) -> None:
        """Records an outcome and lets the controller observe it."""
        trial, outcome = self._trials[arrival.number], arrival.outcome
        state, reason = outcome.state, outcome.reason
        values = {**trial.values, **outcome.values}
        last = self._halving.stopped_at(arrival.number)
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
        self._end(ended, weights=arrival.weights, measurements=arrival.measurements)
        self._halving.end(arrival.number)

    def _placed(self, worker: str, trial: Trial, is_new: bool) -> Trial:
        """An admitted trial as it begins: running, or waiting where its result is known or will be."""
        if not is_new and (trial.key in self._out or self._known(trial.key)):
            return replace(trial, state=TrialState.WAITING)
        return replace(trial, attempts=1, worker=worker, started_at=time.time())

    def _dispatch(self, trial: Trial, worker: str) -> EvaluationTask | None:
        """The task of the first waiting trial; None if its result is known by now, or will be when its twin has ended."""
        assert trial.number is not None
        source = self._known(trial.key)
        if source is not None:
            self._reuse(trial, *source)
            self._waiting.popleft()
            return None
        if trial.key in self._out:
            self._twins.setdefault(trial.key, []).append(self._waiting.popleft())
            return None
        running = replace(
            trial,
            state=TrialState.RUNNING,
            attempts=trial.attempts + 1,
            worker=worker,
            started_at=time.time(),
        )
        self._store.start_attempt(
            self._plan.name, trial.number, worker=worker, attempt=running.attempts, started_at=running.started_at or 0.0
        )
        self._waiting.popleft()
        self._out[trial.key] = trial.number
        self._remember(running)
        return self._task(running)

    def _task(self, trial: Trial) -> EvaluationTask:
        assert trial.number is not None
        try:
            architecture = self._admission.architecture(trial.key)
        except DatabaseUnavailable:
            # It is handed out when the database is back.
            self._hand_out_again(trial.number)
            raise
        return EvaluationTask(
            number=trial.number,
            architecture=architecture,
            epochs=trial.fidelity,
            seed=trial.seed,
            attempt=trial.attempts,
            genotype=trial.genotype,
            alone=trial.number in self._alone,
            checkpoints=self._plan.checkpoints,
        )

    def _known(self, key: str) -> tuple[str, Trial] | None:
        if key in self._tally.ended_badly:
            return self._plan.name, self._tally.ended_badly[key]
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

    def _end(
        self, trial: Trial, *, weights: bytes | str | None = None, measurements: Sequence[Measurement] = ()
    ) -> None:
        """Records the end of a trial and lets the controller observe it."""
        assert trial.number is not None
        ended = self._weights.offer(replace(trial, observed=self._observations.next_number), weights)
        self._store.finish_trial(self._plan.name, ended, measurements)
        # From here on it has happened, whatever becomes of the database.
        if self._out.get(ended.key) == ended.number:
            del self._out[ended.key]
        self._waiting.extend(self._twins.pop(ended.key, []))
        self._tally.count(ended)
        self._observations.show(ended, measurements)
        self._remember(ended)
        self._release_weights()

    def _release_weights(self) -> None:
        try:
            for number in self._weights.release():
                self._trials[number] = replace(self._trials[number], weights_sha256=None)
        except DatabaseUnavailable:
            # They are released with the next trial.
            self._arrivals.database_is_away()

    def _gains(self, trial: Trial) -> tuple[float, ...]:
        return gains_of(trial, self._plan.objectives)

    def _remember(self, trial: Trial) -> None:
        assert trial.number is not None
        self._trials[trial.number] = trial
        self._listener(self.progress)
