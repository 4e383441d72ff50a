"""SQLite as it is used here: which file, how it is opened and locked, what its errors mean to the user."""

import os
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, Insert, QueuePool, Table, create_engine, update
from sqlalchemy.dialects import sqlite as dialect
from sqlalchemy.exc import DBAPIError

from db import schema
from db.database import BUSY_SECONDS, Database, Mode
from db.url import database_path
from db.whole_file import whole_file
from search_spaces.errors import Conflict, NotFound, UserError

_ANOTHER = "or give another path with --db"
_RESTORE = f"restore it from a copy, {_ANOTHER}"
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class SqliteDatabase(Database):
    """An open SQLite file in WAL mode: one writer at a time; it holds the write lock from the start."""

    def __init__(self, path: Path, mode: Mode) -> None:
        super().__init__(_engine(path, mode), str(path), mode)
        self._path = path

    def use_wal(self) -> None:
        """Switches the file to WAL mode for good, where it is not; no transaction may be open."""
        with self._explained(), self._engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode = WAL")

    def refuse_what_acts(self) -> None:
        """Makes sure that reading and writing our tables does that alone, for a file may come from anybody.

        Raises:
            Conflict: one of them is a view or a virtual table, or has a trigger; such may go on without end.
        """
        with self.reading() as connection:
            for kind, name, table, statement in connection.exec_driver_sql(
                "SELECT type, lower(name), lower(tbl_name), sql FROM sqlite_schema"
            ):
                is_plain = kind == "table" and not str(statement).upper().startswith("CREATE VIRTUAL")
                if table in schema.metadata.tables and not (is_plain or kind == "index"):
                    raise Conflict(
                        f"{self.name} has {name!r}, a {'virtual table' if kind == 'table' else kind} that nas never "
                        "makes; drop it, or give another path with --db"
                    )

    def now(self, connection: Connection) -> float:
        # Everybody who has the file open is on this machine.
        return time.time()

    def insert_or_ignore(self, table: Table, *columns: str) -> Insert:
        return dialect.insert(table).on_conflict_do_nothing(index_elements=columns)

    def problems(self, connection: Connection) -> list[str]:
        found = [row[0] for row in connection.exec_driver_sql("PRAGMA integrity_check")]
        broken = Counter((row[0], row[2]) for row in connection.exec_driver_sql("PRAGMA foreign_key_check"))
        return [" ".join(text.split()) for text in found if text != "ok"] + [
            f"{table}: {count} rows refer to {parent} that are not there" for (table, parent), count in broken.items()
        ]

    def backup(self, file: Path) -> None:
        with whole_file(file) as partial, closing(sqlite3.connect(partial)) as copy, self._explained():
            with self._engine.connect() as connection:
                source = connection.connection.driver_connection
                assert isinstance(source, sqlite3.Connection)
                try:
                    # In one step, under one read lock: page by page, every write would begin the copy anew.
                    source.backup(copy)
                    sound = copy.execute("PRAGMA quick_check").fetchall() == [("ok",)]
                except sqlite3.DatabaseError as error:
                    if _kind(error) in _DAMAGE:
                        sound = False
                    else:
                        raise _user_error(error, file) from error
            if not sound:
                raise Conflict(f"{self.name} is damaged and was not copied; {_RESTORE}")

    @contextmanager
    def _begin_reading(self) -> Iterator[Connection]:
        with self._transaction("BEGIN") as connection:
            yield connection

    @contextmanager
    def _begin_writing(self) -> Iterator[Connection]:
        with self._transaction("BEGIN IMMEDIATE") as connection:
            yield connection

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[Connection]:
        with self._engine.begin() as connection:
            # SQLAlchemy and Python's driver leave it to us to begin; they commit or roll back.
            connection.exec_driver_sql(begin)
            yield connection

    def _lock_tables(self, connection: Connection) -> None:
        """Nothing more to lock: every transaction that writes holds the one lock there is."""

    def _user_error(self, error: Exception) -> UserError:
        return _user_error(error, self._path)

    @property
    def _restore(self) -> str:
        return _RESTORE


def open_file(url: str, mode: Mode) -> SqliteDatabase:
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
    database = SqliteDatabase(path, mode)
    try:
        if mode == "create":
            database.make_tables()
        database.refuse_what_acts()
        database.check_version()
        if mode != "read":
            _make_writable(database)
    except BaseException:
        database.close()
        # Empty as we made it: had another process put its tables in meanwhile, it would not be.
        if made and path.exists() and path.stat().st_size == 0:
            path.unlink()
        raise
    return database


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


def _make_writable(database: SqliteDatabase) -> None:
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
        # Nor may what the file defines itself call functions with side effects.
        connection.execute("PRAGMA trusted_schema = OFF")
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
    match _kind(cause):
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


def _kind(error: object) -> int:
    """SQLite's code of the error's kind: its low byte, the rest are details."""
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF
