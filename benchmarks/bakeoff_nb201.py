"""Which controller finds more for its budget on NAS-Bench-201: a bake-off of all of them on a table of it.

    python benchmarks/bakeoff_nb201.py TABLE [--contests c10,c100] [--controllers A,B] [--seeds 200] [--budget 300]
        [--workers N] [--out DIR] [--json FILE]

TABLE is a Parquet file with the columns `arch_str`, `c10_val12`, `c10_val200`, `c10_test200`, `c100_val200`,
`c100_test200` and `c10_train_seconds200`. The contests:

- `c10`, `c100`: the accuracy on held-out images after 200 epochs is seen, the test accuracy is reported.
- `c10-seconds`: 12,000 simulated seconds of trainings of 12 epochs, as the published table is used.
- `c10-fidelities`: the same time; trainings of 12 epochs, and those that go on by successive halving are trained again
  for 200.

It prints date and hardware, the tables, and how long each contest took; `--out` has a directory with the curves for
each contest, `--json` one file with all figures. The seconds of a proposal are wall time on that machine.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from machine import machine_line

import nas
from nas.bake_off.hold import BakeOffProgress
from nas.bake_off.report import first_lines, tables
from nas.bake_off.standings import BakeOff
from nas.controllers import registry

MARKS = (50, 100, 150, 200, 300)
CLOCK_SECONDS = 12_000.0
EPOCHS12 = "c10_train_seconds200*0.06"
NO_SEARCH = ("enumerate",)
"""Goes through the space in order, which is no method of search."""
SAMPLERS = ("tpe", "nsga2")
LINE_INTERVAL_SECONDS = 30.0

CONTESTS: dict[str, dict[str, Any]] = {
    "c10": {"signal": "c10_val200", "report": "c10_test200"},
    "c100": {"signal": "c100_val200", "report": "c100_test200"},
    "c10-seconds": {
        "signal": "c10_val12",
        "cost": EPOCHS12,
        "report": "c10_test200",
        "time_budget": CLOCK_SECONDS,
    },
    "c10-fidelities": {
        "signal": "c10_val12,c10_val200",
        "cost": f"{EPOCHS12},c10_train_seconds200",
        "report": "c10_test200",
        "time_budget": CLOCK_SECONDS,
        "stopping": "asha",
    },
}


def all_controllers() -> list[str]:
    """Every controller there is, and of Optuna's samplers two."""
    names = [name for name in registry.names() if name not in (*NO_SEARCH, "optuna")]
    return [*names, *(f"optuna:{sampler}" for sampler in SAMPLERS)]


class Lines:
    """Says now and then on stderr how many searches are done."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def update(self, progress: BakeOffProgress) -> None:
        """Shows how far the contest has come."""
        if time.monotonic() - self._last >= LINE_INTERVAL_SECONDS:
            self._last = time.monotonic()
            left = progress.seconds_left or 0.0
            print(f"{progress.done}/{progress.searches} searches, {left:,.0f} s left", file=sys.stderr, flush=True)


def show(found: BakeOff) -> None:
    """Prints the tables of a contest in columns."""
    for table in tables(found):
        rows = [table.columns, *table.rows]
        widths = [max(len(row[column]) for row in rows) for column in range(len(table.columns))]
        print(f"\n{table.title}")
        for row in rows:
            print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def main() -> None:
    """Holds the contests and prints what they come to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table")
    parser.add_argument("--contests", default="c10,c100", help=", ".join(CONTESTS))
    parser.add_argument("--controllers", default="", help="all unless told")
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--budget", type=int, default=300)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    names = arguments.contests.split(",")
    unknown = [name for name in names if name not in CONTESTS]
    if unknown:
        parser.error(f"unknown contest {unknown[0]!r}; choose from {', '.join(CONTESTS)}")
    controllers = arguments.controllers or ",".join(all_controllers())
    where = machine_line()
    print(where)
    documents = {}
    for name in names:
        timed = "time_budget" in CONTESTS[name]
        found = nas.bakeoff(
            controllers,
            space="nasbench201",
            table=arguments.table,
            seeds=arguments.seeds,
            budget=None if timed else arguments.budget,
            at=() if timed else [mark for mark in MARKS if mark <= arguments.budget],
            workers=arguments.workers,
            listener=Lines().update,
            out=None if arguments.out is None else arguments.out / name,
            **CONTESTS[name],
        )
        print(f"\n{name}: {first_lines(found)[0]}")
        show(found)
        documents[name] = found.to_dict()
    if arguments.json is not None:
        arguments.json.write_text(json.dumps({"where": where, "contests": documents}, allow_nan=False))


if __name__ == "__main__":
    main()
