"""How a search stands, read from the database by anybody: who drives it, what its workers are at, how fast it goes."""

import time
from dataclasses import dataclass
from typing import Any

from db.store import Store
from db.trial import Search, Trial, TrialState
from nas import driver
from nas.config import RunConfig
from nas.result import SearchResult
from nas.spool import Spool
from nas.weights import WeightsStore, weights_directory
from search_spaces.errors import NotFound

RECENT = 50
"""From how many of the trials that finished last the rate is worked out."""


@dataclass(frozen=True, slots=True)
class Running:
    """A trial that a worker has now."""

    number: int
    worker: str
    attempt: int
    seconds: float
    key: str


@dataclass(frozen=True, slots=True)
class Status:
    """A search at one moment.

    `driver_alive` is None where nobody drives it or the driver is on another machine, which only its lease tells of:
    `seen_seconds_ago`, by the database's clock. `spooled` counts the results that wait on this machine's disk because
    the database was away when they came.
    """

    search: Search
    finished: int
    running: tuple[Running, ...]
    waiting: int
    best: Trial | None
    objectives: tuple[str, ...]
    trials_per_minute: float | None
    seconds_left: float | None
    driver_alive: bool | None
    seen_seconds_ago: float | None
    spooled: int

    def to_dict(self) -> dict[str, Any]:
        """The status under its JSON names."""
        best = self.best
        return {
            "schema": 1,
            "name": self.search.name,
            "state": str(self.search.state),
            "finished": self.finished,
            "budget": self.search.trial_limit,
            "waiting": self.waiting,
            "running": [
                {
                    "trial": each.number,
                    "worker": each.worker,
                    "attempt": each.attempt,
                    "seconds": round(each.seconds, 3),
                    "key": each.key,
                }
                for each in self.running
            ],
            "best": None
            if best is None
            else {"trial": best.number, "key": best.key, **{name: best.values[name] for name in self.objectives}},
            "trials_per_minute": self.trials_per_minute,
            "seconds_left": self.seconds_left,
            "driver": None
            if self.search.driver_pid is None
            else {
                "host": self.search.driver_host,
                "pid": self.search.driver_pid,
                "alive": self.driver_alive,
                "seen_seconds_ago": self.seen_seconds_ago,
            },
            "spooled": self.spooled,
        }


def status(name: str, db: str) -> Status:
    """How the search called `name` stands.

    Raises:
        NotFound: there is no such database or search.
        DatabaseUnavailable: the database does not answer.
    """
    result = SearchResult(db, name)
    with Store.open(db, mode="read") as store:
        lease = store.lease(name)
    now = time.time()
    finished = [trial for trial in result.trials if trial.state.is_finished]
    running = [trial for trial in result.trials if trial.state is TrialState.RUNNING]
    rate = _trials_per_minute(finished, now)
    limit = result.search.trial_limit
    left = None if limit is None or not rate else 60 * (limit - len(finished)) / rate
    config = RunConfig.from_json(result.search.run)
    return Status(
        search=result.search,
        finished=len(finished),
        running=tuple(
            Running(
                number=trial.number or 0,
                worker=trial.worker or "",
                attempt=trial.attempts,
                seconds=max(0.0, now - (trial.started_at or now)),
                key=trial.key,
            )
            for trial in running
        ),
        waiting=sum(trial.state is TrialState.WAITING for trial in result.trials),
        best=_best(result),
        objectives=tuple(objective.name for objective in result.objectives),
        trials_per_minute=rate,
        seconds_left=left,
        driver_alive=driver.is_alive(result.search),
        seen_seconds_ago=None if lease is None else max(0.0, lease.age_seconds),
        spooled=len(Spool(name, WeightsStore(weights_directory(db, config.weights))).load()),
    )


def _best(result: SearchResult) -> Trial | None:
    try:
        return result.best.trial
    except NotFound:
        return None


def _trials_per_minute(finished: list[Trial], now: float) -> float | None:
    """How fast trials have finished lately; None before there are two, or where clocks do not agree."""
    moments = sorted(trial.finished_at for trial in finished if trial.finished_at is not None)[-RECENT:]
    if len(moments) < 2 or now <= moments[0]:
        return None
    return 60 * (len(moments) - 1) / (max(now, moments[-1]) - moments[0])
