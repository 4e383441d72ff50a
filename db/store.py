"""The store: every question and every change that a search, or whoever looks at one, has for the database."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Connection, Select
from sqlalchemy.exc import IntegrityError

from db import missing, records, statements
from db.check import Health, check
from db.database import Database, Mode
from db.leases import Lease, Leases
from db.schema import architectures as architectures_table
from db.sqlite import open_file
from db.trial import ArchitectureRecord, Measurement, Search, SearchState, Trial, TrialState, check_search_name
from db.url import is_postgresql
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
    what contradicts what is stored and for a database that is damaged, full, locked or read-only, `DatabaseUnavailable`
    where a server does not answer. What was written then may be stored or not: the same call again makes sure, and
    changes nothing where it was stored. Writes to a search are refused with a `Conflict` once another driver holds it.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._leases = Leases(database)
        self._insert_architecture = database.insert_or_ignore(architectures_table, "key")

    @classmethod
    def open(cls, url: str, *, mode: Mode) -> Self:
        """Opens the SQLite file at `url`, a path or `sqlite:///PATH`, or the database at `postgresql://…`.

        `create` makes tables, and a file, where they are absent; `write` and `read` do not, and `read` changes nothing.
        See `open_file` in `db.sqlite` and `open_server` in `db.postgresql` for the errors.
        """
        if is_postgresql(url):
            from db.postgresql import open_server

            return cls(open_server(url, mode))
        return cls(open_file(url, mode))

    @property
    def name(self) -> str:
        """The database as it is shown: a path, or a URL without its password."""
        return self._database.name

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
        """Adds a search that has no trials yet; where it says who drives it, this store holds it from now on.

        Raises:
            UserError: `check_search_name` refuses the name.
            Conflict: the name is taken.
        """
        check_search_name(search.name)
        if not self._leases.create(search):
            raise Conflict(
                f"a search {search.name!r} is in {self.name} already; "
                f"give another --name, or continue it with `nas resume {quote(search.name)}`"
            )

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
        it after the same reading, one succeeds. The search is `running` then, held by this store and by no other, and
        returned as claimed.

        Raises:
            Conflict: another driver has claimed it since, or one on another host was seen within the last minute.
        """
        return self._leases.claim(previous, host=host, pid=pid, started_at=started_at)

    def lease(self, name: str) -> Lease | None:
        """The claim by which a search is held, by whomever; None where nobody drives it."""
        return self._leases.of(name)

    def renew_search(self, name: str) -> None:
        """Says that the driver is there; due every few seconds, for other hosts take a search over after a minute.

        Raises:
            Conflict: the search is not, or not any more, held by this store.
        """
        self._leases.renew(name)

    def release_search(self, name: str, *, host: str, pid: int, started_at: float, state: SearchState) -> Search:
        """Leaves the search without a driver, in `state`; `started_at` is the one that was recorded, to the last bit.

        Raises:
            Conflict: the driver is not, or not any more, process `pid` on `host` created at `started_at`, by this store.
        """
        return self._leases.release(name, host=host, pid=pid, started_at=started_at, state=state)

    def record_proposals(
        self, name: str, proposed: Sequence[Trial], architectures: Sequence[ArchitectureRecord]
    ) -> None:
        """Adds new trials, rejected or admitted, and those of their architectures that are not known yet.

        Repeated for want of an answer, it may say anew to whom a trial is handed out.

        Raises:
            Conflict: another trial of the same proposal or number is there, or its architecture or parent is not.
        """
        try:
            with self._leases.writing(name) as (connection, row):
                if architectures:
                    # In one order for everybody: two searches that wait for each other's keys would never end.
                    in_order = sorted(architectures, key=lambda architecture: architecture.key)
                    rows = [records.architecture_record(architecture) for architecture in in_order]
                    connection.execute(self._insert_architecture, rows)
                if proposed:
                    rows = [records.trial_record(row.id, trial) for trial in proposed]
                    connection.execute(statements.INSERT_TRIAL, rows)
        except Conflict as refused:
            if not isinstance(refused.__cause__, IntegrityError):
                raise
            self._record_again(name, proposed, refused)

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
        with self._leases.writing(name) as (connection, _):
            if not connection.execute(statements.START_TRIAL, {**at, **changes}).rowcount:
                raise missing.not_open(name, number)

    def finish_trial(self, name: str, trial: Trial, measured: Sequence[Measurement]) -> None:
        """Writes how a waiting or running trial ended, with its measurements; what was proposed stays as recorded.

        Repeated for want of an answer, it may say another `finished_at`.

        Raises:
            Conflict: the trial has ended already, otherwise than this, or was never admitted.
        """
        at = {"in_search": name, "at_proposal": trial.proposal}
        record = records.result_record(trial)
        with self._leases.writing(name) as (connection, _):
            if not connection.execute(statements.UPDATE_OPEN_TRIAL, {**at, **record}).rowcount:
                # Who repeats it for want of an answer says another time.
                same = {column: value for column, value in record.items() if column != "finished_at"}
                row = connection.execute(statements.PROPOSED_TRIAL, at).first()
                if row is None or not records.is_row(row, same):
                    raise missing.not_open(name, trial.number)
            elif measured:
                rows = [{"in_search": name, **records.measurement_record(trial.proposal, one)} for one in measured]
                connection.execute(statements.INSERT_MEASUREMENT, rows)

    def return_to_waiting(self, name: str) -> int:
        """Makes running trials, whose driver is gone, wait again with their attempts counted; returns how many."""
        changes = {"in_search": name, "state": TrialState.WAITING.value}
        with self._leases.writing(name) as (connection, _):
            return connection.execute(statements.RETURN_TRIALS, changes).rowcount

    def set_weights(self, name: str, number: int, sha256: str | None) -> None:
        """Says which weights file is kept for the trial, or None for no longer any."""
        at = {"in_search": name, "at_number": number}
        with self._leases.writing(name) as (connection, _):
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
                raise NotFound(f"no architecture {key!r} in {self.name}; `nas results NAME` shows the keys of a search")
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

    def check(self) -> Health:
        """Looks at everything that is stored and says what is damaged."""
        return check(self._database)

    def backup(self, file: Path) -> None:
        """Copies an SQLite database as it is at one moment to a new file, while others write; whole or not at all.

        Raises:
            UserError: it is a PostgreSQL database, which pg_dump copies.
            Conflict: the file exists or cannot be written, or the database is damaged.
        """
        self._database.backup(file)

    def _trials(self, name: str, statement: Select[Any]) -> list[Trial]:
        with self._database.reading() as connection:
            self._search_id(connection, name)
            return [records.trial_from(row) for row in connection.execute(statement, {"in_search": name})]

    def _search(self, connection: Connection, name: str) -> Search:
        row = connection.execute(statements.SEARCH, {"in_search": name}).first()
        if row is None:
            raise missing.no_search(connection, self.name, name)
        return records.search_from(row)

    def _search_id(self, connection: Connection, name: str) -> int:
        """The row number of a search, or `NotFound`."""
        found: int | None = connection.execute(statements.SEARCH_ID, {"in_search": name}).scalar()
        if found is None:
            raise missing.no_search(connection, self.name, name)
        return found

    def _no_trial(self, connection: Connection, name: str, number: int) -> NotFound:
        self._search_id(connection, name)
        return missing.no_trial(name, number)

    def _record_again(self, name: str, proposed: Sequence[Trial], refused: Conflict) -> None:
        """Makes sure that these proposals are there already, for an answer was lost, and hands trials out as told now.

        Raises:
            Conflict: `refused`, where they are others; nothing is changed then.
        """
        with self._leases.writing(name) as (connection, search):
            for trial in proposed:
                at = {"in_search": name, "at_proposal": trial.proposal}
                result = records.result_record(trial)
                row = connection.execute(statements.PROPOSED_TRIAL, at).first()
                if row is None or not records.is_row(row, records.proposal_record(search.id, trial)):
                    raise refused
                if records.is_row(row, result):
                    continue
                if not connection.execute(statements.UPDATE_OPEN_TRIAL, {**at, **result}).rowcount:
                    raise refused
