"""A PostgreSQL server that stops, crashes, comes back, or whose answer is lost, in the middle of a search."""

import time
from collections.abc import Iterator

import pytest
from db_examples import architecture, complete, search, trial
from lossy_proxy import LossyProxy
from postgresql_server import PASSWORD, Server

from db import Measurement, Store, postgresql
from search_spaces.errors import DatabaseUnavailable

MEASURED = [Measurement(1, {"loss": 1.0})]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """One of our own, which may be stopped."""
    started = Server()
    yield started
    started.close()


@pytest.fixture
def begun(server: Server) -> Iterator[Store]:
    """A store on it in which `digits` is driven and has a waiting trial; everything is gone afterwards."""
    with Store.open(server.url("postgres"), mode="create") as store:
        store.create_search(search(driver_host="here", driver_pid=2, driver_started_at=5.0))
        store.record_proposals("digits", [trial(0)], [architecture()])
        yield store
        with store._database.writing() as connection:
            connection.exec_driver_sql("TRUNCATE searches, architectures, trials, measurements")


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_stopped_server_is_unavailable_and_what_comes_after_it_is_served(
    server: Server, begun: Store, mode: str
) -> None:
    ended = complete(trial(0), observed=0)
    server.stop(mode)
    try:
        for ask in (
            lambda: begun.finish_trial("digits", ended, MEASURED),
            lambda: begun.renew_search("digits"),
            lambda: begun.trials("digits"),
        ):
            asked = time.monotonic()
            with pytest.raises(DatabaseUnavailable, match=r"does not answer.*try again") as caught:
                ask()
            assert time.monotonic() - asked < 5
            assert "\n" not in str(caught.value)
            assert PASSWORD not in repr(caught.value)
        with pytest.raises(DatabaseUnavailable):
            Store.open(server.url("postgres"), mode="read")
    finally:
        server.start()
    begun.finish_trial("digits", ended, MEASURED)
    assert begun.trial("digits", 0) == ended
    assert begun.measurements("digits", 0) == MEASURED


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_server_that_was_started_anew_meanwhile_costs_nothing(server: Server, begun: Store, mode: str) -> None:
    before = begun.lease("digits")
    server.stop(mode)
    server.start()
    begun.renew_search("digits")
    after = begun.lease("digits")
    assert before is not None
    assert after is not None
    assert after.token == before.token
    assert begun.trials("digits") == [trial(0)]


def test_server_that_stops_within_a_transaction_keeps_nothing_of_it(server: Server, begun: Store) -> None:
    with (
        pytest.raises(DatabaseUnavailable),
        begun._leases.writing("digits") as (connection, _),
    ):
        connection.exec_driver_sql("UPDATE trials SET state = 'running'")
        server.stop("immediate")
        server.start()
    assert begun.trials("digits") == [trial(0)]


def test_connection_that_the_server_ends(server: Server, begun: Store) -> None:
    """As an administrator does, or the server itself with a client that holds a transaction open for too long."""
    with (
        Store.open(server.url("postgres"), mode="write") as other,
        pytest.raises(DatabaseUnavailable),
        begun._leases.writing("digits") as (connection, _),
    ):
        (driver,) = connection.exec_driver_sql("SELECT pg_backend_pid()").one()
        with other._database.reading() as administrator:
            administrator.exec_driver_sql(f"SELECT pg_terminate_backend({driver}, 5000)")
        connection.exec_driver_sql("UPDATE trials SET state = 'running'")
    assert begun.trials("digits") == [trial(0)]


def test_writer_that_was_stopped_for_too_long(server: Server, monkeypatch: pytest.MonkeyPatch, begun: Store) -> None:
    """It holds the lock of its search, so the server gives it up; others that wait for it go on."""
    monkeypatch.setattr(postgresql, "IDLE_WRITER_SECONDS", 0.5)
    with Store.open(server.url("postgres"), mode="write") as stopped:
        stopped.claim_search(stopped.search("digits"), host="here", pid=2, started_at=5.0)
        with pytest.raises(DatabaseUnavailable), stopped._leases.writing("digits") as (connection, _):
            connection.exec_driver_sql("UPDATE trials SET state = 'running'")
            begun.claim_search(begun.search("digits"), host="here", pid=2, started_at=5.0)
            connection.exec_driver_sql("UPDATE trials SET state = 'running'")
    begun.start_attempt("digits", 0, worker="w", attempt=1, started_at=1.0)


@pytest.mark.parametrize("write", ["finish_trial", "record_proposals", "start_attempt", "renew_search"])
def test_commit_whose_answer_is_lost_is_repeated(server: Server, begun: Store, write: str) -> None:
    ended = complete(trial(0), observed=0)
    proxy = LossyProxy(server.port)
    with Store.open(server.url("postgres", port=proxy.port), mode="write") as driver:
        driver.claim_search(driver.search("digits"), host="here", pid=2, started_at=5.0)
        writes = {
            "finish_trial": lambda: driver.finish_trial("digits", ended, MEASURED),
            "record_proposals": lambda: driver.record_proposals("digits", [trial(1)], [architecture("f" * 32)]),
            "start_attempt": lambda: driver.start_attempt("digits", 0, worker="w", attempt=1, started_at=1.0),
            "renew_search": lambda: driver.renew_search("digits"),
        }
        before = begun.lease("digits")
        proxy.lose_next_commit()
        with pytest.raises(DatabaseUnavailable):
            writes[write]()
        assert proxy.lost.is_set()
        # It is stored for all that, as the others see.
        happened = (begun.trials("digits"), begun.lease("digits").seen_at != before.seen_at)
        assert happened != ([trial(0)], False)
        writes[write]()
        assert begun.trials("digits") == happened[0]
        assert begun.measurements("digits", 0) == (MEASURED if write == "finish_trial" else [])
    proxy.close()
