"""Whether a database is sound: what its engine finds, whether the schema is whole, and whether every row reads."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Table, inspect, select

from db import records, schema
from db.database import Database
from search_spaces.architecture import Architecture
from search_spaces.errors import DatabaseUnavailable, UserError

_ROWS_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Health:
    """How many rows each table has, and what is wrong, one line each."""

    rows: Mapping[str, int]
    problems: tuple[str, ...]


def check(database: Database) -> Health:
    """Looks at everything in an open database, and goes on after what is damaged.

    Raises:
        DatabaseUnavailable: the server stopped answering.
    """
    rows: dict[str, int] = {}
    problems = [*_found(database, database.problems), *_found(database, _missing)]
    for table, parse in _PARSERS.items():
        counted = 0

        def unreadable(connection: Connection, table: Table = table, parse: _Parser = parse) -> Iterator[str]:
            nonlocal counted
            for row in connection.execution_options(yield_per=_ROWS_AT_ONCE).execute(select(table)):
                counted += 1
                wrong = _wrong_with(row, table, parse)
                if wrong is not None:
                    where = ", ".join(f"{column.name} {row._mapping[column]}" for column in table.primary_key)
                    yield f"{table.name}, {where}: {wrong}"

        problems += _found(database, unreadable)
        rows[table.name] = counted
    return Health(rows, tuple(problems))


_Parser = Callable[[Row[Any]], object]


def _found(database: Database, look: Callable[[Connection], Any]) -> list[str]:
    """What a look at the database finds, in a transaction of its own: the first damage ends one."""
    found: list[str] = []
    try:
        with database.reading() as connection:
            found.extend(look(connection))
    except DatabaseUnavailable:
        raise
    except UserError as error:
        found.append(str(error))
    return found


def _missing(connection: Connection) -> Iterator[str]:
    """The tables and columns of the schema that are not there."""
    inspector = inspect(connection)
    for table in schema.metadata.sorted_tables:
        if not inspector.has_table(table.name):
            yield f"there is no table {table.name}"
            continue
        there = {column["name"] for column in inspector.get_columns(table.name)}
        yield from (
            f"table {table.name} has no column {name}"
            for name in sorted({column.name for column in table.columns} - there)
        )


def _wrong_with(row: Row[Any], table: Table, parse: _Parser) -> str | None:
    """Why a row cannot be read, or None."""
    for column in table.columns:
        value = row._mapping[column]
        # SQLite keeps what it is given, whatever the column says.
        if value is not None and not isinstance(value, column.type.python_type):
            return f"{column.name} is {type(value).__name__} and not {column.type.python_type.__name__}"
    try:
        parse(row)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        return " ".join(f"{type(error).__name__}: {error}".split())
    return None


def _search(row: Row[Any]) -> None:
    records.search_from(row)
    if not isinstance(json.loads(row.run), dict):
        raise ValueError("run is no JSON object")


def _architecture(row: Row[Any]) -> None:
    Architecture.from_json(records.architecture_from(row).document)


_PARSERS: Mapping[Table, _Parser] = {
    schema.searches: _search,
    schema.architectures: _architecture,
    schema.trials: records.trial_from,
    schema.measurements: records.measurement_from,
}
