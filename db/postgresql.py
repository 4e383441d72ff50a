"""PostgreSQL as it is used here: how a server is reached, what a transaction sees, what errors mean to the user."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    ForeignKeyConstraint,
    Insert,
    Table,
    create_engine,
    event,
    exists,
    func,
    make_url,
    select,
)
from sqlalchemy.dialects import postgresql as dialect
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError, ProgrammingError

from db import schema
from db.database import BUSY_SECONDS, Database, Mode
from db.url import ACCEPTED, shown
from search_spaces.errors import Conflict, DatabaseUnavailable, NotFound, UserError

CONNECT_SECONDS = 5
"""How long a server may take to answer at first."""

_CONNECTING: Mapping[str, Any] = {
    "connect_timeout": CONNECT_SECONDS,
    "application_name": "nas",
    # A host that vanished without a word is noticed after some 9 s, and not when the system gives up after hours.
    "keepalives": 1,
    "keepalives_idle": 3,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 9_000,
}

IDLE_WRITER_SECONDS = 20.0
"""After how long within a transaction the server gives up a client that is stopped and holds locks: before the others,
who wait for these, give up."""

IDLE_READER_SECONDS = 600.0
"""The same for a client that holds no locks, and may be turning many rows into values."""

_TABLES_LOCK = 0x6E61_7302
"""The advisory lock under which tables are made: any number that other programs are unlikely to use."""

_UNAVAILABLE = ("08", "57P", "53300", "25P03")
"""Beginnings of SQLSTATE: connection lost, server shut down or starting, too many connections, idle for too long."""
_RESTORE = "restore it from a dump, or give another database with --db"
_ANOTHER = "or give another database with --db"


class PostgresqlDatabase(Database):
    """A database on a server: each search has one writer, which locks its row; readers see one state throughout."""

    def __init__(self, url: URL, name: str, mode: Mode) -> None:
        super().__init__(
            _engine(url, IDLE_READER_SECONDS, isolation_level="REPEATABLE READ", postgresql_readonly=True), name, mode
        )
        self._url = url
        # Under a stricter level, a row that another search has added meanwhile would be an error, not a row to ignore.
        self._writes = _engine(url, IDLE_WRITER_SECONDS, isolation_level="READ COMMITTED")

    def close(self) -> None:
        super().close()
        self._writes.dispose()

    def now(self, connection: Connection) -> float:
        return float(connection.execute(select(func.date_part("epoch", func.clock_timestamp()))).scalar_one())

    def insert_or_ignore(self, table: Table, *columns: str) -> Insert:
        return dialect.insert(table).on_conflict_do_nothing(index_elements=columns)

    def problems(self, connection: Connection) -> list[str]:
        invalid = "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT (indisvalid AND indisready)"
        found = [f"index {row[0]} is not valid; rebuild it with REINDEX" for row in connection.exec_driver_sql(invalid)]
        for table in schema.metadata.sorted_tables:
            for reference in table.foreign_key_constraints:
                count = connection.execute(_orphans(table, reference)).scalar_one()
                if count:
                    found.append(
                        f"{table.name}: {count} rows refer to {reference.referred_table.name} that are not there"
                    )
        return found

    def backup(self, file: Path) -> None:
        raise UserError(
            f"PostgreSQL's own program copies {self.name}: "
            f"pg_dump --format=custom --file {str(file)!r} --dbname postgresql://user@host/database"
        )

    @contextmanager
    def _begin_reading(self) -> Iterator[Connection]:
        with self._engine.begin() as connection:
            yield connection

    @contextmanager
    def _begin_writing(self) -> Iterator[Connection]:
        with self._writes.begin() as connection:
            yield connection

    def _lock_tables(self, connection: Connection) -> None:
        connection.execute(select(func.pg_advisory_xact_lock(_TABLES_LOCK)))

    @property
    def _restore(self) -> str:
        return _RESTORE

    def _user_error(self, error: Exception) -> UserError:
        if isinstance(error, OverflowError):
            return self._too_large()
        if isinstance(error, UnicodeEncodeError):
            return UserError(f"{self.name}: {error.object!r} is no valid Unicode text; give it without what is broken")
        cause = error.orig if isinstance(error, DBAPIError) else error
        state = getattr(cause, "sqlstate", None)
        if state is not None:
            return self._server_error(state, self._said(cause))
        if isinstance(error, OperationalError):
            return self._connection_error(self._said(cause))
        said = self._said(cause)
        if isinstance(error, ProgrammingError):
            return UserError(f"{self.name} cannot be opened so ({said}); correct the database URL")
        if "NUL" in said:
            return UserError(f"{self.name}: a text has a NUL character, which PostgreSQL cannot hold; give it without")
        return Conflict(f"{self.name} cannot be used ({said}); {_RESTORE}")

    def _server_error(self, state: str, said: str) -> UserError:
        """What the server's answer means, by its SQLSTATE."""
        if state.startswith(_UNAVAILABLE):
            return self._unavailable(said)
        match state[:2], state:
            case "28", _:
                return self._refused_login()
            case _, "3D000":
                return self._no_database()
            case _, "42501" | "25006":
                return Conflict(f"{self.name} may not be used so ({said}); GRANT the user what it lacks, {_ANOTHER}")
            case _, "22003":
                return self._too_large()
            case _, "22021" | "22P05":
                return UserError(f"{self.name}: a text has a character that the database cannot hold ({said})")
            case "40", _:
                return DatabaseUnavailable(f"{self.name}: two writers were in each other's way ({said}); try again")
            case "42" | "XX", _:
                return Conflict(f"{self.name} is damaged ({said}); {_RESTORE}")
            case _, "55P03":
                return Conflict(f"{self.name} was locked by another process for {BUSY_SECONDS:g} s; end that one")
            case "23", _:
                return Conflict(
                    f"{self.name} refuses what contradicts it ({said}); does another driver run this search?"
                )
            case "53" | "58", _:
                return Conflict(
                    f"{self.name} cannot be written ({said}); make sure that the server's disk has space left"
                )
        return Conflict(f"{self.name} cannot be used ({said}); the server's log may say more")

    def _connection_error(self, said: str) -> UserError:
        """What it means that no connection came about, or one broke: the client library has no codes, only words."""
        # The words alone: names of hosts, users and databases may be any.
        words = re.sub('"[^"]*"', '""', said.lower().rpartition(" failed: ")[2])
        if "connection is bad: invalid" in words:
            return UserError(f"{self.name} cannot be opened so ({said}); correct the database URL")
        if any(word in words for word in ("password", "authentication failed", "pg_hba.conf", "role")):
            return self._refused_login()
        if "database" in words and "does not exist" in words:
            return self._no_database()
        if any(word in words for word in ("invalid response", "expected authentication request", "protocol")):
            return UserError(
                f"{self.name}: what answers there is no PostgreSQL server; give its host and port with --db"
            )
        return self._unavailable(said)

    def _unavailable(self, said: str) -> DatabaseUnavailable:
        return DatabaseUnavailable(
            f"{self.name} does not answer ({said}); make sure that the server runs and can be reached, and try again"
        )

    def _refused_login(self) -> UserError:
        return UserError(
            f"{self.name}: the server refuses this user and password; "
            "give them as postgresql://user:password@host/database, or the password by PGPASSWORD or ~/.pgpass"
        )

    def _no_database(self) -> NotFound:
        return NotFound(f"{self.name}: the server has no such database; make it with createdb, {_ANOTHER}")

    def _too_large(self) -> UserError:
        return UserError(f"{self.name}: a whole number has more than 64 bits; give a smaller one")

    def _said(self, error: object) -> str:
        """The error's first line, without a password should it quote one."""
        diagnosis = getattr(getattr(error, "diag", None), "message_primary", None)
        text = str(diagnosis or error)
        password = self._url.password
        if password:
            text = text.replace(str(password), "***")
        return " ".join(text.split("\n", 1)[0].split())


