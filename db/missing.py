"""What is said of a search or trial that is not there, or not as it would have to be, with the nearest remedy."""

from difflib import get_close_matches
from shlex import quote
from typing import Any

from sqlalchemy import Connection, Row

from db import statements
from search_spaces.errors import Conflict, NotFound


def no_search(connection: Connection, where: str, name: str) -> NotFound:
    """The error for a search that the database `where` does not have."""
    names = connection.execute(statements.SEARCH_NAMES).scalars().all()
    close = get_close_matches(name, names, n=3)
    remedy = f"did you mean {' or '.join(map(repr, close))}?" if close else "`nas list` shows what there is"
    return NotFound(f"no search {name!r} in {where}; {remedy}")


def no_trial(name: str, number: int) -> NotFound:
    """The error for a trial that a search does not have."""
    return NotFound(f"search {name!r} has no trial {number}; `nas results {quote(name)}` lists its trials")


def not_open(name: str, number: int | None) -> Conflict:
    """The error for a trial that has ended or was never admitted, where it was to go on."""
    return Conflict(
        f"search {name!r}: trial {number} is neither waiting nor running; does another driver run this search?"
    )


def changed_hands(row: Row[Any]) -> Conflict:
    """The error for a search that is not, or not any more, driven by who thought so; `row` says by whom it is."""
    holder = f"process {row.driver_pid} on {row.driver_host}" if row.driver_pid else "nobody"
    return Conflict(f"search {row.name!r} has changed hands and is driven by {holder} now; look with `nas list`")
