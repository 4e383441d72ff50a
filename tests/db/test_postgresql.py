"""What a PostgreSQL URL may lead to, what the store says of it, and what it never says."""

import logging
import os
import socket
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import psycopg
import pytest
from db_examples import architecture, search, trial
from postgresql_server import PASSWORD, Server, free_port

from db import Store
from db.database import Mode
from search_spaces.errors import Conflict, DatabaseUnavailable, NewerFormat, NotFound, UserError

MODES: tuple[Mode, ...] = ("create", "write", "read")


@pytest.fixture(autouse=True)
def nothing_else_knows_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("PG")]:
        monkeypatch.delenv(name)


@pytest.fixture
def empty(server: Server) -> Iterator[str]:
    """The URL of a database without tables, which is gone afterwards."""
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        connection.execute("CREATE DATABASE empty")
        yield server.url("empty")
        connection.execute("DROP DATABASE empty WITH (FORCE)")


def refused(url: str, kind: type[UserError], mode: Mode = "create", *, within: float = 3.0) -> str:
    """The one line that opening gives, quickly, and without the password anywhere."""
    asked = time.monotonic()
    with pytest.raises(UserError) as caught:
        Store.open(url, mode=mode)
    assert time.monotonic() - asked < within
    assert type(caught.value) is kind
    said = str(caught.value)
    assert "\n" not in said
    # The whole chain of causes with the lines of code, as a log might have it.
    assert PASSWORD not in "".join(traceback.format_exception(caught.value))
    return said


@contextmanager
def answering(data: bytes) -> Iterator[int]:
    """A port on which every first message is answered with the same bytes, and then nothing more."""

    def serve() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                with client:
                    client.recv(4096)
                    client.sendall(data)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]