def open_server(url: str, mode: Mode) -> PostgresqlDatabase:
    """Opens the database at `postgresql://user:password@host:port/database`; `create` makes its tables if need be.

    Host, user and password may be left to PostgreSQL's own variables and files (`PGHOST`, `PGPASSWORD`, `~/.pgpass`).

    Raises:
        UserError: the URL cannot be read, the login is refused, or what answers is no PostgreSQL.
        NotFound: there is no such database.
        Conflict: the database is not ours, is no UTF-8, or may not be used.
        DatabaseUnavailable: no server answers.
        NewerFormat: a newer nas made it.
    """
    database = PostgresqlDatabase(_parsed(url), shown(url), mode)
    try:
        with database.reading() as connection:
            encoding = connection.exec_driver_sql("SHOW server_encoding").scalar_one()
        if encoding != "UTF8":
            raise Conflict(f"{database.name} is encoded in {encoding}; make a database with createdb --encoding UTF8")
        if mode == "create":
            database.make_tables()
        database.check_version()
    except BaseException:
        database.close()
        raise
    return database


def _parsed(url: str) -> URL:
    """The URL by its parts, which make sense to the client library.

    Raises:
        UserError: it cannot be read; of what may be a password nothing is quoted.
    """
    wrong = UserError(
        f"database URL {shown(url)!r} cannot be read; {ACCEPTED}, "
        "with what is special in a password percent-encoded (@ as %40, / as %2F, : as %3A)"
    )
    try:
        parsed = make_url(url).set(drivername="postgresql+psycopg")
        parsed.get_dialect()().create_connect_args(parsed)
    except (ArgumentError, ValueError):
        # Not chained: these errors quote the URL.
        raise wrong from None
    # An @ there is one of a password, and a server would be asked for what follows it, in the open.
    if "@" in f"{parsed.host}{parsed.database}" or "\0" in url or not 0 < (parsed.port or 1) < 2**16:
        raise wrong
    return parsed


def _engine(url: URL, idle_seconds: float, **options: object) -> Engine:
    # What the URL says itself goes before what we say.
    arguments = {name: value for name, value in _CONNECTING.items() if name not in url.query}
    # Asks before each transaction whether the connection still stands; a server that was started anew costs no error.
    engine = create_engine(
        url, connect_args=arguments, pool_pre_ping=True, hide_parameters=True, execution_options=options
    )

    @event.listens_for(engine, "connect")
    def limit(connection: Any, record: object) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"SET lock_timeout = '{BUSY_SECONDS}s'")
            cursor.execute(f"SET idle_in_transaction_session_timeout = '{idle_seconds}s'")
        connection.commit()

    return engine


def _orphans(table: Table, reference: ForeignKeyConstraint) -> Any:
    """Counts the rows whose reference leads nowhere."""
    parent = reference.referred_table.alias()
    pairs = [(element.parent, parent.c[element.column.name]) for element in reference.elements]
    refers = [column.is_not(None) for column, _ in pairs]
    found = exists().where(*(column == target for column, target in pairs))
    return select(func.count()).select_from(table).where(*refers, ~found)
