"""What a search asks of the store, in the order in which it asks."""

import subprocess
import sys
from dataclasses import replace

import pytest
from db_examples import KEY, architecture, complete, rejected, search, trial

from db import Measurement, SearchState, Store, TrialState, statements
from search_spaces.errors import Conflict, NotFound, UserError

OTHER = "0123fedc" * 4


@pytest.fixture
def begun(store: Store) -> Store:
    """A store in which `digits` has trial 0 (waiting), a rejected proposal 1, and trial 1 (proposal 2, child of 0)."""
    store.create_search(search())
    store.record_proposals("digits", [trial(0)], [architecture()])
    child = trial(2, number=1, parent=0, mutation="stem.width", key=OTHER)
    store.record_proposals("digits", [rejected(1), child], [architecture(), architecture(OTHER)])
    return store


def test_import_of_the_room_leaves_sqlalchemy_alone() -> None:
    code = "import sys, db; assert 'sqlalchemy' not in sys.modules; db.Store; assert 'sqlalchemy' in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_public_names_exist() -> None:
    import db

    assert all(getattr(db, name) for name in db.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        _ = db.nothing


class TestSearches:
    def test_taken_name_is_a_conflict_and_changes_nothing(self, store: Store) -> None:
        store.create_search(search("a b"))
        with pytest.raises(Conflict, match="nas resume 'a b'"):
            store.create_search(search("a b", seed=2))
        assert [summary.search for summary in store.searches()] == [search("a b")]

    @pytest.mark.parametrize("name", ["", " a", "a\n", "a\tb", "\ud800", "a\0", "x" * 201])
    def test_name_must_fit_on_a_line(self, store: Store, name: str) -> None:
        with pytest.raises(UserError, match="printable"):
            store.create_search(search(name))
        assert store.searches() == []

    def test_unicode_name(self, store: Store) -> None:
        store.create_search(search("Ziffern – 数字 🙂"))
        assert store.search("Ziffern – 数字 🙂").name == "Ziffern – 数字 🙂"

    def test_unknown_name_is_answered_with_the_nearest(self, store: Store) -> None:
        with pytest.raises(NotFound, match="nas list"):
            store.search("digits")
        store.create_search(search("digits"))
        with pytest.raises(NotFound, match="did you mean 'digits'"):
            store.search("digit")

    def test_summaries_count_every_state(self, begun: Store) -> None:
        begun.create_search(search("empty"))
        digits, empty = begun.searches()
        assert set(empty.counts) == set(TrialState)
        assert sum(empty.counts.values()) == 0
        assert {state: count for state, count in digits.counts.items() if count} == {
            TrialState.WAITING: 2,
            TrialState.REJECTED: 1,
        }

    def test_seed_beyond_64_bits_is_refused(self, store: Store) -> None:
        with pytest.raises(UserError, match="64 bits"):
            store.create_search(search(seed=2**63))
        assert store.searches() == []

    @pytest.mark.parametrize("before", [{}, {"driver_host": "here", "driver_pid": 1, "driver_started_at": 5.0}])
    def test_of_two_claims_after_the_same_reading_one_succeeds(self, store: Store, before: dict[str, object]) -> None:
        store.create_search(search(state=SearchState.INTERRUPTED, **before))
        previous = store.search("digits")
        claimed = store.claim_search(previous, host="here", pid=2, started_at=7.1)
        driver = {"driver_host": "here", "driver_pid": 2, "driver_started_at": 7.1}
        assert claimed == search(state=SearchState.RUNNING, **driver)
        with pytest.raises(Conflict, match="process 2 on here"):
            store.claim_search(previous, host="here", pid=3, started_at=8.0)
        assert store.search("digits") == claimed

    def test_claim_by_a_process_that_was_given_the_old_pid_is_seen(self, store: Store) -> None:
        store.create_search(search(driver_host="here", driver_pid=2, driver_started_at=5.0))
        previous = store.search("digits")
        store.claim_search(previous, host="here", pid=2, started_at=7.0)
        with pytest.raises(Conflict, match="process 2 on here"):
            store.claim_search(previous, host="here", pid=3, started_at=8.0)

    def test_release_is_for_the_driver_alone(self, store: Store) -> None:
        driven = search(driver_host="here", driver_pid=2, driver_started_at=5.0)
        store.create_search(driven)
        for host, pid, started_at in (("there", 2, 5.0), ("here", 3, 5.0), ("here", 2, 6.0)):
            with pytest.raises(Conflict):
                store.release_search("digits", host=host, pid=pid, started_at=started_at, state=SearchState.INTERRUPTED)
        assert store.search("digits") == driven
        released = store.release_search("digits", host="here", pid=2, started_at=5.0, state=SearchState.COMPLETE)
        assert released == store.search("digits") == search(state=SearchState.COMPLETE)


class TestTrials:
    def test_order_and_rejected_ones(self, begun: Store) -> None:
        assert [found.proposal for found in begun.trials("digits")] == [0, 2]
        assert [found.proposal for found in begun.trials("digits", include_rejected=True)] == [0, 1, 2]
        assert begun.rejected_count("digits") == 1
        assert begun.trial("digits", 1).parent == 0
        assert begun.trials("digits", include_rejected=True)[1] == rejected(1)

    def test_proposals_are_recorded_all_or_none(self, begun: Store) -> None:
        before = begun.trials("digits", include_rejected=True)
        with pytest.raises(Conflict, match="another driver"):
            begun.record_proposals("digits", [trial(3, key="f" * 32), trial(2)], [architecture("f" * 32)])
        assert begun.trials("digits", include_rejected=True) == before
        with pytest.raises(NotFound):
            begun.architecture("f" * 32)

    @pytest.mark.parametrize(
        "wrong",
        [
            {"number": 1},
            {"key": "e" * 32},
            {"parent": 7},
            {"number": None},
            {"state": TrialState.REJECTED},
            {"attempts": -1},
        ],
    )
    def test_what_contradicts_itself_or_the_record_is_refused(self, begun: Store, wrong: dict[str, object]) -> None:
        with pytest.raises(Conflict):
            begun.record_proposals("digits", [trial(3, **wrong)], [])
        begun.record_proposals("digits", [trial(3)], [])

    def test_architecture_stays_as_it_was_first_recorded(self, begun: Store) -> None:
        begun.record_proposals("digits", [], [architecture(KEY, params=1)])
        assert begun.architecture(KEY) == architecture()

    def test_attempts_until_the_end(self, begun: Store) -> None:
        begun.start_attempt("digits", 0, worker="ray-1", attempt=1, started_at=5.0)
        assert begun.trial("digits", 0) == trial(state=TrialState.RUNNING, worker="ray-1", attempts=1, started_at=5.0)
        begun.start_attempt("digits", 0, worker="ray-2", attempt=2, started_at=6.0)
        ended = complete(trial(), attempts=2, worker="ray-2", started_at=6.0, observed=0)
        measured = [Measurement(2, {"val_accuracy": 0.9}), Measurement(1, {"val_accuracy": 0.5})]
        begun.finish_trial("digits", ended, measured)
        assert begun.trial("digits", 0) == ended
        assert begun.measurements("digits", 0) == measured[::-1]
        assert begun.measurements("digits", 1) == []

    def test_trial_ends_once(self, begun: Store) -> None:
        ended = complete(trial())
        begun.finish_trial("digits", ended, [Measurement(1, {"loss": 1.0})])
        with pytest.raises(Conflict, match="trial 0 is neither waiting nor running"):
            begun.finish_trial("digits", replace(ended, seconds=9.0), [Measurement(2, {"loss": 0.5})])
        with pytest.raises(Conflict, match="trial 0"):
            begun.start_attempt("digits", 0, worker="serial", attempt=2, started_at=1.0)
        with pytest.raises(Conflict, match="trial 9"):
            begun.start_attempt("digits", 9, worker="serial", attempt=1, started_at=1.0)
        assert begun.trial("digits", 0) == ended
        assert begun.measurements("digits", 0) == [Measurement(1, {"loss": 1.0})]

    def test_result_is_kept_whole_or_not_at_all(self, begun: Store) -> None:
        with pytest.raises(Conflict):
            begun.finish_trial("digits", complete(trial()), [Measurement(1, {"loss": 1.0}), Measurement(0, {})])
        assert begun.trial("digits", 0) == trial()
        assert begun.measurements("digits", 0) == []

    def test_running_trials_wait_again_with_their_attempts(self, begun: Store) -> None:
        begun.start_attempt("digits", 0, worker="ray-1", attempt=2, started_at=5.0)
        begun.finish_trial("digits", complete(trial(2, number=1, parent=0, mutation="stem.width", key=OTHER)), [])
        assert begun.return_to_waiting("digits") == 1
        first, second = begun.trials("digits")
        assert (first.state, first.attempts) == (TrialState.WAITING, 2)
        assert second.state is TrialState.COMPLETE
        assert begun.return_to_waiting("digits") == 0

    def test_observations_in_their_order(self, begun: Store) -> None:
        begun.record_proposals("digits", [rejected(3, observed=0)], [])
        begun.finish_trial("digits", complete(trial(2, number=1), observed=1), [])
        begun.finish_trial("digits", complete(trial(0), observed=2), [])
        assert [found.proposal for found in begun.observed("digits")] == [3, 2, 0]

    def test_two_trials_are_not_observed_as_the_same(self, begun: Store) -> None:
        begun.finish_trial("digits", complete(trial(0), observed=0), [])
        with pytest.raises(Conflict):
            begun.finish_trial("digits", complete(trial(2, number=1), observed=0), [])

    def test_weights_are_marked_and_unmarked(self, begun: Store) -> None:
        assert not begun.weights_in_use("ab" * 32)
        begun.set_weights("digits", 0, "ab" * 32)
        assert begun.weights_in_use("ab" * 32)
        assert begun.trial("digits", 0).weights_sha256 == "ab" * 32
        begun.set_weights("digits", 0, None)
        assert not begun.weights_in_use("ab" * 32)
        assert begun.trial("digits", 0).weights_sha256 is None
        with pytest.raises(NotFound, match="no trial 9"):
            begun.set_weights("digits", 9, None)

    def test_weights_that_trials_share_are_in_use_until_the_last_lets_go(self, begun: Store) -> None:
        begun.finish_trial("digits", complete(trial(), weights_sha256="ab" * 32), [])
        begun.create_search(search("other"))
        begun.record_proposals("other", [trial(0)], [])
        reused = complete(trial(0), reused_from=("digits", 0), weights_sha256="ab" * 32)
        begun.finish_trial("other", reused, [])
        assert begun.trial("other", 0) == reused
        begun.set_weights("digits", 0, None)
        assert begun.weights_in_use("ab" * 32)
        begun.set_weights("other", 0, None)
        assert not begun.weights_in_use("ab" * 32)

    def test_unknown_search_and_trial(self, begun: Store) -> None:
        asked = [
            begun.trials,
            begun.observed,
            begun.rejected_count,
            begun.return_to_waiting,
            lambda name: begun.trial(name, 0),
            lambda name: begun.measurements(name, 0),
            lambda name: begun.set_weights(name, 0, None),
            lambda name: begun.record_proposals(name, [trial(5)], []),
            lambda name: begun.start_attempt(name, 0, worker="serial", attempt=1, started_at=1.0),
            lambda name: begun.finish_trial(name, complete(trial()), [Measurement(1, {})]),
        ]
        for ask in asked:
            with pytest.raises(NotFound, match="no search 'absent'"):
                ask("absent")
        with pytest.raises(NotFound, match="no trial 9"):
            begun.trial("digits", 9)
        with pytest.raises(NotFound, match="no trial 9"):
            begun.measurements("digits", 9)

    def test_searches_do_not_see_each_other(self, begun: Store) -> None:
        begun.create_search(search("other"))
        begun.record_proposals("other", [trial(0, seed=99)], [architecture()])
        begun.finish_trial("other", complete(trial(0, seed=99)), [Measurement(1, {"loss": 1.0})])
        assert begun.trial("digits", 0) == trial()
        assert begun.measurements("digits", 0) == []
        assert [found.seed for found in begun.trials("other")] == [99]


class TestArchitectures:
    def test_known_is_the_earliest_real_result(self, begun: Store) -> None:
        key, evaluation = KEY, trial().evaluation_key
        assert begun.known(key, evaluation) is None
        late = complete(trial(), finished_at=200.0)
        begun.finish_trial("digits", late, [])
        assert begun.known(key, evaluation) == ("digits", late)
        begun.create_search(search("second"))
        early = complete(trial(), finished_at=100.0)
        copied = complete(trial(1), finished_at=50.0, reused_from=("digits", 0))
        diverged = complete(trial(2), finished_at=40.0, state=TrialState.DIVERGED)
        begun.record_proposals("second", [early, copied, diverged], [])
        assert begun.known(key, evaluation) == ("second", early)
        assert begun.known(key, evaluation + "!") is None
        assert begun.known(OTHER, evaluation) is None

    def test_prefix(self, begun: Store) -> None:
        assert begun.architecture(KEY[:5].upper()) == architecture()
        assert begun.architecture(OTHER) == architecture(OTHER)
        with pytest.raises(UserError, match=f"ambiguous.*{OTHER[:4]}") as caught:
            begun.architecture("0123")
        assert KEY in str(caught.value)
        assert OTHER in str(caught.value)
        with pytest.raises(NotFound, match="nas results"):
            begun.architecture("01234f")
        for wrong in ("012", "", "0123%", "0123_", "wxyz"):
            with pytest.raises(UserError, match="hexadecimal"):
                begun.architecture(wrong)

    def test_many_at_once(self, begun: Store) -> None:
        made = {f"{number:032x}": architecture(f"{number:032x}", params=number) for number in range(1200)}
        begun.record_proposals("digits", [], list(made.values()))
        assert begun.architectures([*made, *made, "f" * 32]) == made
        assert begun.architectures([]) == {}

    def test_history_over_all_searches(self, begun: Store) -> None:
        begun.create_search(search("another"))
        begun.record_proposals("another", [trial(0)], [])
        assert [(name, found.proposal) for name, found in begun.history(KEY)] == [
            ("digits", 0),
            ("digits", 1),
            ("another", 0),
        ]
        assert begun.history("f" * 32) == []


ASKED = {"in_search": "digits", "at_number": 0, "at_proposal": 0, "key": KEY, "evaluation_key": "x", "sha256": "x"}
BOUNDS = {"first": "01234", "beyond": "01234g"}


@pytest.mark.parametrize(
    "name",
    [
        "SEARCH_ID",
        "TRIAL",
        "ADMITTED_TRIALS",
        "ALL_TRIALS",
        "KNOWN",
        "HISTORY",
        "MEASUREMENTS",
        "WEIGHTS_IN_USE",
        "ARCHITECTURES_BETWEEN",
    ],
)
def test_no_question_reads_a_whole_table(begun: Store, name: str) -> None:
    statement = getattr(statements, name).params(ASKED | BOUNDS)
    with begun._database.reading() as connection:
        query = statement.compile(connection, compile_kwargs={"literal_binds": True})
        if connection.dialect.name == "sqlite":
            plan = [row[-1] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}")]
        else:
            # Of small tables PostgreSQL reads all, unless there is no index to read and it is told not to.
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
            plan = [row[0].strip(" ->") for row in connection.exec_driver_sql(f"EXPLAIN {query}")]
    assert plan
    assert not [step for step in plan if step.startswith(("SCAN", "Seq Scan")) or "AUTOMATIC" in step]
