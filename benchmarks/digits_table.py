"""Makes the table of trained networks that ships with nas: every distinct cell of a small space, trained on the digits.

    python benchmarks/digits_table.py [--db digits_table.db] [--out workers/tables/digits201.parquet] [--jobs 2]

Each of the 459 distinct cells of the space `digits201` is trained at two fidelities from three seeds by a search with
the controller `enumerate`. A run that is interrupted goes on where it was.

Columns: `key` and `genotype` (JSON) of the architecture, `params`, `macs`; for each number of epochs E and each seed S
`val_accuracy_eE_sS` and `val_loss_eE_sS`; `seconds_eE`, the mean time of a training; and `report_accuracy`, the mean of
the longer training's accuracy over the seeds 1 and 2, which a search that sees seed 0 has not seen.
"""

import argparse
import datetime
import subprocess
import sys
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import pandas

import nas
from search_spaces.errors import NotFound, UserError

CELLS = 459
EPOCHS = (2, 6)
SEEDS = (0, 1, 2)
REPORT_SEEDS = (1, 2)


def name_of(epochs: int, seed: int) -> str:
    """What the search over all cells with this training is called."""
    return f"digits201-e{epochs}-s{seed}"


def run(epochs: int, seed: int, db: str) -> None:
    """Trains every cell, or those that are left of an earlier run."""
    name = name_of(epochs, seed)
    try:
        nas.resume(name, db=db)
    except NotFound:
        nas.search(
            name=name,
            space="digits201",
            controller="enumerate",
            trials=CELLS,
            epochs=epochs,
            training_seed=seed,
            executor="serial",
            db=db,
        )


def run_all(db: str, jobs: int) -> None:
    """Runs all searches, so many at a time, each in a process of its own."""
    waiting = [(epochs, seed) for seed in SEEDS for epochs in EPOCHS]
    running: list[tuple[str, subprocess.Popen[bytes]]] = []
    while waiting or running:
        while waiting and len(running) < jobs:
            epochs, seed = waiting.pop(0)
            command = [sys.executable, __file__, "--db", db, "--one", str(epochs), str(seed)]
            running.append((name_of(epochs, seed), subprocess.Popen(command)))
        name, process = running.pop(0)
        if process.wait():
            raise UserError(f"the search {name} ended with exit code {process.returncode}; see above, and run again")
        print(f"{datetime.datetime.now(datetime.UTC):%H:%M:%S} {name} is complete", flush=True)


def collect(db: str) -> pandas.DataFrame:
    """The table of all searches, one row a cell, in the order of the enumeration."""
    table: pandas.DataFrame | None = None
    for epochs, seed in product(EPOCHS, SEEDS):
        trials = [trial for trial in nas.results(name_of(epochs, seed), db=db).trials if trial.values]
        if table is None:
            table = pandas.DataFrame(
                {
                    "key": [trial.key for trial in trials],
                    "genotype": [trial.genotype.to_json() for trial in trials],
                    "params": [int(trial.values["params"]) for trial in trials],
                    "macs": [int(trial.values["macs"]) for trial in trials],
                }
            )
        if [trial.key for trial in trials] != list(table["key"]):
            raise UserError(f"the search {name_of(epochs, seed)} has other cells than the first; make a new database")
        for metric in ("val_accuracy", "val_loss"):
            table[f"{metric}_e{epochs}_s{seed}"] = [trial.values[metric] for trial in trials]
        table[f"seconds_e{epochs}"] = table.get(f"seconds_e{epochs}", 0.0) + pandas.Series(
            [(trial.seconds or 0.0) / len(SEEDS) for trial in trials]
        )
    assert table is not None
    table["report_accuracy"] = table[[f"val_accuracy_e{EPOCHS[-1]}_s{seed}" for seed in REPORT_SEEDS]].mean(axis=1)
    return table


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the command line, trains what is missing and writes the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--db", default="digits_table.db", help="where the searches are kept")
    parser.add_argument("--out", type=Path, default=Path("workers/tables/digits201.parquet"))
    parser.add_argument("--jobs", type=int, default=2, help="how many searches run at once, one core each")
    parser.add_argument("--one", nargs=2, type=int, metavar=("EPOCHS", "SEED"), help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.one is not None:
        run(*given.one, given.db)
        return
    run_all(given.db, given.jobs)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    collect(given.db).to_parquet(given.out, index=False)
    print(f"written: {given.out}")


if __name__ == "__main__":
    main()
