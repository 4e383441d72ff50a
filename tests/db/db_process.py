"""A process beside the test, started with `start`: each does as is said at its function."""

import itertools
import os
import subprocess
import sys
import time
import traceback
from pathlib import Path

from db_examples import architecture, complete, search, trial

from db import Measurement, Store, TrialState
from search_spaces.errors import Conflict

EPOCHS = 3


def start(*arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, str(Path(__file__)), *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def count_whole_results(store: Store, name: str = "digits", latest: int | None = None) -> int:
    """How many trials, or of the latest ones, are finished; each of these has all its measurements, others have none."""
    finished = 0
    for found in store.trials(name)[-(latest or 0) :]:
        assert found.number is not None
        # Read before its measurements, a trial may have ended since; never the other way round.
        measured = store.measurements(name, found.number)
        if found.state is TrialState.COMPLETE:
            finished += 1
            assert [one.epoch for one in measured] == list(range(1, EPOCHS + 1))
        else:
            assert len(measured) in (0, EPOCHS)
    return finished


def write(path: str, name: str) -> None:
    """Continues the search for ever; prints a trial's number once its result is stored."""
    with Store.open(path, mode="write") as store:
        store.return_to_waiting(name)
        for left in store.trials(name):
            if not left.state.is_finished:
                finish(store, name, left.number or 0)
        number = len(store.trials(name))
        while True:
            store.record_proposals(name, [trial(number)], [architecture()])
            finish(store, name, number)
            number += 1


def finish(store: Store, name: str, number: int) -> None:
    store.start_attempt(name, number, worker="w", attempt=1, started_at=1.0)
    measured = [Measurement(epoch, {"loss": 1 / epoch}) for epoch in range(1, EPOCHS + 1)]
    store.finish_trial(name, complete(trial(number)), measured)
    print(number, flush=True)


def drive(url: str, host: str) -> None:
    """Claims `digits` as a process of that host, and finishes trials until another has it; prints their numbers."""
    with Store.open(url, mode="write") as store:
        store.claim_search(store.search("digits"), host=host, pid=os.getpid(), started_at=1.0)
        try:
            store.return_to_waiting("digits")
            left = [one.number or 0 for one in store.trials("digits") if not one.state.is_finished]
            for number in itertools.chain(left, itertools.count(len(store.trials("digits")))):
                if number not in left:
                    store.record_proposals("digits", [trial(number)], [architecture()])
                store.start_attempt("digits", number, worker=host, attempt=1, started_at=1.0)
                measured = [Measurement(epoch, {"loss": 1 / epoch}) for epoch in range(1, EPOCHS + 1)]
                store.finish_trial("digits", complete(trial(number), worker=host), measured)
                print(number, flush=True)
        except Conflict as error:
            assert "changed hands" in str(error)
            print("replaced", flush=True)


def race(path: str, name: str) -> None:
    """With others at the same time: makes the file, adds a search of its own, and claims the one they all want."""
    print("ready", flush=True)
    sys.stdin.readline()
    with Store.open(path, mode="create") as store:
        store.create_search(search(name))
        try:
            store.create_search(search("wanted"))
        except Conflict:
            print("taken", flush=True)
        else:
            print("created", flush=True)
        try:
            store.claim_search(search("wanted"), host="here", pid=os.getpid(), started_at=1.0)
        except Conflict:
            print("lost", flush=True)
        else:
            print("claimed", flush=True)


def read(url: str, processes: str, seconds: str) -> None:
    """Reads in so many processes at once for so long, opening the database every time; prints how often altogether."""
    pipe, written = os.pipe()
    children = []
    # Forked, for the imports of so many would take longer than their reading.
    for _ in range(int(processes)):
        child = os.fork()
        if child == 0:
            os._exit(_read_until(url, time.monotonic() + float(seconds), written))
        children.append(child)
    os.close(written)
    failed = [child for child in children if os.waitpid(child, 0)[1] != 0]
    with os.fdopen(pipe) as lines:
        print(sum(map(int, lines)), flush=True)
    sys.exit(bool(failed))


def _read_until(url: str, deadline: float, written: int) -> int:
    readings = 0
    try:
        while time.monotonic() < deadline:
            with Store.open(url, mode="read") as store:
                count_whole_results(store, latest=3)
                (summary,) = store.searches()
                # Of one moment: the writer has at most one trial that is not finished.
                assert sum(summary.counts.values()) - summary.counts[TrialState.COMPLETE] <= 1
            readings += 1
        os.write(written, f"{readings}\n".encode())
    except Exception:  # noqa: BLE001 - what has gone wrong is for the test to see
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    {"write": write, "race": race, "read": read, "drive": drive}[sys.argv[1]](*sys.argv[2:])
