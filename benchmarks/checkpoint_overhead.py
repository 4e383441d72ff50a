"""What checkpoints cost a training, and how long writing and taking up one takes.

    python benchmarks/checkpoint_overhead.py [--epochs 20] [--parameters 100000,1000000,10000000] [--directory DIR]

- Trainings of random `cellular` networks on the digits, with a place for checkpoints: the share of the time that goes
  into looking for one, writing and removing, by clocks around these calls; once with the usual interval, once with an
  interval so short that the limit on the share of the time decides alone.
- One checkpoint of a network of so many parameters (its state is three times that), written with fsync, and taken up.
"""

import argparse
import random
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

from machine import machine_line

import search_spaces
from search_spaces.architecture import Architecture
from search_spaces.builder import GraphBuilder
from search_spaces.ops import Flatten, Linear
from workers import checkpoint
from workers.attempt import attempt
from workers.checkpoint import Checkpoints
from workers.data import load_data
from workers.recipe import Recipe
from workers.task import EvaluationTask
from workers.trainer import Course
from workers.training import TrainingEvaluator

NETWORKS = 3


class Clocked(Checkpoints):
    """Adds up the seconds that all checkpoints take."""

    seconds = 0.0

    def __init__(self, *arguments: Any) -> None:
        self._clocked(super().__init__, *arguments)

    def resume(self, evaluation: Any) -> None:
        self._clocked(super().resume, evaluation)

    def offer(self, evaluation: Any) -> None:
        self._clocked(super().offer, evaluation)

    def discard(self) -> None:
        self._clocked(super().discard)

    @staticmethod
    def _clocked(call: Any, *arguments: Any) -> None:
        begun = time.perf_counter()
        call(*arguments)
        Clocked.seconds += time.perf_counter() - begun


def main() -> None:
    """Measures and prints."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    options.add_argument("--epochs", type=int, default=20)
    options.add_argument("--parameters", default="100000,1000000,10000000")
    options.add_argument("--directory", type=Path)
    given = options.parse_args()
    print(machine_line())
    with TemporaryDirectory(dir=given.directory) as directory:
        for interval in (checkpoint.CHECKPOINT_SECONDS, 0.0):
            share, seconds, writes = measure_share(Path(directory), epochs=given.epochs, interval=interval)
            print(
                f"{NETWORKS} trainings of {given.epochs} epochs, {seconds:.1f} s each, interval {interval:g} s: "
                f"{writes} checkpoints, {share:.2%} of the time"
            )
        for count in map(int, given.parameters.split(",")):
            written, taken_up = measure_one(Path(directory), parameters=count)
            print(f"{count:,} parameters: written in {written * 1e3:.0f} ms, taken up in {taken_up * 1e3:.0f} ms")


def measure_share(directory: Path, *, epochs: int, interval: float) -> tuple[float, float, int]:
    """The share of the time that checkpoints take, the mean seconds of a training, and how many are written."""
    space = search_spaces.load("cellular", input_shape=(1, 8, 8))
    rng = random.Random(0)
    total, writes = 0.0, 0
    Clocked.seconds = 0.0
    write = Checkpoints._write

    def counted(*arguments: Any) -> None:
        nonlocal writes
        writes += 1
        write(*arguments)

    with (
        patch.object(checkpoint, "CHECKPOINT_SECONDS", interval),
        patch.object(checkpoint, "Checkpoints", Clocked),
        patch.object(Checkpoints, "_write", counted),
    ):
        for number in range(NETWORKS):
            task = EvaluationTask(number, space.sample(rng=rng).simplified(), epochs, 0, checkpoints=str(directory))
            begun = time.perf_counter()
            steps = attempt(TrainingEvaluator(), task, worker="here")
            try:
                next(steps)
                while True:
                    steps.send(True)
            except StopIteration:
                total += time.perf_counter() - begun
    return Clocked.seconds / total, total / NETWORKS, writes


def measure_one(directory: Path, *, parameters: int) -> tuple[float, float]:
    """Seconds to write and to take up the checkpoint of a network of about so many parameters."""
    builder = GraphBuilder()
    width = round(parameters / (64 + 10))
    end = builder.chain(builder.input(), ("flatten", Flatten()), ("wide", Linear(width)), ("linear", Linear(10)))
    task = EvaluationTask(0, Architecture(builder.graph(end), ((1, 8, 8),)), 5, 0, checkpoints=str(directory))
    data = load_data("digits")
    course = Course(task.architecture, data, Recipe(), epochs=5, seed=0)
    course.epoch()
    checkpoints = Checkpoints(task, "benchmark")
    with patch.object(checkpoint, "CHECKPOINT_SECONDS", 0.0):
        begun = time.perf_counter()
        checkpoints.offer(course)
        written = time.perf_counter() - begun
    next_course = Course(task.architecture, data, Recipe(), epochs=5, seed=0)
    next_checkpoints = Checkpoints(task, "benchmark")
    begun = time.perf_counter()
    next_checkpoints.resume(next_course)
    taken_up = time.perf_counter() - begun
    assert len(next_course.measurements) == 1, next_checkpoints.note
    checkpoints.discard()
    return written, taken_up


if __name__ == "__main__":
    main()
