"""A store on each engine; every test that asks for one runs on both."""

import os
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import psycopg
import pytest
from postgresql_server import Server
from sqlalchemy import make_url

from db import Store

Urls = Callable[[], str]
"""Makes the URL of a database that has no tables yet."""


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A server of our own, which asks for a password."""
    started = Server()
    yield started
    started.close()


@pytest.fixture(scope="session")
def postgresql_url(request: pytest.FixtureRequest) -> str:
    """A server that may be filled with databases: the one of NAS_TEST_POSTGRESQL_URL, or one of our own."""
    given = os.environ.get("NAS_TEST_POSTGRESQL_URL")
    if given:
        return given
    own: Server = request.getfixturevalue("server")
    return own.url("postgres")


@pytest.fixture(scope="session")
def postgresql_urls(postgresql_url: str) -> Iterator[Urls]:
    """Makes schemas in a database of the test run's own: to a store, each is a whole database, and takes no time."""
    plain = make_url(postgresql_url)
    database = f"nas_test_{os.getpid()}"
    numbers = count()

    def make() -> str:
        schema = f"schema_{next(numbers)}"
        connection.execute(f"CREATE SCHEMA {schema}")
        parts = own.update_query_dict({"options": f"-csearch_path={schema}"})
        return parts.render_as_string(hide_password=False)

    with psycopg.connect(plain.render_as_string(hide_password=False), autocommit=True) as server:
        server.execute(f"CREATE DATABASE {database} ENCODING 'UTF8' TEMPLATE template0")
        own = plain.set(database=database)
        with psycopg.connect(own.render_as_string(hide_password=False), autocommit=True) as connection:
            yield make
        if os.environ.get("NAS_TEST_POSTGRESQL_URL"):
            # A server of our own goes with all that it has.
            server.execute(f"DROP DATABASE {database} WITH (FORCE)")


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def url(engine: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database without tables, on each engine in turn."""
    if engine == "sqlite":
        return str(tmp_path / "nas.db")
    made: str = request.getfixturevalue("postgresql_urls")()
    return made


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with Store.open(url, mode="create") as opened:
        yield opened
