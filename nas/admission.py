"""How a search comes to its next trial: asks the controller until a proposal keeps the constraints, and records it.

What is asked can be asked again: where the database does not answer, nothing is lost and the next call goes on.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from analysis import analyze
from db.store import Store
from db.trial import ArchitectureRecord, Trial, TrialState
from nas.controllers.controller import Controller, Exhausted, Proposal
from nas.objectives import Constraint
from nas.observations import Observations
from nas.search_plan import SearchPlan, proposal_rng
from search_spaces.architecture import Architecture
from search_spaces.errors import UserError

MAX_REJECTIONS = 1_000
"""How many proposals in a row may break the constraints before the search gives up."""


class Admission:
    """Proposals of one search, from the controller to the record of an admitted trial."""

    def __init__(self, plan: SearchPlan, controller: Controller, store: Store, observations: Observations) -> None:
        self._plan = plan
        self._controller = controller
        self._store = store
        self._observations = observations
        self._next = 0
        self._rejected_before = 0
        self._rejections: list[Trial] = []
        """Proposals that were rejected since the last trial was admitted; they are recorded with the next."""
        self._fresh: dict[str, ArchitectureRecord] = {}
        """The architectures of these that the database did not know."""
        self._in_memory: dict[str, Architecture] = {}

    def restore(self, trials: Sequence[Trial]) -> None:
        """Goes on after these proposals of an earlier session."""
        self._next = 1 + max((trial.proposal for trial in trials), default=-1)
        self._rejected_before = sum(trial.number is None for trial in trials)

    @property
    def rejected(self) -> int:
        """How many proposals have broken a constraint."""
        return self._rejected_before + len(self._rejections)

    def admit(self, number: int, placed: Callable[[Trial, bool], Trial]) -> Trial:
        """The trial of this number, recorded as `placed` makes it: waiting, or running on a worker.

        `placed` is also told whether the database has never seen the architecture, and so has no result of it.

        Raises:
            Exhausted: the controller has nothing left to propose.
            UserError: too many proposals in a row broke a constraint.
            DatabaseUnavailable: call it again when the database is back.
        """
        while True:
            try:
                proposal = self._controller.propose(self._next, rng=proposal_rng(self._plan.seed, self._next))
            except Exhausted:
                self._record_all([])
                raise
            trial = self._trial(number, proposal, self._record(proposal))
            broken = [constraint for constraint in self._plan.constraints if not constraint.holds(trial.values)]
            if not broken:
                break
            self._reject(trial, broken)
        admitted = placed(trial, trial.key in self._fresh)
        self._record_all([admitted])
        self._next += 1
        return admitted

    def architecture(self, key: str) -> Architecture:
        """The architecture of an admitted trial, as it is stored."""
        known = self._in_memory.pop(key, None)
        return known or Architecture.from_json(self._store.architecture(key).document)

    def _record(self, proposal: Proposal) -> ArchitectureRecord:
        """The record under the key of a proposed architecture: the stored one, else a new one.

        Isomorphic architectures differ in names and order of their nodes, and so in initial weights. The first one
        that the database meets stands for all, so that what is trained is what is stored.
        """
        architecture = proposal.elaboration.architecture.simplified()
        key = architecture.key
        if key not in self._fresh:
            stored = self._store.architectures((key,))
            if key in stored:
                return stored[key]
            figures = analyze(architecture).figures()
            self._fresh[key] = ArchitectureRecord(key, self._plan.space, architecture.to_json(), figures)
            self._in_memory[key] = architecture
        return self._fresh[key]

    def _record_all(self, admitted: list[Trial]) -> None:
        """Records what was rejected, and the trial that is admitted, in one transaction."""
        proposed = [*self._rejections, *admitted]
        if not proposed:
            return
        self._store.record_proposals(self._plan.name, proposed, tuple(self._fresh.values()))
        self._rejected_before += len(self._rejections)
        kept = {trial.key for trial in admitted}
        self._in_memory = {key: each for key, each in self._in_memory.items() if key in kept}
        self._rejections.clear()
        self._fresh.clear()

    def _trial(self, number: int, proposal: Proposal, record: ArchitectureRecord) -> Trial:
        return Trial(
            proposal=self._next,
            number=number,
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

    def _reject(self, trial: Trial, broken: Sequence[Constraint]) -> None:
        reason = "; ".join(
            f"{constraint.name} {trial.values[constraint.name]:,} breaks {constraint}" for constraint in broken
        )
        observed = self._observations.next_number
        rejected = replace(trial, number=None, state=TrialState.REJECTED, reason=reason, observed=observed)
        self._observations.show(rejected)
        self._rejections.append(rejected)
        self._next += 1
        if len(self._rejections) >= MAX_REJECTIONS:
            self._record_all([])
            raise UserError(
                f"the last {MAX_REJECTIONS} proposals all broke a constraint (the last one: {reason}); "
                f"relax the constraint and start a new search"
            )
