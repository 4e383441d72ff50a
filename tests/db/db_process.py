"""A process beside the test: `write PATH SEARCH` finishes trials without end, `race PATH NAME` creates and claims."""

import os
import sys

from db_examples import architecture, complete, search, trial

from db import Measurement, Store
from search_spaces.errors import Conflict

EPOCHS = 3


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


if __name__ == "__main__":
    {"write": write, "race": race}[sys.argv[1]](*sys.argv[2:])
