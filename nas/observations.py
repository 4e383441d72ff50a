"""What the controller of a search is shown, in which order, and how: the part of a session that a replay repeats."""

from collections.abc import Sequence
from dataclasses import replace

from db.trial import Measurement, Trial
from nas.controllers.controller import Controller
from nas.fidelities import Fidelities
from nas.search_plan import SearchPlan


class Observations:
    """Lets a controller observe trials, without what is only reported, and comparable to one another."""

    def __init__(self, plan: SearchPlan, controller: Controller) -> None:
        self._reported = plan.reported
        self._controller = controller
        self._fidelities = Fidelities(plan.stopping, plan.objectives)
        self._count = 0

    @property
    def next_number(self) -> int:
        """The how-manieth observation the next one is, from 0: what a trial bears when it is recorded."""
        return self._count

    def show(self, trial: Trial, measurements: Sequence[Measurement] = ()) -> None:
        """Lets the controller observe a trial that has ended or was rejected."""
        self._count += 1
        if self._reported:
            values = {name: value for name, value in trial.values.items() if name not in self._reported}
            trial = replace(trial, values=values)
        self._controller.observe(self._fidelities.show(trial, measurements))
