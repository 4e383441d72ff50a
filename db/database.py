"""What the store needs of an engine: transactions, its clock, and what its errors mean to the user."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Literal

from sqlalchemy import Connection, Engine, Insert, Table
from sqlalchemy.exc import SQLAlchemyError

from db import schema
from search_spaces.errors import Conflict, UserError

Mode = Literal["create", "write", "read"]

BUSY_SECONDS = 30.0
"""How long a transaction waits for another process to end its own."""


class Database(ABC):
    """An open database that is ours; any number of processes read while others write, and readers never wait.

    `name` is the path or URL as it is shown, without a password. What the engine reports as an error comes out as a
    `UserError` of one line.
    """

    def __init__(self, engine: Engine, name: str, mode: Mode) -> None:
        self.name = name
        self._engine = engine
        self._mode = mode

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees one state of the database throughout; what it reads is turned into values in it."""
        try:
            with self._explained(), self._begin_reading() as connection:
                yield connection
        except UserError:
            raise
        except (ValueError, RecursionError) as error:
            raise Conflict(f"{self.name} is damaged ({error}); {self._restore}") from error

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that is kept whole or not at all."""
        assert self._mode != "read", "the store was opened for reading"
        with self._explained(), self._begin_writing() as connection:
            yield connection

    def close(self) -> None:
        """Closes all connections."""
        self._engine.dispose()

    def make_tables(self) -> None:
        """Makes the tables where there are none, once, however many processes want to at the same time.

        Raises:
            Conflict: the database was made by another program or an older nas.
            NewerFormat: it was made by a newer nas.
        """
        with self.reading() as connection:
            empty = schema.is_empty(connection)
        if empty:
            with self.writing() as connection:
                self._lock_tables(connection)
                # Another process may have been first while we waited for the lock.
                if schema.is_empty(connection):
                    schema.create(connection)

    def check_version(self) -> None:
        """Makes sure that the database is ours and of this version; see `db.schema.check`."""
        with self.reading() as connection:
            schema.check(connection, self.name)

    @abstractmethod
    def now(self, connection: Connection) -> float:
        """The database's own clock, in seconds since 1970: one for all hosts that drive searches in it."""

    @abstractmethod
    def insert_or_ignore(self, table: Table, *columns: str) -> Insert:
        """An insert that leaves rows alone whose `columns`, a unique set, are there already."""

    @abstractmethod
    def problems(self, connection: Connection) -> list[str]:
        """What the engine itself finds damaged, one line each."""

    @abstractmethod
    def backup(self, file: Path) -> None:
        """Writes a copy of the whole database as it is at one moment to a new file, while others write."""

    @abstractmethod
    def _begin_reading(self) -> AbstractContextManager[Connection]: ...

    @abstractmethod
    def _begin_writing(self) -> AbstractContextManager[Connection]: ...

    @abstractmethod
    def _lock_tables(self, connection: Connection) -> None:
        """Lets one process at a time make the tables, to the end of the transaction."""

    @abstractmethod
    def _user_error(self, error: Exception) -> UserError:
        """What an error of SQLAlchemy or the driver means to the user, with the remedy."""

    @property
    @abstractmethod
    def _restore(self) -> str:
        """The remedy for a damaged database."""

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (SQLAlchemyError, OverflowError, UnicodeEncodeError) as error:
            raise self._user_error(error) from error
