"""Real drivers of real searches for tests to kill, and an evaluator of their own that dies, hangs and dawdles as told.

`EVALUATOR` is the source of a module `slow` that a test writes beside the database. Its class `Slow` takes the number of
seconds that a trial lasts, appends a line to `diary` when an evaluation begins and when it ends, and misbehaves at the
trials that it is told.
"""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from db.store import Store
from db.trial import Trial

TRIALS = 6

EVALUATOR = """
import os, signal, time
from dataclasses import dataclass
from db.trial import Measurement
from workers.task import Evaluation


@dataclass(frozen=True)
class Slow:
    seconds: float = 0.05
    diary: str = "diary"
    kills: tuple = ()
    hangs: tuple = ()
    greedy: tuple = ()

    metrics = ("score",)
    measured = ("score",)
    reported = ()
    levels = None
    identity = '{"evaluator":"slow"}'

    def device_bytes(self, architecture):
        return 0

    def check(self, architecture):
        pass

    def evaluate(self, task):
        self.write("begin", task)
        if task.number in self.kills:
            os.kill(os.getpid(), signal.SIGKILL)
        if task.number in self.hangs:
            time.sleep(600)
        if task.number in self.greedy and not task.alone:
            # More than any machine has: the system refuses it.
            bytearray(2**46)
        time.sleep(self.seconds)
        yield Measurement(1, {"score": float(len(task.architecture.key))})
        self.write("end", task)
        return Evaluation({"score": sum(task.architecture.key.encode()) / 1000})

    def write(self, what, task):
        with open(self.diary, "a") as diary:
            diary.write(f"{what} {task.number} {task.attempt} {os.getpid()} {time.time()}\\n")
"""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the diary."""

    what: str
    number: int
    attempt: int
    pid: int
    at: float


def slow(directory: Path, **settings: Any) -> tuple[str, ...]:
    """The flags of a search with the evaluator of the diary, whose module is put into `directory`."""
    directory.mkdir(exist_ok=True)
    (directory / "slow.py").write_text(EVALUATOR)
    given = {"diary": str(directory / "diary"), **settings}
    flags = [f"--evaluator-set={name}={json.dumps(value)}" for name, value in given.items()]
    return ("--evaluator", "slow:Slow", "--controller", "random", "--epochs", "1", *flags)


def diary(directory: Path) -> list[Line]:
    """What the evaluator has written so far."""
    path = directory / "diary"
    lines = path.read_text().splitlines() if path.exists() else []
    return [
        Line(what, int(number), int(attempt), int(pid), float(at))
        for what, number, attempt, pid, at in map(str.split, lines)
    ]


def nas(directory: Path, *arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", "import sys; from nas.cli import main; sys.exit(main())", *arguments]
    return subprocess.Popen(
        command,
        cwd=directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Modules beside the database, for the driver and through it for its workers.
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(directory), os.environ.get("PYTHONPATH")]))},
    )


def finish(process: "subprocess.Popen[str]") -> tuple[str, str]:
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    return out, err


def start(directory: Path, *flags: str) -> "subprocess.Popen[str]":
    directory.mkdir(exist_ok=True)
    return nas(directory, "search", "--name", "s", "--trials", str(TRIALS), "--seed", "3", *flags)


def wait_for_finished(process: "subprocess.Popen[str]", directory: Path, count: int) -> None:
    deadline = time.monotonic() + 150
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        path = directory / "nas.db"
        if path.exists() and path.stat().st_size and len(finished(directory)) >= count:
            return
        time.sleep(0.1)
    pytest.fail("the search did not come far enough")


def finished(directory: Path) -> list[Trial]:
    with Store.open(str(directory / "nas.db"), mode="read") as store:
        if not any(summary.search.name == "s" for summary in store.searches()):
            return []
        return [trial for trial in store.trials("s") if trial.state.is_finished]


def unweighted(trials: list[Trial]) -> list[Trial]:
    """The trials without their weights, which go when a better trial comes."""
    return [replace(trial, weights_sha256=None) for trial in trials]


def outcome(trials: list[Trial]) -> list[tuple[Any, ...]]:
    return [(t.number, t.proposal, t.key, t.genotype, t.parent, t.mutation, t.observed, t.values) for t in trials]
