"""The search algorithm that somebody's own Ray Tune run takes its configs from; who thinks of them is behind a contract."""

from collections.abc import Mapping
from typing import Any, Protocol

from ray.tune.search import Searcher

from search_spaces.errors import UserError


class Proposals(Protocol):
    """Where a Tune run gets its configs and leaves its results; called from one thread only."""

    @property
    def finished(self) -> bool:
        """Whether there will be no config any more."""
        ...

    def next_config(self, trial_id: str) -> dict[str, Any] | None:
        """The config of this Tune trial; None when there is none now (wait for a running one, or `finished`)."""
        ...

    def complete(self, trial_id: str, result: Mapping[str, Any]) -> None:
        """Takes the last result of a Tune trial."""
        ...

    def failed(self, trial_id: str) -> None:
        """Says that a Tune trial ended by an error, or before it gave a result."""
        ...


class ProposalSearcher(Searcher):  # type: ignore[misc] # ray has no types
    """Suggests what `proposals` think of.

    It lives as long as its run: `Tuner.restore` cannot continue with it, and refuses to.
    """

    def __init__(self, proposals: Proposals) -> None:
        super().__init__()
        self._proposals = proposals

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        config = self._proposals.next_config(trial_id)
        if config is None and self._proposals.finished:
            return Searcher.FINISHED  # type: ignore[no-any-return]
        return config

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        if error or result is None:
            self._proposals.failed(trial_id)
        else:
            self._proposals.complete(trial_id, result)

    def save(self, checkpoint_path: str) -> None:
        """Saves nothing."""

    def restore(self, checkpoint_path: str) -> None:
        _refuse_restoring()

    def restore_from_dir(self, checkpoint_dir: str) -> None:
        _refuse_restoring()

    def __getstate__(self) -> dict[str, Any]:
        # Tune writes its plug-ins down, and controllers are no pickles.
        return {}


def _refuse_restoring() -> None:
    raise UserError(
        "a search algorithm of nas cannot be restored; start a new Tuner, or search with --executor ray_tune"
    )
