"""Where results wait on this machine's disk while the database is away: one JSON line for each, written through.

A driver that ends meanwhile leaves the file behind, and the session that resumes the search takes the results up. Of a
line that was cut off by a crash nothing is taken; its trial is evaluated again.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from db.trial import Measurement, TrialState, is_sha256
from nas.weights import WeightsStore
from search_spaces.errors import Conflict
from workers.task import Outcome

VERSION = 1


@dataclass(frozen=True, slots=True)
class Arrival:
    """An outcome that has come in: of which trial and attempt, with its measurements, and weights as bytes or SHA-256."""

    number: int
    attempt: int
    outcome: Outcome
    measurements: tuple[Measurement, ...] = ()
    weights: bytes | str | None = None


class Spool:
    """The results of one search that could not be recorded yet; weights go where all are kept."""

    def __init__(self, search: str, weights: WeightsStore) -> None:
        self._weights = weights
        # Names of searches may hold what no file name can.
        self.path = weights.directory / f"{sha256(search.encode()).hexdigest()[:16]}.spool"

    def append(self, arrival: Arrival) -> None:
        """Keeps one result.

        Raises:
            Conflict: it cannot be written.
        """
        digest = self._weights.keep(arrival.weights) if isinstance(arrival.weights, bytes) else arrival.weights
        line = json.dumps(_to_dict(arrival, digest))
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise Conflict(
                f"the database is away and results cannot be kept in {str(self.path)!r}: {error.strerror}; "
                "make room or the directory writable, and resume the search"
            ) from None

    def load(self) -> list[Arrival]:
        """All results that are kept, in the order in which they came."""
        try:
            lines = self.path.read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise Conflict(f"the results in {str(self.path)!r} cannot be read: {error.strerror}; mend that") from None
        return [arrival for line in lines if (arrival := _from_line(line)) is not None]

    def clear(self) -> None:
        """Forgets all results: they are recorded."""
        self.path.unlink(missing_ok=True)


def _to_dict(arrival: Arrival, digest: str | None) -> dict[str, Any]:
    outcome = arrival.outcome
    return {
        "version": VERSION,
        "number": arrival.number,
        "attempt": arrival.attempt,
        "state": str(outcome.state),
        "seconds": outcome.seconds,
        "worker": outcome.worker,
        "values": dict(outcome.values),
        "reason": outcome.reason,
        "out_of_memory": outcome.out_of_memory,
        "weights": digest,
        "measurements": [[each.epoch, dict(each.values)] for each in arrival.measurements],
    }


def _from_line(line: str) -> Arrival | None:
    try:
        found = json.loads(line)
        if found["version"] != VERSION:
            return None
        outcome = Outcome(
            state=TrialState(found["state"]),
            seconds=float(found["seconds"]),
            worker=str(found["worker"]),
            values=_numbers(found["values"]),
            reason=None if found["reason"] is None else str(found["reason"]),
            out_of_memory=bool(found["out_of_memory"]),
        )
        return Arrival(
            number=int(found["number"]),
            attempt=int(found["attempt"]),
            outcome=outcome,
            measurements=_measurements(found["measurements"]),
            weights=None if found["weights"] is None else _digest(found["weights"]),
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _numbers(values: dict[str, Any]) -> dict[str, float]:
    return {str(name): value if isinstance(value, int) else float(value) for name, value in values.items()}


def _measurements(found: Sequence[Any]) -> tuple[Measurement, ...]:
    return tuple(Measurement(int(epoch), _numbers(values)) for epoch, values in found)


def _digest(text: str) -> str:
    """The name of a file of weights, and nothing else that could be taken for a path."""
    if not is_sha256(text):
        raise ValueError("no SHA-256")
    return text
