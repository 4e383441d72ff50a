"""A write whose answer was lost may be repeated: what is stored already is left alone, anything else is a conflict."""

from dataclasses import replace

import pytest
from db_examples import KEY, architecture, complete, rejected, search, trial

from db import Measurement, SearchState, Store, TrialState
from search_spaces.errors import Conflict

OTHER = "f" * 32
PROPOSED = [rejected(0, observed=0), trial(1, number=0), trial(2, number=1, parent=0, key=OTHER)]
ARCHITECTURES = [architecture(), architecture(OTHER)]
MEASURED = [Measurement(1, {"loss": 1.0}), Measurement(2, {"loss": 0.5})]


@pytest.fixture
def begun(store: Store) -> Store:
    store.create_search(search())
    store.record_proposals("digits", PROPOSED, ARCHITECTURES)
    return store


def test_proposals(begun: Store) -> None:
    begun.record_proposals("digits", PROPOSED, ARCHITECTURES)
    assert begun.trials("digits", include_rejected=True) == PROPOSED


def test_proposal_that_is_handed_out_otherwise(begun: Store) -> None:
    """Who repeats it asks the clock again, and may have another worker for it."""
    running = trial(3, number=2, state=TrialState.RUNNING, attempts=1, worker="a", started_at=1.0)
    begun.record_proposals("digits", [running], [])
    again = replace(running, worker="b", started_at=2.0)
    begun.record_proposals("digits", [again], [])
    assert begun.trial("digits", 2) == again
    begun.record_proposals("digits", [trial(3, number=2)], [])
    assert begun.trial("digits", 2) == trial(3, number=2)


@pytest.mark.parametrize("wrong", [{"seed": 12}, {"key": KEY}, {"parent": None}, {"information": {"a": 1}}])
def test_other_proposal_under_the_same_number(begun: Store, wrong: dict[str, object]) -> None:
    with pytest.raises(Conflict, match="contradicts"):
        begun.record_proposals("digits", [*PROPOSED[:2], replace(PROPOSED[2], **wrong)], ARCHITECTURES)
    assert begun.trials("digits", include_rejected=True) == PROPOSED


def test_repeat_beside_something_new_changes_nothing(begun: Store) -> None:
    moved = replace(PROPOSED[1], worker="b", state=TrialState.RUNNING, attempts=1)
    with pytest.raises(Conflict, match="contradicts"):
        begun.record_proposals("digits", [moved, trial(3, number=2)], [architecture("e" * 32)])
    assert begun.trials("digits", include_rejected=True) == PROPOSED


def test_proposal_of_a_trial_that_has_ended(begun: Store) -> None:
    begun.finish_trial("digits", complete(PROPOSED[1]), [])
    with pytest.raises(Conflict, match="contradicts"):
        begun.record_proposals("digits", [PROPOSED[1]], [])
    assert begun.trial("digits", 0) == complete(PROPOSED[1])


def test_attempt(begun: Store) -> None:
    for _ in range(2):
        begun.start_attempt("digits", 0, worker="w", attempt=1, started_at=1.0)
    found = begun.trial("digits", 0)
    assert found == replace(PROPOSED[1], state=TrialState.RUNNING, worker="w", attempts=1, started_at=1.0)


def test_end(begun: Store) -> None:
    ended = complete(PROPOSED[1], observed=1, values={"params": 7, "loss": float("nan")}, state=TrialState.DIVERGED)
    begun.finish_trial("digits", ended, MEASURED)
    begun.finish_trial("digits", ended, MEASURED)
    begun.finish_trial("digits", replace(ended, finished_at=9e9), MEASURED)
    assert begun.trial("digits", 0).finished_at == ended.finished_at
    assert begun.measurements("digits", 0) == MEASURED
    assert len(begun.observed("digits")) == 2


@pytest.mark.parametrize(
    "wrong", [{"observed": 2}, {"state": TrialState.FAILED}, {"values": {}}, {"weights_sha256": "ab" * 32}]
)
def test_other_end(begun: Store, wrong: dict[str, object]) -> None:
    ended = complete(PROPOSED[1], observed=1)
    begun.finish_trial("digits", ended, MEASURED)
    with pytest.raises(Conflict, match="neither waiting nor running"):
        begun.finish_trial("digits", replace(ended, **wrong), MEASURED)
    assert begun.trial("digits", 0) == ended


DRIVER = {"host": "here", "pid": 2, "started_at": 5.0}


def test_search_that_is_driven(store: Store) -> None:
    driven = search(driver_host="here", driver_pid=2, driver_started_at=5.0)
    store.create_search(driven)
    store.create_search(driven)
    store.record_proposals("digits", PROPOSED, ARCHITECTURES)
    for other in (search(), replace(driven, driver_pid=3), replace(driven, seed=2)):
        with pytest.raises(Conflict, match="already"):
            store.create_search(other)
    store.renew_search("digits")
    assert [summary.search for summary in store.searches()] == [driven]


def test_claim_and_release(store: Store) -> None:
    store.create_search(search())
    previous = store.search("digits")
    for _ in range(2):
        store.claim_search(previous, **DRIVER)
    store.record_proposals("digits", PROPOSED, ARCHITECTURES)
    for _ in range(2):
        released = store.release_search("digits", **DRIVER, state=SearchState.COMPLETE)
        assert released == store.search("digits") == search(state=SearchState.COMPLETE)
    with pytest.raises(Conflict, match="driven by nobody"):
        store.release_search("digits", **DRIVER, state=SearchState.INTERRUPTED)
