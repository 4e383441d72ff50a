"""Several processes on one database, some of which are killed."""

import random
import signal

import pytest
from db_examples import architecture, search, trial
from db_process import count_whole_results, start

from db import SearchState, Store, TrialState


@pytest.fixture
def path(url: str) -> str:
    """The URL of a database with an empty search `digits`, on each engine."""
    with Store.open(url, mode="create") as store:
        store.create_search(search())
    return url


def test_reader_beside_a_writer(path: str) -> None:
    with start("write", path, "digits") as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        seen = []
        with Store.open(path, mode="read") as reader:
            while len(seen) < 3 or seen[-1] < seen[0] + 20:
                seen.append(count_whole_results(reader))
        assert writer.poll() is None
        writer.kill()
    assert seen == sorted(seen)


def test_two_writers_wait_for_each_other(path: str) -> None:
    with start("write", path, "digits") as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        with Store.open(path, mode="write") as store:
            store.create_search(search("second"))
            for number in range(50):
                store.record_proposals("second", [trial(number)], [architecture()])
            assert len(store.trials("second")) == 50
        assert writer.poll() is None
        writer.kill()


def test_killed_writer_leaves_whole_results(path: str) -> None:
    rng = random.Random(0)
    acknowledged = -1
    for _ in range(3):
        with start("write", path, "digits") as writer:
            assert writer.stdout is not None
            for _ in range(rng.randint(5, 25)):
                acknowledged = int(writer.stdout.readline())
            writer.send_signal(signal.SIGKILL)
            # What it printed between our last reading and its end.
            acknowledged = max([acknowledged, *map(int, writer.stdout.read().split())])
        with Store.open(path, mode="read") as store:
            # The result of one more trial may be stored whose number was not printed any more.
            assert count_whole_results(store) - (acknowledged + 1) in (0, 1)
            states = [found.state for found in store.trials("digits")]
            assert all(state is TrialState.COMPLETE for state in states[:-1])
    with Store.open(path, mode="read") as store, store._database.reading() as connection:
        assert store._database.problems(connection) == []


def test_processes_that_create_and_claim_at_once(url: str) -> None:
    racers = [start("race", url, f"own {number}") for number in range(4)]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    outcomes = []
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    for racer in racers:
        printed, _ = racer.communicate()
        assert racer.returncode == 0
        outcomes.append(printed.split())
    assert sorted(creation for creation, _ in outcomes) == ["created", "taken", "taken", "taken"]
    assert sorted(claim for _, claim in outcomes) == ["claimed", "lost", "lost", "lost"]
    with Store.open(url, mode="read") as store:
        names = {summary.search.name for summary in store.searches()}
        assert names == {"wanted", *(f"own {number}" for number in range(4))}
        (winner,) = (racer for racer, (_, claim) in zip(racers, outcomes, strict=True) if claim == "claimed")
        assert store.search("wanted").driver_pid == winner.pid
        assert store.search("wanted").state is SearchState.RUNNING


def test_driver_that_is_replaced_in_full_run_writes_nothing_any_more(path: str) -> None:
    with start("drive", path, "first") as first, Store.open(path, mode="write") as store:
        assert first.stdout is not None
        mine = {int(first.stdout.readline()) for _ in range(5)}
        with store._database.writing() as connection:
            # As if it had not been seen for an hour.
            connection.exec_driver_sql("UPDATE searches SET driver_seen_at = driver_seen_at - 3600")
        with start("drive", path, "second") as second:
            assert second.stdout is not None
            theirs = {int(second.stdout.readline()) for _ in range(5)}
            printed, _ = first.communicate(timeout=60)
            assert printed.split()[-1] == "replaced"
            mine |= set(map(int, printed.split()[:-1]))
            second.kill()
            theirs |= set(map(int, second.stdout.read().split()))
        assert not mine & theirs
        assert count_whole_results(store) >= len(mine | theirs)
        by_worker = {found.number: found.worker for found in store.trials("digits")}
    assert {by_worker[number] for number in mine} == {"first"}
    assert {by_worker[number] for number in theirs} == {"second"}


@pytest.mark.slow
def test_many_readers_never_wait_nor_see_half_of_anything(path: str) -> None:
    with start("write", path, "digits") as writer:
        assert writer.stdout is not None
        first = int(writer.stdout.readline())
        with start("read", path, "32", "3") as readers:
            printed, _ = readers.communicate()
        assert readers.returncode == 0
        assert writer.poll() is None
        writer.kill()
        last = int(writer.stdout.read().split()[-1])
    assert int(printed) >= 32
    assert last > first
