"""Checkpoints are written whole, in time, and found again by whoever has the same task."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.contracts.executor import small_architecture
from workers import checkpoint as module
from workers.attempt import attempt
from workers.checkpoint import Checkpoints
from workers.data import load_data
from workers.recipe import Recipe
from workers.task import EvaluationTask
from workers.trainer import Course

IDENTITY = '{"evaluator":"training"}'
EPOCHS = 4


def make_task(place: Path | str | None, **changes: Any) -> EvaluationTask:
    task = EvaluationTask(0, small_architecture(), EPOCHS, seed=3, checkpoints=None if place is None else str(place))
    return replace(task, **changes)


def make_course(task: EvaluationTask) -> Course:
    return Course(task.architecture, load_data("digits"), Recipe(), epochs=task.epochs, seed=task.seed)


def resumed(task: EvaluationTask) -> tuple[Course, str | None]:
    """A new attempt at the task, before its first epoch, and its note."""
    course = make_course(task)
    checkpoints = Checkpoints(task, IDENTITY)
    checkpoints.resume(course)
    return course, checkpoints.note


@pytest.fixture(autouse=True)
def every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(module, "WRITE_SHARE", math.inf)


def document_of(place: Path) -> Path:
    (path,) = place.glob("*.json")
    return path


def tensors_of(place: Path) -> Path:
    (path,) = place.glob("*.safetensors")
    return path


def test_a_checkpoint_is_two_files_and_the_next_attempt_finds_it(place: Path) -> None:
    assert sorted(path.suffix for path in place.iterdir()) == [".json", ".safetensors"]
    course, note = resumed(make_task(place))
    assert note is None
    assert len(course.measurements) == 2
    document = json.loads(document_of(place).read_text())
    assert document["format"] == "nas checkpoint"
    assert document["epoch"] == 2
    assert document["task"]["architecture_key"] == small_architecture().key
    assert document["measurements"] == course.measurements


@pytest.mark.parametrize(
    "changes",
    [{"seed": 4}, {"epochs": 5}, {"architecture": small_architecture(5)}],
    ids=["seed", "epochs", "architecture"],
)
def test_another_task_does_not_find_it(place: Path, changes: dict[str, Any]) -> None:
    course, note = resumed(make_task(place, **changes))
    assert (course.measurements, note) == ([], None)


def test_without_a_place_nothing_is_read_or_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    task = make_task(None)
    course, note = resumed(task)
    checkpoints = Checkpoints(task, IDENTITY)
    checkpoints.offer(course)
    checkpoints.discard()
    assert (course.measurements, note, checkpoints.note, list(tmp_path.iterdir())) == ([], None, None, [])


@given(values=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=5))
def test_measurements_come_back_to_the_last_bit(values: list[float]) -> None:
    document = module._Document(
        format=module.FORMAT,
        version=1,
        task=module._identity(make_task(None), IDENTITY),
        epoch=1,
        measurements=tuple({"loss": value} for value in values),
        tensors="",
        sha256="0" * 64,
    )
    read = module._Document.model_validate_json(document.model_dump_json())
    assert [each["loss"].hex() for each in read.measurements] == [value.hex() for value in values]


def test_attempts_at_once_do_not_disturb_one_another(tmp_path: Path) -> None:
    task = make_task(tmp_path)
    ahead, behind = make_course(task), make_course(task)
    of_ahead, of_behind = Checkpoints(task, IDENTITY), Checkpoints(task, IDENTITY)
    for _ in range(2):
        ahead.epoch()
        of_ahead.offer(ahead)
    behind.epoch()
    of_behind.offer(behind)
    assert len(resumed(task)[0].measurements) == 1
    ahead.epoch()
    of_ahead.offer(ahead)
    assert len(resumed(task)[0].measurements) == 3
    behind.epoch()
    of_behind.offer(behind)
    assert len(resumed(task)[0].measurements) == 2
    of_ahead.discard()
    assert list(tmp_path.iterdir()) == []
    behind.epoch()
    of_behind.offer(behind)
    course, note = resumed(task)
    assert (len(course.measurements), note) == (3, None)


def test_a_checkpoint_that_is_replaced_while_it_is_read_is_read_again(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = make_task(place)
    other, of_other = make_course(task), Checkpoints(task, IDENTITY)
    of_other.resume(other)
    read = module._read_tensors

    def overtaken(*arguments: Any) -> Any:
        monkeypatch.setattr(module, "_read_tensors", read)
        other.epoch()
        of_other.offer(other)
        return read(*arguments)

    monkeypatch.setattr(module, "_read_tensors", overtaken)
    course, note = resumed(task)
    assert (len(course.measurements), note) == (3, None)


def test_what_an_attempt_left_when_it_was_killed_while_writing_goes_in_the_end(place: Path) -> None:
    stem = document_of(place).stem
    (place / f"{stem}.0123456789abcdef.safetensors").write_bytes(b"not named by the document yet")
    (place / f"{stem}.json.0123456789abcdef.partial").write_bytes(b"{")
    (place / "of-another-task.json").write_bytes(b"{}")
    task = make_task(place)
    assert len(resumed(task)[0].measurements) == 2
    Checkpoints(task, IDENTITY).discard()
    assert [path.name for path in place.iterdir()] == ["of-another-task.json"]


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(module.time, "perf_counter", lambda: self.now)


class Writes:
    """An evaluation whose state takes `seconds` to be written; counts how often it is."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self.clock, self.seconds, self.count = clock, seconds, 0

    def layout(self) -> Any:
        raise AssertionError

    restore: Any = layout

    def snapshot(self) -> module.Checkpoint:
        self.count += 1
        self.clock.now += self.seconds
        return module.Checkpoint(({"loss": 1.0},), {})


@pytest.mark.parametrize(
    ("epoch_seconds", "write_seconds", "writes"), [(0.2, 0.01, 8), (4.9, 0.01, 100), (8.0, 0.01, 200), (8.0, 8.0, 2)]
)
def test_writing_takes_at_most_a_hundredth_of_the_time(
    monkeypatch: pytest.MonkeyPatch, epoch_seconds: float, write_seconds: float, writes: int
) -> None:
    monkeypatch.undo()
    clock = Clock(monkeypatch)
    evaluation = Writes(clock, write_seconds)
    checkpoints = Checkpoints(make_task("memory://clocked"), IDENTITY)
    for _ in range(200):
        clock.now += epoch_seconds
        checkpoints.offer(evaluation)
    assert evaluation.count == pytest.approx(writes, abs=1)
    # The first write comes before its cost is known.
    assert (evaluation.count - 1) * write_seconds <= 0.01 * clock.now


def test_an_evaluation_shorter_than_the_interval_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workers.training import TrainingEvaluator

    monkeypatch.undo()
    task = make_task(tmp_path / "place", epochs=2)
    steps = attempt(TrainingEvaluator(), task, worker="here")
    next(steps)
    assert not (tmp_path / "place").exists()
