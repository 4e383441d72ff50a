"""Who may write to a search: a driver holds it by a random token, and every write checks the token first.

A lease that is not renewed lets another host take the search over. The clock only decides when that may be tried; that
no two drivers ever write to one search rests on the token alone, which is checked in the transaction that writes, with
the search's row locked.

References:
    C. G. Gray, D. R. Cheriton: Leases: an efficient fault-tolerant mechanism for distributed file cache consistency,
    SOSP 1989. M. Kleppmann: How to do distributed locking, 2016 (fencing tokens).
"""

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row

from db import missing, records, statements
from db.database import Database
from db.schema import searches
from db.trial import Search, SearchState
from search_spaces.errors import Conflict

LEASE_SECONDS = 60.0
"""For how long after its driver was last seen a search is left to it, where the driver is on another host."""

_NOBODY: Mapping[str, None] = dict.fromkeys(
    ("driver_host", "driver_pid", "driver_started_at", "driver_token", "driver_seen_at")
)


@dataclass(frozen=True, slots=True)
class Lease:
    """The claim by which a search is held."""

    token: str
    seen_at: float
    """When its driver was last seen, seconds since 1970 by the database's clock."""
    age_seconds: float
    """How long ago that was; below zero where the clock was put back since."""

    @property
    def is_young(self) -> bool:
        """Whether the driver was seen within the last `LEASE_SECONDS`, whichever way the clock was put since."""
        return abs(self.age_seconds) < LEASE_SECONDS


class Leases:
    """The searches that one store holds."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._tokens: dict[str, str] = {}

    def of(self, name: str) -> Lease | None:
        """The lease of a search, whoever has it; None where nobody drives it."""
        with self._database.reading() as connection:
            row = connection.execute(statements.SEARCH, {"in_search": name}).first()
            if row is None:
                raise missing.no_search(connection, self._database.name, name)
            return self._lease(connection, row)

    def create(self, search: Search) -> bool:
        """Adds a search, held if it says who drives it; False where its name is taken."""
        token = None if search.driver_pid is None else secrets.token_hex(16)
        insert = self._database.insert_or_ignore(searches, "name")
        with self._database.writing() as connection:
            seen_at = None if token is None else self._database.now(connection)
            record = {**records.search_record(search), "driver_token": token, "driver_seen_at": seen_at}
            if connection.execute(insert.returning(searches.c.id), record).first() is None:
                row = self._locked(connection, search.name)
                # This very process may have added it, and not been answered.
                if token is None or not records.is_row(row, records.search_record(search)):
                    return False
                self._changed(connection, search.name, {"driver_token": token, "driver_seen_at": seen_at})
        self._keep(search.name, token)
        return True

    def claim(self, previous: Search, *, host: str, pid: int, started_at: float) -> Search:
        """See `Store.claim_search`."""
        token = secrets.token_hex(16)
        with self._database.writing() as connection:
            row = self._locked(connection, previous.name)
            before = (previous.driver_host, previous.driver_pid, previous.driver_started_at)
            # The last is this very process, which may have claimed it and not been answered.
            if _driver(row) not in (before, (host, pid, started_at)):
                raise missing.changed_hands(row)
            lease = self._lease(connection, row)
            if lease is not None and row.driver_host != host and lease.is_young:
                raise Conflict(
                    f"search {row.name!r} is being driven by process {row.driver_pid} on {row.driver_host}, which was "
                    f"seen {max(0.0, lease.age_seconds):.0f} s ago; wait for it or end it there, "
                    f"and try again after {LEASE_SECONDS:.0f} s"
                )
            self._changed(
                connection,
                row.name,
                {
                    "driver_host": host,
                    "driver_pid": pid,
                    "driver_started_at": started_at,
                    "driver_token": token,
                    "driver_seen_at": self._database.now(connection),
                    "state": SearchState.RUNNING.value,
                },
            )
            claimed = self._search(connection, row.name)
        self._keep(previous.name, token)
        return claimed

    def release(self, name: str, *, host: str, pid: int, started_at: float, state: SearchState) -> Search:
        """See `Store.release_search`."""
        with self._database.writing() as connection:
            row = self._locked(connection, name)
            # It may be released, and that not have been answered.
            if row.driver_token is not None or row.state != state.value:
                if row.driver_token != self._tokens.get(name) or _driver(row) != (host, pid, started_at):
                    raise missing.changed_hands(row)
                self._changed(connection, name, {**_NOBODY, "state": state.value})
            released = self._search(connection, name)
        self._keep(name, None)
        return released

    def renew(self, name: str) -> None:
        """See `Store.renew_search`."""
        with self.writing(name) as (connection, row):
            if row.driver_token is not None:
                self._changed(connection, name, {"driver_seen_at": self._database.now(connection)})

    @contextmanager
    def writing(self, name: str) -> Iterator[tuple[Connection, Row[Any]]]:
        """A transaction of the driver of a search, with the search's row, locked to the end.

        A search that nobody drives may be written by who has not claimed it.

        Raises:
            NotFound: there is no such search.
            Conflict: it is not, or not any more, held by this store.
        """
        with self._database.writing() as connection:
            row = self._locked(connection, name)
            if row.driver_token != self._tokens.get(name):
                raise missing.changed_hands(row)
            yield connection, row

    def _locked(self, connection: Connection, name: str) -> Row[Any]:
        row = connection.execute(statements.LOCKED_SEARCH, {"in_search": name}).first()
        if row is None:
            raise missing.no_search(connection, self._database.name, name)
        return row

    def _changed(self, connection: Connection, name: str, changes: Mapping[str, Any]) -> None:
        connection.execute(statements.UPDATE_SEARCH, {"in_search": name, **changes})

    def _search(self, connection: Connection, name: str) -> Search:
        return records.search_from(connection.execute(statements.SEARCH, {"in_search": name}).one())

    def _lease(self, connection: Connection, row: Row[Any]) -> Lease | None:
        if row.driver_token is None:
            return None
        return Lease(row.driver_token, row.driver_seen_at, self._database.now(connection) - row.driver_seen_at)

    def _keep(self, name: str, token: str | None) -> None:
        if token is None:
            self._tokens.pop(name, None)
        else:
            self._tokens[name] = token


def _driver(row: Row[Any]) -> tuple[str | None, int | None, float | None]:
    """The host, pid and time of start of the process that drives the search."""
    return row.driver_host, row.driver_pid, row.driver_started_at