class TestUnreachable:
    @pytest.mark.parametrize("mode", MODES)
    def test_no_server(self, server: Server, mode: Mode) -> None:
        said = refused(server.url("postgres", port=free_port()), DatabaseUnavailable, mode)
        assert "tester:***@127.0.0.1" in said
        assert "make sure that the server runs" in said

    def test_wrong_password(self, server: Server) -> None:
        said = refused(server.url("postgres", password="wrong-canary"), UserError)
        assert "wrong-canary" not in said
        assert "refuses this user and password" in said
        assert "PGPASSWORD" in said

    def test_no_password_and_unknown_user(self, server: Server) -> None:
        for user in ("tester", "nobody", "nobody:x"):
            assert "user and password" in refused(f"postgresql://{user}@127.0.0.1:{server.port}/postgres", UserError)

    def test_no_such_database(self, server: Server) -> None:
        said = refused(server.url("absent"), NotFound)
        assert "no such database" in said
        assert "createdb" in said

    @pytest.mark.parametrize("name", ["password", "role", "protocol", "invalid response"])
    def test_names_are_not_taken_for_reasons(self, server: Server, name: str) -> None:
        assert "no such database" in refused(server.url(name), NotFound)

    def test_no_such_host(self) -> None:
        said = refused("postgresql://me:x@absent.invalid/nas", DatabaseUnavailable, within=8)
        assert "resolve host" in said

    @pytest.mark.parametrize("answer", [b"HTTP/1.0 400 Bad Request\r\n\r\n", b"-ERR unknown command\r\n"])
    def test_another_kind_of_server(self, server: Server, answer: bytes) -> None:
        with answering(answer) as port:
            assert "no PostgreSQL server" in refused(server.url("postgres", port=port), UserError)

    def test_server_that_hangs_up(self, server: Server) -> None:
        with answering(b"") as port:
            assert "does not answer" in refused(server.url("postgres", port=port), DatabaseUnavailable)

    @pytest.mark.parametrize("parameter", ["unheard=of", "sslmode=unheard", "port=x"])
    def test_parameter_that_the_client_does_not_know(self, server: Server, parameter: str) -> None:
        said = refused(f"{server.url('postgres')}?{parameter}", UserError)
        assert "URL" in said

    def test_server_that_says_nothing(self, server: Server) -> None:
        with closing(socket.create_server(("127.0.0.1", 0))) as silent:
            said = refused(server.url("postgres", port=silent.getsockname()[1]), DatabaseUnavailable, within=8)
        assert "does not answer" in said

    def test_password_from_the_environment(self, server: Server, empty: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PGPASSWORD", PASSWORD)
        with Store.open(f"postgres://tester@127.0.0.1:{server.port}/empty", mode="create") as store:
            assert store.searches() == []

    @pytest.mark.parametrize(
        "rest",
        ["me:{}@x@host/nas", "me:{}@host:port/nas", "m/e:{}@host/nas", "me:{}@127.0.0.1:99999/nas", "me:{}@[::1/nas"],
    )
    def test_url_that_cannot_be_read(self, rest: str) -> None:
        refused("postgresql://" + rest.format(PASSWORD), UserError)


class TestContent:
    @pytest.mark.parametrize("mode", ["write", "read"])
    def test_only_create_makes_tables(self, empty: str, mode: Mode) -> None:
        assert "is empty; the first search makes its tables" in refused(empty, NotFound, mode)
        with psycopg.connect(empty) as connection:
            assert connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone() == (0,)

    @pytest.mark.parametrize("mode", MODES)
    def test_database_of_another_program(self, empty: str, mode: Mode) -> None:
        with psycopg.connect(empty) as connection:
            connection.execute("CREATE TABLE trials (x int)")
        assert "not made by nas" in refused(empty, Conflict, mode)

    @pytest.mark.parametrize(("version", "kind"), [("0001", Conflict), ("9999", NewerFormat)])
    def test_other_schema(self, empty: str, version: str, kind: type[UserError]) -> None:
        Store.open(empty, mode="create").close()
        with psycopg.connect(empty) as connection:
            connection.execute("UPDATE nas_schema_version SET version_num = %s", (version,))
        assert version in refused(empty, kind)

    def test_user_who_may_not_make_tables_or_write(self, server: Server, empty: str) -> None:
        with psycopg.connect(empty, autocommit=True) as connection:
            connection.execute("DROP ROLE IF EXISTS guest")
            connection.execute(f"CREATE ROLE guest LOGIN PASSWORD '{PASSWORD}'")
            guest = f"postgresql://guest:{PASSWORD}@127.0.0.1:{server.port}/empty"
            assert "GRANT" in refused(guest, Conflict)
            Store.open(empty, mode="create").close()
            assert "GRANT" in refused(guest, Conflict, "read")
            connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO guest")
            with Store.open(guest, mode="read") as store:
                assert store.searches() == []
            with Store.open(guest, mode="write") as store, pytest.raises(Conflict, match="GRANT"):
                store.create_search(search())
            connection.execute("DROP OWNED BY guest")
            connection.execute("DROP ROLE guest")

    def test_other_encoding(self, server: Server) -> None:
        with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
            connection.execute("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
            assert "--encoding UTF8" in refused(server.url("latin"), Conflict)
            connection.execute("DROP DATABASE latin WITH (FORCE)")

    def test_reading_cannot_write(self, empty: str) -> None:
        Store.open(empty, mode="create").close()
        with Store.open(empty, mode="read") as store:
            with pytest.raises(AssertionError, match="reading"):
                store.create_search(search())
            with pytest.raises(Conflict, match="read-only"), store._database.reading() as connection:
                connection.exec_driver_sql("DELETE FROM searches")

    def test_backup_is_left_to_pg_dump(self, empty: str, tmp_path: Path) -> None:
        with (
            Store.open(empty, mode="create") as store,
            pytest.raises(UserError, match="pg_dump") as caught,
        ):
            store.backup(tmp_path / "copy")
        assert PASSWORD not in str(caught.value)


class TestValues:
    def test_texts_with_nul(self, server: Server, empty: str) -> None:
        with Store.open(empty, mode="create") as store:
            with pytest.raises(UserError, match="NUL") as caught:
                store.create_search(search(run="a\0b"))
            assert "\n" not in str(caught.value)
            store.create_search(search())
            for wrong in ({"worker": "\0"}, {"mutation": "\0"}, {"data": "\0"}):
                with pytest.raises(UserError, match="NUL"):
                    store.record_proposals("digits", [trial(0, **wrong)], [architecture()])
            assert store.trials("digits") == []

    @pytest.mark.parametrize("wrong", [{"seed": 2**63}, {"attempts": 2**80}, {"fidelity": -(2**63) - 1}])
    def test_numbers_of_more_than_64_bits(self, empty: str, wrong: dict[str, int]) -> None:
        with Store.open(empty, mode="create") as store:
            store.create_search(search())
            with pytest.raises(UserError, match="64 bits"):
                store.record_proposals("digits", [trial(0, **wrong)], [architecture()])
            assert store.trials("digits") == []

    def test_surrogates(self, empty: str) -> None:
        with Store.open(empty, mode="create") as store, pytest.raises(UserError, match="no valid Unicode"):
            store.create_search(search(run="\ud800"))


def test_password_is_nowhere(empty: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), Store.open(empty, mode="create") as store:
        store.create_search(search())
        with pytest.raises(Conflict) as taken:
            store.create_search(search())
        with pytest.raises(NotFound) as absent:
            store.search("absent")
        shown = [store.name, repr(store), repr(store._database), repr(store._database._engine), str(vars(store))]
    said = [str(taken.value), str(absent.value), caplog.text, *shown]
    assert not [text for text in said if PASSWORD in text]
    assert "tester:***@" in store.name
