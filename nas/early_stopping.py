"""Early stopping by asynchronous successive halving: at each rung a trial goes on if it is among the best that came there.

The stopping variant: a trial trains on while it may, and is asked at each **rung**, a fidelity of r, r·η, r·η², … below
the whole. It goes on if it is within the best 1/η of all that have reached the rung, itself among them; the first of a
rung, while they are fewer than η, go on. No trial ever waits for another, and none that was stopped comes back.

Hyperband runs several such brackets beside one another, the first rung of each η times higher than that of the one
before, as a guard against fidelities at which good architectures do not show yet. A trial's bracket follows from its
number, in the proportions of Hyperband's budgets.

With several objectives a trial's place at a rung is that of its front of non-dominated trials; within a front the first
objective decides.

What is decided depends on which measurements were seen before, not on their order, so a resumed search only has to be
shown those recorded.

References:
    Li, Jamieson, Rostamizadeh, Gonina, Ben-Tzur, Hardt, Recht, Talwalkar: A System for Massively Parallel Hyperparameter
    Tuning. MLSys 2020. Deviation: trials are stopped instead of paused and promoted, as in the paper's appendix and in
    Tune's and Syne Tune's schedulers; then the first η of a rung go on, whatever they are worth.
    Li, Jamieson, DeSalvo, Rostamizadeh, Talwalkar: Hyperband. JMLR 18, 2018 (the brackets and their sizes).
    Schmucker, Donini, Zafar, Salinas, Archambeau: Multi-objective Asynchronous Successive Halving. 2021 (fronts at rungs).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from db.trial import Measurement, Trial
from nas.objectives import Objective
from nas.pareto import Gains, non_dominated_sort
from search_spaces.errors import UserError

METHODS = ("asha", "hyperband")


@dataclass(frozen=True, slots=True)
class StoppingRule:
    """Which rungs there are: by bracket, the fidelities below the whole at which a trial is asked.

    `reduction` is η; of those that reach a rung, one in so many goes on.
    """

    brackets: tuple[tuple[int, ...], ...]
    reduction: int

    def bracket_of(self, number: int) -> int:
        """The bracket of the `number`-th trial: those of fewer rungs get fewer trials, as in Hyperband.

        Of B brackets, the one with s rungs has a share of ceil(B / (s + 1) · η^s) (Li et al. 2018, algorithm 1).
        """
        most = max(map(len, self.brackets))
        sizes = [
            math.ceil((most + 1) / (len(rungs) + 1) * self.reduction ** len(rungs)) if len(self.brackets) > 1 else 1
            for rungs in self.brackets
        ]
        # Each in turn is given to the bracket that is furthest behind its share, so any start of a search is balanced.
        given = [0] * len(sizes)
        for _ in range(number % sum(sizes) + 1):
            chosen = min(range(len(sizes)), key=lambda bracket: ((given[bracket] + 1) / sizes[bracket], bracket))
            given[chosen] += 1
        return chosen


def make_rule(method: str, *, fidelity: int, levels: int | None, reduction: int, least: int) -> StoppingRule:
    """The rule of the method `asha` or `hyperband` up to the whole `fidelity`.

    Where fidelities are the levels of a table, every level below the last is a rung; else the rungs are `least` times
    the powers of `reduction`.

    Raises:
        UserError: there is no rung below the whole, or a setting is out of its range.
    """
    if reduction < 2:
        raise UserError(f"stopping_settings: reduction must be at least 2, got {reduction}")
    if least < 1:
        raise UserError(f"stopping_settings: least must be at least 1, got {least}")
    rungs: list[int] = []
    rung = least
    while rung < fidelity:
        rungs.append(rung)
        rung = rung + 1 if levels is not None else rung * reduction
    if not rungs:
        what = "a table with one signal has" if levels is not None else f"{fidelity} epochs have"
        raise UserError(
            f"stopping: {what} no rung below the whole to stop at; give more of them, a smaller least, or no stopping"
        )
    starts = range(len(rungs) + 1) if method == "hyperband" else range(1)
    return StoppingRule(tuple(tuple(rungs[start:]) for start in starts), reduction)


NEVER = StoppingRule(((),), 2)
"""The rule without rungs, by which every trial goes on to its end."""


class SuccessiveHalving:
    """What has been seen at the rungs of a rule, and what follows for a trial that comes there."""

    def __init__(self, rule: StoppingRule, objectives: Sequence[Objective]) -> None:
        self._rule = rule
        self._objectives = objectives
        self._rungs: dict[tuple[int, int], dict[int, Gains]] = {}
        """The gains of the trials that came to a rung, by their number."""
        self._stopped: dict[int, Measurement] = {}

    def report(self, trial: Trial, measurement: Measurement) -> bool:
        """Takes in what a running trial shows, and says whether it goes on."""
        assert trial.number is not None
        rung = self._take_in(trial.number, trial, measurement)
        if rung is None or len(rung) < self._rule.reduction:
            return True
        if _place(trial.number, rung) < len(rung) // self._rule.reduction:
            return True
        self._stopped[trial.number] = measurement
        return False

    def restore(self, trial: Trial, measurements: Sequence[Measurement]) -> None:
        """Takes in what a trial had shown when it was recorded."""
        assert trial.number is not None
        for measurement in measurements:
            self._take_in(trial.number, trial, measurement)

    def stopped_at(self, number: int) -> Measurement | None:
        """The measurement at which a trial was stopped; None if it was not."""
        return self._stopped.get(number)

    def end(self, number: int) -> Measurement | None:
        """Forgets that a trial was stopped, whose end is recorded; returns what `stopped_at` said."""
        return self._stopped.pop(number, None)

    def forget(self, number: int) -> None:
        """Drops what a trial has shown: its worker was lost, and it starts again."""
        self._stopped.pop(number, None)
        for rung in self._rungs.values():
            rung.pop(number, None)

    def _take_in(self, number: int, trial: Trial, measurement: Measurement) -> dict[int, Gains] | None:
        """The rung to which this measurement brings the trial, with the trial on it; None if it is none."""
        bracket = self._rule.bracket_of(number)
        if measurement.epoch not in self._rule.brackets[bracket]:
            return None
        values = {**trial.values, **measurement.values}
        rung = self._rungs.setdefault((bracket, measurement.epoch), {})
        rung[number] = tuple(objective.gain(values) for objective in self._objectives)
        return rung


def _place(number: int, rung: dict[int, Gains]) -> int:
    """How many trials of a rung stand above one of them; who is level with it and was proposed earlier stands above."""
    if len(rung[number]) == 1:
        # The same without sorting all fronts, of which one objective has as many as values.
        own_level = _level(number, rung)
        return sum(_level(other, rung) < own_level for other in rung)
    numbers = sorted(rung)
    gains: Sequence[Gains] = [rung[other] for other in numbers]
    front = {index: place for place, members in enumerate(non_dominated_sort(gains)) for index in members}
    first = [-math.inf if math.isnan(vector[0]) else vector[0] for vector in gains]
    own = numbers.index(number)
    order = sorted(range(len(numbers)), key=lambda index: (front[index], -first[index], index))
    return order.index(own)


def _level(number: int, rung: dict[int, Gains]) -> tuple[bool, float, int]:
    """By what trials of one objective are ordered, the best first; what is no number comes last."""
    gain = rung[number][0]
    return (True, 0.0, number) if math.isnan(gain) else (False, -gain, number)
