"""SQLite as it is used here: which file, how it is opened and locked, what its errors mean to the user."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from sqlalchemy import Connection, Engine, Insert, QueuePool, Table, create_engine, update
from sqlalchemy.dialects import sqlite as dialect
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from db import schema
from search_spaces.errors import Conflict, NotFound, UserError

Mode = Literal["create", "write", "read"]

BUSY_SECONDS = 30.0
"""How long a transaction waits for another process to end its own."""

_ANOTHER = "or give another path with --db"
_RESTORE = f"restore it from a copy, {_ANOTHER}"


class Database:
    """An open SQLite file that is ours, in WAL mode: one writer at a time, readers never wait and never block."""

    def __init__(self, path: Path, mode: Mode) -> None:
        self.path = path
        self._mode = mode
        self._engine = _engine(path, mode)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees one state of the database throughout; what it reads is turned into values in it."""
        try:
            with self._transaction("BEGIN") as connection:
                yield connection
        except UserError:
            raise
        except ValueError as error:
            raise Conflict(f"{self.path} is damaged ({error}); {_RESTORE}") from error

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that holds the write lock from its start and is kept whole or not at all."""
        assert self._mode != "read", "the store was opened for reading"
        with self._transaction("BEGIN IMMEDIATE") as connection:
            yield connection

    def use_wal(self) -> None:
        """Switches the file to WAL mode for good, where it is not; no transaction may be open."""
        with self._explained(), self._engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode = WAL")

    def close(self) -> None:
        """Closes all connections; the last process to do so folds the WAL into the file."""
        self._engine.dispose()

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[Connection]:
        with self._explained(), self._engine.begin() as connection:
            # SQLAlchemy and Python's driver leave it to us to begin; they commit or roll back.
            connection.exec_driver_sql(begin)
            yield connection

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (SQLAlchemyError, OverflowError, UnicodeEncodeError) as error:
            raise _user_error(error, self.path) from error


def open_database(url: str, mode: Mode) -> Database:
    """Opens the SQLite file at `url`; `create` makes it and its tables where they are absent.

    Opening to read leaves no file behind and changes none. A file that cannot be made whole is not left behind.

    Raises:
        UserError: the URL or path is of a kind that cannot be opened.
        NotFound: the file or its directory does not exist.
        Conflict: the file is not ours, is damaged, locked for too long or may not be written.
        NewerFormat: a newer nas made it.
    """
    path = database_path(url)
    made = _file_is_made(path, mode)
    database = Database(path, mode)
    try:
        if mode == "create":
            with database.reading() as connection:
                empty = schema.is_empty(connection)
            if empty:
                _create(database)
        with database.reading() as connection:
            schema.check(connection, str(path))
        if mode != "read":
            _make_writable(database)
    except BaseException:
        database.close()
        # Empty as we made it: had another process put its tables in meanwhile, it would not be.
        if made and path.exists() and path.stat().st_size == 0:
            path.unlink()
        raise
    return database


def database_path(url: str) -> Path:
    """The file meant by `sqlite:///PATH` or a bare path.

    Raises:
        UserError: another kind of URL, a database in memory, or no path at all.
    """
    scheme, separator, rest = url.partition("://")
    accepted = "give a path such as nas.db, or sqlite:///nas.db"
    if separator and scheme != "sqlite":
        # Only the scheme: the rest may hold a password.
        raise UserError(f"database URL {scheme}://…: only SQLite files are supported; {accepted}")
    if separator and not rest.startswith("/"):
        raise UserError(f"database URL {url!r}: three slashes come before the path; {accepted}")
    name = rest[1:] if separator else url
    if not name or "\0" in name or name == ":memory:":
        raise UserError(f"database URL {url!r} names no file; {accepted}")
    return Path(name)


def insert_or_ignore(table: Table) -> Insert:
    """An insert that leaves rows alone whose primary key is there already."""
    return dialect.insert(table).on_conflict_do_nothing(index_elements=list(table.primary_key.columns))


def _file_is_made(path: Path, mode: Mode) -> bool:
    """Whether the file was absent and has now been made, empty; SQLite alone would name no cause where it cannot."""
    try:
        if path.is_dir():
            raise UserError(f"{path} is a directory; give the path of a file with --db")
        if path.exists():
            if not path.is_file():
                raise UserError(f"{path} is not a regular file; give another path with --db")
            return False
        if mode != "create":
            raise NotFound(f"there is no database {path}; give the path of one with --db")
        if not path.parent.is_dir():
            raise NotFound(f"there is no directory {path.parent}; make it, or give another path with --db")
        # Exclusively, so that of several processes exactly one takes itself for the maker.
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666))
    except FileExistsError:
        return False
    except OSError as error:
        raise Conflict(f"cannot open {path}: {error.strerror}; give another path with --db") from error
    return True


def _create(database: Database) -> None:
    with database.writing() as connection:
        # Another process may have been first while we waited for the lock.
        if schema.is_empty(connection):
            schema.create(connection)


def _make_writable(database: Database) -> None:
    """Turns WAL mode on and proves that the file may be written: BEGIN IMMEDIATE alone succeeds on a read-only file."""
    with database.writing() as connection:
        connection.execute(update(schema.schema_version).values(version_num=schema.schema_version.c.version_num))
        connection.rollback()
    database.use_wal()


def _engine(path: Path, mode: Mode) -> Engine:
    uri = f"{path.absolute().as_uri()}?{_open_flags(path) if mode == 'read' else 'mode=rw'}"

    def connect() -> sqlite3.Connection:
        # Without an isolation level Python's driver begins no transactions of its own.
        connection = sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = NORMAL")
        if mode == "read":
            connection.execute("PRAGMA query_only = ON")
        return connection

    return create_engine("sqlite://", creator=connect, poolclass=QueuePool)


def _open_flags(path: Path) -> str:
    """How to open a file for reading so that no `-wal` or `-shm` file stays behind.

    SQLite makes them even to read. A connection that may write removes them when it closes; where we may not write,
    the file is either in use, and they are there, or at rest, and can be read as if it never changed.
    """
    # Asked of the system: opening and closing the file here would drop the locks of other connections of this process.
    effective = os.access in os.supports_effective_ids
    real = path.resolve()
    if all(os.access(place, os.W_OK, effective_ids=effective) for place in (real, real.parent)):
        return "mode=rw"
    return "mode=ro" if Path(f"{real}-wal").exists() else "mode=ro&immutable=1"


def _user_error(error: Exception, path: Path) -> UserError:
    """What an error of SQLAlchemy or SQLite means to the user, with the remedy."""
    if isinstance(error, OverflowError):
        return UserError(f"{path}: a whole number has more than 64 bits; give a smaller one")
    if isinstance(error, UnicodeEncodeError):
        return UserError(f"{path}: {error.object!r} is no valid Unicode text; give it without the broken characters")
    cause = error.orig if isinstance(error, DBAPIError) else error
    # The low byte is the kind of the error, the rest its details.
    match getattr(cause, "sqlite_errorcode", 0) & 0xFF:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return Conflict(f"{path} was locked by another process for {BUSY_SECONDS:g} s; end that one, {_ANOTHER}")
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_AUTH:
            return Conflict(f"{path} may not be written ({cause}); make it and its directory writable, {_ANOTHER}")
        case sqlite3.SQLITE_FULL | sqlite3.SQLITE_IOERR:
            return Conflict(f"{path} cannot be written ({cause}); make sure that its disk works and has space left")
        case sqlite3.SQLITE_NOTADB:
            return Conflict(f"{path} is not a database; give another path with --db")
        case sqlite3.SQLITE_CORRUPT:
            return Conflict(f"{path} is damaged ({cause}); {_RESTORE}")
        case sqlite3.SQLITE_CONSTRAINT:
            return Conflict(f"{path} refuses what contradicts it ({cause}); does another driver run this search?")
    message = " ".join(str(cause).split())
    return Conflict(f"{path} cannot be used ({message}); {_RESTORE}")
