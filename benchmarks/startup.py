"""Measures how long `nas --help` takes, beside a bare Python and an import of what it must not import."""

import argparse
import json
import statistics
import subprocess
import sys
import time

from machine import machine, machine_line

COMMANDS = {
    "nas --help": [sys.executable, "-c", "from nas.cli import main; main(['--help'])"],
    "python -c pass": [sys.executable, "-c", "pass"],
    "import torch": [sys.executable, "-c", "import torch"],
}


def seconds(command: list[str], repeats: int) -> list[float]:
    """Wall seconds of each of `repeats` runs."""
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        times.append(time.perf_counter() - began)
    return times


def main() -> None:
    """Prints the least and the median time of each command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    found = {name: seconds(command, arguments.repeats) for name, command in COMMANDS.items()}
    rows = {
        name: {"least_seconds": min(times), "median_seconds": statistics.median(times)} for name, times in found.items()
    }
    if arguments.json:
        print(json.dumps({**machine(), **rows}))
        return
    print(machine_line())
    for name, row in rows.items():
        print(f"{name:16} least {row['least_seconds']:.3f} s, median {row['median_seconds']:.3f} s")


if __name__ == "__main__":
    main()
