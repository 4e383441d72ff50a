"""Keeps the weights of the trials on a search's Pareto front, and lets go of those that leave it."""

from collections.abc import Callable
from dataclasses import replace

from db.store import Store
from db.trial import Trial, TrialState
from nas.pareto import Gains, pareto_front
from nas.weights import WeightsStore


class FrontWeights:
    """The weights of one search.

    `gains` turns a trial into what the front is made of. The front is that of the trials that have weights; a trial
    that took over a result shares the weights of its source, whose file stays while any trial of any search has it.
    """

    def __init__(self, search: str, store: Store, files: WeightsStore, gains: Callable[[Trial], Gains]) -> None:
        self._search = search
        self._store = store
        self._files = files
        self._gains = gains
        self._kept: dict[int, Trial] = {}

    def restore(self, trial: Trial) -> None:
        """Takes up a trial that was recorded with weights."""
        assert trial.number is not None
        if trial.weights_sha256 is not None:
            self._kept[trial.number] = trial

    def offer(self, trial: Trial, weights: bytes | str | None) -> Trial:
        """The trial as it is to be recorded, with the SHA-256 of its weights if it is on the front.

        `weights` are new bytes, which are written then, or the SHA-256 of a file that is there already.
        """
        assert trial.number is not None
        if weights is None or trial.state is not TrialState.COMPLETE or trial.number not in self._front(trial):
            return trial
        digest = self._files.keep(weights) if isinstance(weights, bytes) else weights
        self._kept[trial.number] = replace(trial, weights_sha256=digest)
        return self._kept[trial.number]

    def release(self) -> list[int]:
        """Lets go of what is not on the front any more, once its successor is recorded; returns the trials' numbers."""
        front = self._front()
        fallen = [number for number in self._kept if number not in front]
        for number in fallen:
            digest = self._kept[number].weights_sha256
            assert digest is not None
            self._store.set_weights(self._search, number, None)
            if not self._store.weights_in_use(digest):
                self._files.drop(digest)
            # Last, so that it is done again where the database stopped answering.
            del self._kept[number]
        return fallen

    def _front(self, *more: Trial) -> set[int | None]:
        candidates = [*self._kept.values(), *more]
        return {candidates[index].number for index in pareto_front([self._gains(trial) for trial in candidates])}
