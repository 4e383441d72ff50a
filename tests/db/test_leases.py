"""Who may write to a search: the driver that holds it, and after a minute of silence another."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from db_examples import architecture, complete, search, trial

from db import Search, SearchState, Store
from db.leases import LEASE_SECONDS
from search_spaces.errors import Conflict

HERE = {"host": "here", "pid": 2, "started_at": 5.0}
THERE = {"host": "there", "pid": 3, "started_at": 6.0}


def driven(**changes: object) -> Search:
    return search(driver_host="here", driver_pid=2, driver_started_at=5.0, **changes)


@pytest.fixture
def other(store: Store, url: str) -> Iterator[Store]:
    """A second store on the same database, as another process has it; `digits` is driven through the first."""
    store.create_search(driven())
    store.record_proposals("digits", [trial(0)], [architecture()])
    opened = Store.open(url, mode="write")
    yield opened
    opened.close()


def let_pass(store: Store, seconds: float) -> None:
    """Makes the lease of `digits` older, as time would."""
    with store._database.writing() as connection:
        connection.exec_driver_sql(f"UPDATE searches SET driver_seen_at = driver_seen_at - {seconds}")


WRITES: dict[str, Callable[[Store], object]] = {
    "record_proposals": lambda store: store.record_proposals("digits", [trial(1)], []),
    "start_attempt": lambda store: store.start_attempt("digits", 0, worker="w", attempt=1, started_at=1.0),
    "finish_trial": lambda store: store.finish_trial("digits", complete(trial(0)), []),
    "return_to_waiting": lambda store: store.return_to_waiting("digits"),
    "set_weights": lambda store: store.set_weights("digits", 0, "ab" * 32),
    "renew_search": lambda store: store.renew_search("digits"),
    "release_search": lambda store: store.release_search("digits", **HERE, state=SearchState.COMPLETE),
}


@pytest.mark.parametrize("name", WRITES)
def test_replaced_driver_writes_nothing_any_more(store: Store, other: Store, name: str) -> None:
    claimed = other.claim_search(other.search("digits"), **HERE)
    lease = other.lease("digits")
    with pytest.raises(Conflict, match="changed hands and is driven by process 2 on here"):
        WRITES[name](store)
    assert other.trials("digits") == [trial(0)]
    assert other.search("digits") == claimed
    after = other.lease("digits")
    assert lease is not None
    assert after is not None
    assert (after.token, after.seen_at) == (lease.token, lease.seen_at)
    WRITES[name](other)


@pytest.mark.parametrize("name", WRITES)
def test_who_never_claimed_a_driven_search_writes_nothing(store: Store, other: Store, name: str) -> None:
    with pytest.raises(Conflict, match="changed hands"):
        WRITES[name](other)
    assert store.trials("digits") == [trial(0)]


def test_driver_that_released_its_search_gets_no_more_in_after_another_came_and_went(
    store: Store, other: Store
) -> None:
    other.claim_search(other.search("digits"), **HERE)
    other.release_search("digits", **HERE, state=SearchState.INTERRUPTED)
    with pytest.raises(Conflict, match="driven by nobody"):
        store.finish_trial("digits", complete(trial(0)), [])
    assert other.lease("digits") is None


@pytest.mark.parametrize("age", [0.0, LEASE_SECONDS - 5, 5 - LEASE_SECONDS])
def test_other_host_waits_for_a_young_lease(store: Store, other: Store, age: float) -> None:
    """Young is also what seems to come from the future, after a clock was put back."""
    let_pass(store, age)
    with pytest.raises(Conflict, match="driven by process 2 on here, which was seen"):
        other.claim_search(other.search("digits"), **THERE)
    store.renew_search("digits")


def test_other_host_takes_over_after_a_minute(store: Store, other: Store) -> None:
    let_pass(store, LEASE_SECONDS + 1)
    claimed = other.claim_search(other.search("digits"), **THERE)
    assert (claimed.driver_host, claimed.driver_pid) == ("there", 3)
    with pytest.raises(Conflict, match="process 3 on there"):
        store.renew_search("digits")


def test_renewal_keeps_the_lease_young(store: Store, other: Store) -> None:
    let_pass(store, LEASE_SECONDS + 1)
    before = store.lease("digits")
    store.renew_search("digits")
    after = store.lease("digits")
    assert before is not None
    assert after is not None
    assert not before.is_young
    assert after.is_young
    assert after.token == before.token
    with pytest.raises(Conflict, match="was seen"):
        other.claim_search(other.search("digits"), **THERE)


def test_same_host_does_not_wait(store: Store, other: Store) -> None:
    """There the process itself can be looked for, which `nas.driver` does."""
    other.claim_search(other.search("digits"), host="here", pid=9, started_at=9.0)
    assert other.search("digits").driver_pid == 9


def test_search_without_a_driver_has_no_lease(store: Store) -> None:
    store.create_search(search())
    assert store.lease("digits") is None
    store.renew_search("digits")
    assert store.lease("digits") is None
    claimed = store.claim_search(store.search("digits"), **THERE)
    assert claimed == replace(search(), driver_host="there", driver_pid=3, driver_started_at=6.0)
    lease = store.lease("digits")
    assert lease is not None
    assert abs(lease.age_seconds) < 30
