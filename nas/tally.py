"""What has become of the finished trials of a search: counts, time spent, the best, and the ends that twins share."""

from collections.abc import Callable

from db.trial import Trial, TrialState

QUARANTINED = "quarantined: "
"""How the reason of a trial begins whose architecture is not tried again: it has killed every worker that it was given to."""


class Tally:
    """The finished trials of a search, in numbers."""

    def __init__(self, gains: Callable[[Trial], tuple[float, ...]]) -> None:
        self._gains = gains
        self.finished = 0
        self.reused = 0
        self.unsuccessful = 0
        self.stopped = 0
        self.spent_seconds = 0.0
        self.best: Trial | None = None
        self.ended_badly: dict[str, Trial] = {}
        """Trials that were stopped or quarantined, by architecture key: a twin shares that end too."""

    def count(self, trial: Trial) -> None:
        """Takes in a trial that has finished."""
        self.finished += 1
        self.reused += trial.reused_from is not None
        self.stopped += trial.state is TrialState.STOPPED
        self.unsuccessful += trial.state in (TrialState.DIVERGED, TrialState.FAILED)
        self.spent_seconds += trial.seconds or 0.0
        if trial.state is TrialState.STOPPED or (trial.reason or "").startswith(QUARANTINED):
            self.ended_badly.setdefault(trial.key, trial)
        if trial.state is TrialState.COMPLETE and (self.best is None or self._gains(trial) > self._gains(self.best)):
            self.best = trial
