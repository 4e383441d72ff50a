"""The store: every question and every change that a search, or whoever looks at one, has for the database."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from shlex import quote
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Connection, Select, update

from db import records, statements
from db.schema import searches
from db.sqlite import Database, Mode, open_database
from db.trial import ArchitectureRecord, Measurement, Search, SearchState, Trial, TrialState, check_search_name
from search_spaces.errors import Conflict, NotFound, UserError

_HEX = frozenset("0123456789abcdef")
_KEYS_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class SearchSummary:
    """A search and how many of its trials stand where; every state has a count."""

    search: Search
    counts: Mapping[TrialState, int]


class Store:
    """The database of one or many searches.

    Every method is one transaction: after a crash at any moment it has happened as a whole or not at all. One process,
    the driver of a search, writes its trials; any number may read meanwhile. Trials of a search are named by their
    number. Whatever goes wrong is a `UserError` of one line: `NotFound` for a name that is not there, `Conflict` for
    what contradicts what is stored and for a file that is damaged, full, locked or read-only.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    def open(cls, url: str, *, mode: Mode) -> Self:
        """Opens the SQLite file at `url`, a path or `sqlite:///PATH`.

        `create` makes file and tables where they are absent; `write` and `read` do not, and `read` changes nothing.
        See `db.sqlite.open_database` for the errors.
        """
        return cls(open_database(url, mode))

    @property
    def path(self) -> Path:
        """The database file."""
        return self._database.path

    def close(self) -> None:
        """Closes the database; the store is of no use any more."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def create_search(self, search: Search) -> None:
        """Adds a search that has no trials yet.

        Raises:
            UserError: `check_search_name` refuses the name.
            Conflict: the name is taken.
        """
        name = search.name
        check_search_name(name)
        with self._database.writing() as connection:
            if connection.execute(statements.SEARCH_ID, {"in_search": name}).first() is not None:
                raise Conflict(
                    f"a search {name!r} is in {self.path} already; "
                    f"give another --name, or continue it with `nas resume {quote(name)}`"
                )
            connection.execute(statements.INSERT_SEARCH, records.search_record(search))

    def search(self, name: str) -> Search:
        """The search of this name; where there is none, `NotFound` names the nearest."""
        with self._database.reading() as connection:
            return self._search(connection, name)

    def searches(self) -> list[SearchSummary]:
        """All searches, the oldest first."""
        with self._database.reading() as connection:
            counts: dict[int, dict[TrialState, int]] = {}
            for search_id, state, count in connection.execute(statements.STATE_COUNTS):
                counts.setdefault(search_id, {})[TrialState(state)] = count
            return [
                SearchSummary(
                    search=records.search_from(row),
                    counts={state: counts.get(row.id, {}).get(state, 0) for state in TrialState},
                )
                for row in connection.execute(statements.SEARCHES)
            ]

    def claim_search(self, previous: Search, *, host: str, pid: int, started_at: float) -> Search:
        """Makes process `pid` on `host`, created at `started_at` (seconds since 1970), the driver of a search.

        `previous` is the search as it was read when its driver was found to be gone. Of several processes that claim
        it after the same reading, one succeeds. The search is `running` then, and returned as claimed.

        Raises:
            Conflict: another driver has claimed it since.
        """
        return self._change_driver(
            previous.name,
            (previous.driver_host, previous.driver_pid, previous.driver_started_at),
            {
                "driver_host": host,
                "driver_pid": pid,
                "driver_started_at": started_at,
                "state": SearchState.RUNNING.value,
            },
        )

    def release_search(self, name: str, *, host: str, pid: int, started_at: float, state: SearchState) -> Search:
        """Leaves the search without a driver, in `state`; `started_at` is the one that was recorded, to the last bit.

        Raises:
            Conflict: the driver is not, or not any more, process `pid` on `host` created at `started_at`.
        """
        return self._change_driver(
            name,
            (host, pid, started_at),
            {"driver_host": None, "driver_pid": None, "driver_started_at": None, "state": state.value},
        )

    def record_proposals(
        self, name: str, proposed: Sequence[Trial], architectures: Sequence[ArchitectureRecord]
    ) -> None:
        """Adds new trials, rejected or admitted, and those of their architectures that are not known yet.

        Raises:
            Conflict: a trial of the same proposal or number is there, or its architecture or parent is not.
        """
        with self._database.writing() as connection:
            search_id = self._search_id(connection, name)
            if architectures:
                rows = [records.architecture_record(architecture) for architecture in architectures]
                connection.execute(statements.INSERT_ARCHITECTURE, rows)
            if proposed:
                rows = [records.trial_record(search_id, trial) for trial in proposed]
                connection.execute(statements.INSERT_TRIAL, rows)

    def start_attempt(self, name: str, number: int, *, worker: str, attempt: int, started_at: float) -> None:
        """Says that a worker has the trial, waiting or lost by another worker, for the `attempt`-th time, from 1.

        Raises:
            Conflict: the trial has ended or was never admitted.
        """
        at = {"in_search": name, "at_number": number}
        changes = {
            "state": TrialState.RUNNING.value,
            "worker": worker,
            "attempts": attempt,
            "started_at": started_at,
        }
        with self._database.writing() as connection:
            if not connection.execute(statements.START_TRIAL, {**at, **changes}).rowcount:
                raise self._not_open(connection, name, number)

    def finish_trial(self, name: str, trial: Trial, measured: Sequence[Measurement]) -> None:
        """Writes how a waiting or running trial ended, with its measurements; what was proposed stays as recorded.

        Raises:
            Conflict: the trial has ended already or was never admitted.
        """
        at = {"in_search": name, "at_proposal": trial.proposal}
        with self._database.writing() as connection:
            if not connection.execute(statements.FINISH_TRIAL, {**at, **records.result_record(trial)}).rowcount:
                raise self._not_open(connection, name, trial.number)
            if measured:
                rows = [{"in_search": name, **records.measurement_record(trial.proposal, one)} for one in measured]
                connection.execute(statements.INSERT_MEASUREMENT, rows)

    def return_to_waiting(self, name: str) -> int:
        """Makes running trials, whose driver is gone, wait again with their attempts counted; returns how many."""
        changes = {"in_search": name, "state": TrialState.WAITING.value}
        with self._database.writing() as connection:
            self._search_id(connection, name)
            return connection.execute(statements.RETURN_TRIALS, changes).rowcount

    def set_weights(self, name: str, number: int, sha256: str | None) -> None:
        """Says which weights file is kept for the trial, or None for no longer any."""
        at = {"in_search": name, "at_number": number}
        with self._database.writing() as connection:
            if not connection.execute(statements.UPDATE_NUMBER, {**at, "weights_sha256": sha256}).rowcount:
                raise self._no_trial(connection, name, number)

    def weights_in_use(self, sha256: str) -> bool:
        """Whether a trial of any search keeps this weights file."""
        with self._database.reading() as connection:
            return connection.execute(statements.WEIGHTS_IN_USE, {"sha256": sha256}).first() is not None

    def trials(self, name: str, *, include_rejected: bool = False) -> list[Trial]:
        """The admitted trials by number; with the rejected ones, all by proposal."""
        return self._trials(name, statements.ALL_TRIALS if include_rejected else statements.ADMITTED_TRIALS)

    def observed(self, name: str) -> list[Trial]:
        """What the controller has observed, rejected trials too, in the order in which it did."""
        return self._trials(name, statements.OBSERVED_TRIALS)

    def rejected_count(self, name: str) -> int:
        """How many proposals broke a constraint."""
        with self._database.reading() as connection:
            self._search_id(connection, name)
            return connection.execute(statements.REJECTED_COUNT, {"in_search": name}).scalar_one()

    def trial(self, name: str, number: int) -> Trial:
        """The trial of this number."""
        with self._database.reading() as connection:
            row = connection.execute(statements.TRIAL, {"in_search": name, "at_number": number}).first()
            if row is None:
                raise self._no_trial(connection, name, number)
            return records.trial_from(row)

    def measurements(self, name: str, number: int) -> list[Measurement]:
        """The measurements of the trial of this number, by epoch."""
        at = {"in_search": name, "at_number": number}
        with self._database.reading() as connection:
            found = [records.measurement_from(row) for row in connection.execute(statements.MEASUREMENTS, at)]
            if not found and connection.execute(statements.TRIAL, at).first() is None:
                raise self._no_trial(connection, name, number)
            return found

    def known(self, key: str, evaluation_key: str) -> tuple[str, Trial] | None:
        """The search and trial in which this architecture was first evaluated to the end under `evaluation_key`."""
        with self._database.reading() as connection:
            row = connection.execute(statements.KNOWN, {"key": key, "evaluation_key": evaluation_key}).first()
            return None if row is None else (row.search_name, records.trial_from(row))

    def history(self, key: str) -> list[tuple[str, Trial]]:
        """Every trial of the architecture with the name of its search, the oldest search first."""
        with self._database.reading() as connection:
            rows = connection.execute(statements.HISTORY, {"key": key})
            return [(row.search_name, records.trial_from(row)) for row in rows]

    def architecture(self, key: str) -> ArchitectureRecord:
        """The architecture whose key is, or alone begins with, `key` (at least 4 hexadecimal digits).

        Raises:
            UserError: `key` is too short, no key, or begins several keys.
            NotFound: no key begins like this.
        """
        prefix = key.lower()
        if len(prefix) < 4 or not _HEX.issuperset(prefix):
            raise UserError(f"architecture {key!r}: give 4 or more of the hexadecimal digits that its key begins with")
        # "g" comes right after the last hexadecimal digit.
        bounds = {"first": prefix, "beyond": prefix + "g"}
        with self._database.reading() as connection:
            rows = connection.execute(statements.ARCHITECTURES_BETWEEN, bounds).all()
            if not rows:
                raise NotFound(f"no architecture {key!r} in {self.path}; `nas results NAME` shows the keys of a search")
            if len(rows) > 1:
                keys = ", ".join(row.key for row in rows[:3]) + (", …" if len(rows) > 3 else "")
                raise UserError(f"architecture {key!r} is ambiguous; give more digits of one of: {keys}")
            return records.architecture_from(rows[0])

    def architectures(self, keys: Iterable[str]) -> dict[str, ArchitectureRecord]:
        """The architectures under these keys, by key; keys that are not there are left out."""
        wanted = sorted(set(keys))
        with self._database.reading() as connection:
            return {
                row.key: records.architecture_from(row)
                for start in range(0, len(wanted), _KEYS_AT_ONCE)
                for row in connection.execute(statements.ARCHITECTURES, {"keys": wanted[start : start + _KEYS_AT_ONCE]})
            }

    def _trials(self, name: str, statement: Select[Any]) -> list[Trial]:
        with self._database.reading() as connection:
            self._search_id(connection, name)
            return [records.trial_from(row) for row in connection.execute(statement, {"in_search": name})]

    def _search(self, connection: Connection, name: str) -> Search:
        row = connection.execute(statements.SEARCH, {"in_search": name}).first()
        if row is None:
            raise self._no_search(connection, name)
        return records.search_from(row)

    def _search_id(self, connection: Connection, name: str) -> int:
        """The row number of a search, or `NotFound`."""
        found: int | None = connection.execute(statements.SEARCH_ID, {"in_search": name}).scalar()
        if found is None:
            raise self._no_search(connection, name)
        return found

    def _change_driver(
        self, name: str, driver: tuple[str | None, int | None, float | None], changes: Mapping[str, Any]
    ) -> Search:
        """Changes a search, provided that its driver is the given host, pid and time of start."""
        host, pid, started_at = driver
        statement = (
            update(searches)
            .where(
                searches.c.name == name,
                searches.c.driver_host.is_not_distinct_from(host),
                searches.c.driver_pid.is_not_distinct_from(pid),
                searches.c.driver_started_at.is_not_distinct_from(started_at),
            )
            .values(**changes)
        )
        with self._database.writing() as connection:
            search = self._search(connection, name)
            if not connection.execute(statement).rowcount:
                holder = f"process {search.driver_pid} on {search.driver_host}" if search.driver_pid else "nobody"
                raise Conflict(f"search {name!r} has changed hands and is driven by {holder} now; look with `nas list`")
            return self._search(connection, name)

    def _no_search(self, connection: Connection, name: str) -> NotFound:
        names = connection.execute(statements.SEARCH_NAMES).scalars().all()
        close = get_close_matches(name, names, n=3)
        remedy = f"did you mean {' or '.join(map(repr, close))}?" if close else "`nas list` shows what there is"
        return NotFound(f"no search {name!r} in {self.path}; {remedy}")

    def _no_trial(self, connection: Connection, name: str, number: int) -> NotFound:
        self._search_id(connection, name)
        return NotFound(f"search {name!r} has no trial {number}; `nas results {quote(name)}` lists its trials")

    def _not_open(self, connection: Connection, name: str, number: int | None) -> Conflict:
        self._search_id(connection, name)
        return Conflict(
            f"search {name!r}: trial {number} is neither waiting nor running; does another driver run this search?"
        )
