"""A checkpoint that is truncated, damaged, foreign or malicious is not used, and that is said; nothing crashes."""

import json
import math
import os
import shutil
import struct
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load, save

from tests.workers.test_checkpoint import document_of, make_course, make_task, resumed, tensors_of


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
