"""Outcomes on their way into the database, in the order in which they came; on disk while it does not answer."""

import math
import time
from collections import deque
from collections.abc import Callable

from nas.spool import Arrival, Spool
from search_spaces.errors import DatabaseUnavailable

AWAY_SECONDS = 2.0
"""How long after a failure the database is left alone before it is tried again."""


class Arrivals:
    """What has come in and is not recorded yet.

    `record` records one outcome, `probe` asks the database for a sign of life; both raise `DatabaseUnavailable`.
    """

    def __init__(self, spool: Spool, *, record: Callable[[Arrival], None], probe: Callable[[], None]) -> None:
        self._spool = spool
        self._record = record
        self._probe = probe
        self._arrived: deque[Arrival] = deque()
        self._spooled = 0
        """How many of these are in the spool, from the first on."""
        self._away_since: float | None = None
        self._asked_at = -math.inf

    @property
    def away_seconds(self) -> float | None:
        """For how long the database has not answered; None while it does."""
        return None if self._away_since is None else time.monotonic() - self._away_since

    @property
    def spooled(self) -> int:
        """How many outcomes wait on disk."""
        return self._spooled

    @property
    def kept(self) -> str:
        """Where they wait, as the end of a sentence; empty where there are none."""
        return f"; {self._spooled} results are kept in {str(self._spool.path)!r}" if self._spooled else ""

    def take_up(self, is_wanted: Callable[[Arrival], bool]) -> None:
        """Takes what an earlier driver left in the spool and is still wanted, and records it."""
        self._arrived.extend(filter(is_wanted, self._spool.load()))
        self._spooled = len(self._arrived)
        if self.settle():
            self._spool.clear()

    def add(self, arrival: Arrival) -> None:
        """Takes an outcome, and records it if the database answers."""
        self._arrived.append(arrival)
        self.settle()

    def settle(self) -> bool:
        """Records what has arrived; False while the database is away."""
        if self._away_since is not None and time.monotonic() - self._asked_at < AWAY_SECONDS:
            self._keep_on_disk()
            return False
        try:
            if self._away_since is not None:
                self._probe()
            while self._arrived:
                self._record(self._arrived[0])
                self._arrived.popleft()
                self._spooled = max(0, self._spooled - 1)
        except DatabaseUnavailable:
            self.database_is_away()
            return False
        if self._away_since is not None:
            self._spool.clear()
            self._away_since = None
        return True

    def database_is_away(self) -> None:
        """Says that the database has just failed to answer."""
        self._asked_at = time.monotonic()
        if self._away_since is None:
            self._away_since = self._asked_at
        self._keep_on_disk()

    def _keep_on_disk(self) -> None:
        for arrival in list(self._arrived)[self._spooled :]:
            self._spool.append(arrival)
            self._spooled += 1
