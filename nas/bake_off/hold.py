"""Holds a bake-off: runs every search of a contest, tells how far it has come, and judges in the end."""

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

from nas.bake_off.contest import Contest, cores
from nas.bake_off.processes import run_all
from nas.bake_off.simulation import Run
from nas.bake_off.standings import BakeOff, judge
from search_spaces.errors import UserError


@dataclass(frozen=True, slots=True)
class BakeOffProgress:
    """How many of how many searches are done."""

    done: int
    searches: int
    elapsed_seconds: float

    @property
    def seconds_left(self) -> float | None:
        """The expected time to the end; None before the first search is done."""
        return self.elapsed_seconds * (self.searches - self.done) / self.done if self.done else None


def hold(
    contest: Contest,
    *,
    workers: int | None = None,
    listener: Callable[[BakeOffProgress], None] = lambda progress: None,
) -> BakeOff:
    """Runs a contest over so many processes, one for each core unless told; their number changes nothing but the time.

    Raises:
        UserError: a search failed; the message names the controller and the seed.
        KeyboardInterrupt: no process is left behind.
    """
    workers = cores() if workers is None else workers
    if workers < 1:
        raise UserError(f"workers must be at least 1, got {workers}")
    began = time.monotonic()
    runs: dict[tuple[int, int], Run] = {}
    searches = len(contest.jobs)
    listener(BakeOffProgress(0, searches, 0.0))
    with closing(run_all(contest, workers=workers)) as finished:
        for job, run in finished:
            runs[job] = run
            listener(BakeOffProgress(len(runs), searches, time.monotonic() - began))
    return judge(contest, runs, elapsed_seconds=time.monotonic() - began, workers=workers)
