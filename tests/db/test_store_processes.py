"""Several processes on one database, some of which are killed."""

import random
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from db_examples import architecture, search, trial
from db_process import EPOCHS

from db import SearchState, Store, TrialState

PROCESS = Path(__file__).parent / "db_process.py"


def start(*arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, str(PROCESS), *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def created(directory: Path) -> str:
    path = str(directory / "nas.db")
    with Store.open(path, mode="create") as store:
        store.create_search(search())
    return path


def assert_whole_results(store: Store) -> int:
    """Every finished trial has all its measurements, every other none; returns how many are finished."""
    finished = 0
    for found in store.trials("digits"):
        assert found.number is not None
        # Read before its measurements, a trial may have ended since; never the other way round.
        measured = store.measurements("digits", found.number)
        if found.state is TrialState.COMPLETE:
            finished += 1
            assert [one.epoch for one in measured] == list(range(1, EPOCHS + 1))
        else:
            assert len(measured) in (0, EPOCHS)
    return finished


def test_reader_beside_a_writer(tmp_path: Path) -> None:
    path = created(tmp_path)
    with start("write", path, "digits") as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        seen = []
        with Store.open(path, mode="read") as reader:
            while len(seen) < 3 or seen[-1] < seen[0] + 20:
                seen.append(assert_whole_results(reader))
        assert writer.poll() is None
        writer.kill()
    assert seen == sorted(seen)


def test_two_writers_wait_for_each_other(tmp_path: Path) -> None:
    path = created(tmp_path)
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


def test_killed_writer_leaves_whole_results(tmp_path: Path) -> None:
    path = created(tmp_path)
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
            assert assert_whole_results(store) - (acknowledged + 1) in (0, 1)
            states = [found.state for found in store.trials("digits")]
            assert all(state is TrialState.COMPLETE for state in states[:-1])
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


def test_processes_that_create_and_claim_at_once(tmp_path: Path) -> None:
    path = str(tmp_path / "nas.db")
    racers = [start("race", path, f"own {number}") for number in range(4)]
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
    with Store.open(path, mode="read") as store:
        names = {summary.search.name for summary in store.searches()}
        assert names == {"wanted", *(f"own {number}" for number in range(4))}
        (winner,) = (racer for racer, (_, claim) in zip(racers, outcomes, strict=True) if claim == "claimed")
        assert store.search("wanted").driver_pid == winner.pid
        assert store.search("wanted").state is SearchState.RUNNING
