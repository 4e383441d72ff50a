"""Checkpoints are written whole, found again by whoever has the same task, and never believed unchecked."""

import json
import math
import os
import shutil
import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load, save

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


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A place with the checkpoint of two epochs."""
    place = tmp_path_factory.mktemp("written") / "place"
    task = make_task(place)
    course = make_course(task)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CHECKPOINT_SECONDS", 0.0)
        patch.setattr(module, "WRITE_SHARE", math.inf)
        checkpoints = Checkpoints(task, IDENTITY)
        for _ in range(2):
            course.epoch()
            checkpoints.offer(course)
    assert checkpoints.note is None
    return place


@pytest.fixture
def place(written: Path, tmp_path: Path) -> Path:
    """A copy of it to spoil."""
    shutil.copytree(written, tmp_path / "place")
    return tmp_path / "place"


def document_of(place: Path) -> Path:
    (path,) = place.glob("*.json")
    return path


def tensors_of(place: Path) -> Path:
    (path,) = place.glob("*.safetensors")
    return path


def change_document(place: Path, **changes: Any) -> None:
    path = document_of(place)
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def replace_tensors(place: Path, content: bytes) -> None:
    """Puts other tensors there with the SHA-256 that belongs to them, as only malice does."""
    tensors_of(place).write_bytes(content)
    change_document(place, sha256=sha256(content).hexdigest())


def change_tensors(place: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    tensors = load(tensors_of(place).read_bytes())
    change(tensors)
    replace_tensors(place, save(tensors))


def header(document: object, data: bytes = b"") -> bytes:
    text = json.dumps(document).encode()
    return struct.pack("<Q", len(text)) + text + data


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


SPOILED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a newer version": (lambda place: change_document(place, version=2), "newer version of nas"),
    "another format": (lambda place: change_document(place, format="else"), "format"),
    "no JSON": (lambda place: document_of(place).write_bytes(b"\xff\x00"), "invalid json"),
    "deep JSON": (lambda place: document_of(place).write_text("[" * 10**5), "invalid json"),
    "a huge number": (lambda place: document_of(place).write_text('{"version": ' + "9" * 10**5 + "}"), "damaged"),
    "a key too many": (lambda place: change_document(place, more=1), "damaged: more"),
    "text for a number": (lambda place: change_document(place, epoch="2"), "damaged: epoch"),
    "another task": (
        lambda place: change_document(place, task={**json.loads(document_of(place).read_text())["task"], "seed": 9}),
        "another task",
    ),
    "more epochs than measured": (lambda place: change_document(place, epoch=3), "epoch 3 of 4 with 2"),
    "no epochs": (lambda place: change_document(place, epoch=0, measurements=[]), "epoch 0 of 4"),
    "an epoch that is none": (lambda place: change_document(place, epoch=-1), "epoch -1"),
    "all epochs": (
        lambda place: change_document(
            place, epoch=4, measurements=2 * json.loads(document_of(place).read_text())["measurements"]
        ),
        "epoch 4 of 4",
    ),
    "a measurement that is no number": (
        lambda place: change_document(
            place, measurements=[{"train_loss": math.nan, "val_loss": 1.0, "val_accuracy": 1.0}] * 2
        ),
        "damaged: measurements.0.train_loss",
    ),
    "other measurements": (lambda place: change_document(place, measurements=[{"a": 1.0}] * 2), "other measurements"),
    "a path upwards": (lambda place: change_document(place, tensors="../../etc/passwd"), "name that we never give"),
    "a path from the root": (lambda place: change_document(place, tensors="/etc/passwd"), "name that we never give"),
    "a line break behind the name": (
        lambda place: change_document(place, tensors=tensors_of(place).name + "\n"),
        "name that we never give",
    ),
    "a wrong hash": (lambda place: change_document(place, sha256="0" * 64), "SHA-256"),
    "a hash that is none": (lambda place: change_document(place, sha256="x"), "damaged: sha256"),
    "no tensors": (lambda place: tensors_of(place).unlink(), "No such file"),
    "a directory of tensors": (lambda place: (tensors_of(place).rename(place / "x"), _mkdir(place)), "no file"),
    "a pipe for a document": (lambda place: _replace_by_pipe(document_of(place)), "no file"),
    "an endless device": (lambda place: _replace_by_link(tensors_of(place), "/dev/zero"), "no file"),
    "tensors beyond all bounds": (lambda place: os.truncate(tensors_of(place), 2**40), "more than the"),
    "a document beyond all bounds": (lambda place: os.truncate(document_of(place), 2**40), "more than the"),
    "a header beyond all bounds": (lambda place: replace_tensors(place, struct.pack("<Q", 2**63) + b"{}"), "damaged"),
    "a header of a gigabyte": (lambda place: replace_tensors(place, struct.pack("<Q", 2**30) + b"{}"), "damaged"),
    "no header": (lambda place: replace_tensors(place, b""), "damaged"),
    "a shape beyond all bounds": (
        lambda place: replace_tensors(
            place, header({"random.cpu": {"dtype": "F32", "shape": [2**62, 2**62], "data_offsets": [0, 4]}}, bytes(4))
        ),
        "damaged",
    ),
    "an empty shape beyond all bounds": (
        lambda place: replace_tensors(
            place, header({"random.cpu": {"dtype": "F32", "shape": [0, 2**63], "data_offsets": [0, 0]}})
        ),
        "damaged",
    ),
    "a negative shape": (
        lambda place: replace_tensors(
            place, header({"random.cpu": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}, bytes(4))
        ),
        "damaged",
    ),
    "offsets that overlap": (
        lambda place: replace_tensors(
            place,
            header(
                {name: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]} for name in ("random.cpu", "b")}, bytes(4)
            ),
        ),
        "damaged",
    ),
    "an unknown type": (
        lambda place: replace_tensors(
            place, header({"random.cpu": {"dtype": "F33", "shape": [1], "data_offsets": [0, 4]}}, bytes(4))
        ),
        "damaged",
    ),
    "a tensor too few": (
        lambda place: change_tensors(place, lambda tensors: tensors.pop("weights.linear.bias")),
        "does not have the tensors",
    ),
    "a tensor too many": (
        lambda place: change_tensors(place, lambda tensors: tensors.update({"../x": torch.zeros(1)})),
        "does not have the tensors",
    ),
    "another shape": (
        lambda place: change_tensors(place, lambda tensors: tensors.update({"weights.linear.bias": torch.zeros(1)})),
        "weights.linear.bias in another shape",
    ),
    "another type": (
        lambda place: change_tensors(
            place, lambda tensors: tensors.update({"momentum.linear.bias": torch.zeros(10, dtype=torch.int32)})
        ),
        "momentum.linear.bias in another shape or type",
    ),
    "random numbers that are none": (
        lambda place: change_tensors(place, lambda tensors: tensors["random.cpu"].fill_(255)),
        "random numbers are damaged",
    ),
}


def _mkdir(place: Path) -> None:
    (place / json.loads(document_of(place).read_text())["tensors"]).mkdir()


def _replace_by_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _replace_by_link(path: Path, target: str) -> None:
    path.unlink()
    path.symlink_to(target)


@pytest.mark.parametrize(("spoil", "says"), SPOILED.values(), ids=SPOILED)
def test_what_is_spoiled_is_not_used_and_said(place: Path, spoil: Callable[[Path], Any], says: str) -> None:
    spoil(place)
    task = make_task(place)
    course, note = resumed(task)
    fresh = make_course(task)
    assert course.measurements == []
    assert note is not None
    assert note.startswith("begun anew, the checkpoint is of no use: ")
    assert says.lower() in note.lower()
    assert "\n" not in note
    assert len(note) < 300
    for name, tensor in fresh.snapshot().tensors.items():
        assert torch.equal(course.snapshot().tensors[name], tensor), name


def cuts(size: int) -> Iterator[int]:
    yield from range(0, size, max(1, size // 60))
    yield size - 1


def test_truncated_files_are_not_used_at_whatever_length(place: Path) -> None:
    task = make_task(place)
    for path in (document_of(place), tensors_of(place)):
        whole = path.read_bytes()
        for length in cuts(len(whole)):
            path.write_bytes(whole[:length])
            course, note = resumed(task)
            assert course.measurements == [], f"{path.suffix} of {length} bytes"
            assert note is not None
        path.write_bytes(whole)
    assert len(resumed(task)[0].measurements) == 2


def test_truncated_tensors_are_not_used_even_with_the_hash_that_belongs_to_them(place: Path) -> None:
    task = make_task(place)
    whole = tensors_of(place).read_bytes()
    for length in cuts(len(whole)):
        replace_tensors(place, whole[:length])
        course, note = resumed(task)
        assert course.measurements == []
        assert note is not None


def test_a_flipped_bit_is_found(place: Path) -> None:
    task = make_task(place)
    whole = tensors_of(place).read_bytes()
    for position in cuts(len(whole)):
        tensors_of(place).write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        course, note = resumed(task)
        assert course.measurements == []
        assert note is not None
        assert "SHA-256" in note


@given(document=st.binary(max_size=200), tensors=st.binary(max_size=200))
def test_noise_never_raises(
    tmp_path_factory: pytest.TempPathFactory, written: Path, document: bytes, tensors: bytes
) -> None:
    place = tmp_path_factory.mktemp("noise") / "place"
    shutil.copytree(written, place)
    task = make_task(place)
    replace_tensors(place, tensors)
    assert resumed(task)[0].measurements == []
    document_of(place).write_bytes(document)
    assert resumed(task)[0].measurements == []


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
