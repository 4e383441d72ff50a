"""Makes values of different fidelities comparable: of a stopped trial a controller sees what its value is expected to be.

A value after 12 epochs and one after 200 are two quantities, which must not stand in one order. So the value with which
a trial was stopped at a rung is carried upwards, from each rung to the next and last to the whole, by a line fitted to
the trials that were measured at both. Who goes on from a rung is chosen by the value there and nothing else, which is
what the line is a function of; so the choice does not bias it. Where no trial is known at both, there is no estimate,
and the controller sees a stopped trial without a value.

The line goes through the mean of the pairs. Its slope is that of least squares with one pair more: one standard
deviation of the rung's values apart and of slope 1, which says that a difference stays what it is as long as few pairs
say otherwise. One pair alone thus shifts.

What is shown is worked out when it is observed and never changed, as all that controllers observe: it depends on the
trials observed before, so a resumed search shows the same.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy

from analysis import FIGURES
from db.trial import Measurement, Trial, TrialState
from nas.early_stopping import StoppingRule
from nas.objectives import Objective


class Fidelities:
    """What was measured at the rungs of a stopping rule by the trials observed so far."""

    def __init__(self, rule: StoppingRule, objectives: Sequence[Objective]) -> None:
        self._names = [objective.name for objective in objectives if objective.name not in FIGURES]
        """The analysis tells the others, at any fidelity."""
        self._rungs = sorted({rung for rungs in rule.brackets for rung in rungs})
        self._whole = len(self._rungs)
        self._seen: dict[tuple[str, int], list[float]] = {}
        """The values of an objective on a rung, counted from 0; the whole is the last."""
        self._pairs: dict[tuple[str, int], list[tuple[float, float]]] = {}
        """The values of an objective on a rung and on the next, of trials that came to both."""

    def show(self, trial: Trial, measurements: Sequence[Measurement]) -> Trial:
        """Takes in a trial that has ended, and returns it as a controller may see it.

        That is itself unless it was stopped; then its objectives have the values expected of the whole, or none.
        `measurements` are its own: a trial that took over a result has none.
        """
        if not self._rungs:
            return trial
        self._take_in(trial, measurements)
        if trial.state is not TrialState.STOPPED:
            return trial
        rung = self._rungs.index(int(trial.values["epochs"]))
        values: dict[str, float] = dict(trial.values)
        for name in self._names:
            expected = self._expected(name, rung, values.pop(name))
            if expected is not None:
                values[name] = expected
        return replace(trial, values=values)

    def _take_in(self, trial: Trial, measurements: Sequence[Measurement]) -> None:
        at = {measurement.epoch: measurement.values for measurement in measurements}
        reached = [at.get(rung, {}) for rung in self._rungs]
        complete = trial.state is TrialState.COMPLETE and measurements
        for name in self._names:
            course = [values.get(name, math.nan) for values in reached]
            course.append(trial.values[name] if complete else math.nan)
            for rung, value in enumerate(course):
                if math.isfinite(value):
                    self._seen.setdefault((name, rung), []).append(value)
            for rung, (value, following) in enumerate(pairwise(course)):
                if math.isfinite(value) and math.isfinite(following):
                    self._pairs.setdefault((name, rung), []).append((value, following))

    def _expected(self, name: str, rung: int, value: float) -> float | None:
        """What a value on a rung is expected to be on the whole."""
        for step in range(rung, self._whole):
            pairs = numpy.array(self._pairs.get((name, step), []))
            if not len(pairs):
                return None
            mean, following_mean = pairs.mean(axis=0)
            apart, following_apart = (pairs - pairs.mean(axis=0)).T
            seen = self._seen[name, step]
            variance = float(numpy.var(seen)) if max(seen) > min(seen) else 0.0
            squares = float(apart @ apart) + variance
            slope = (float(apart @ following_apart) + variance) / squares if variance > 0.0 else 1.0
            value = float(following_mean + slope * (value - mean))
        return value
