"""Checkpoints: the state of an evaluation after an epoch, from which another attempt at the same task goes on.

A checkpoint is two files: tensors as safetensors, and a JSON document with everything else and the SHA-256 of the
tensors, which is written last and so makes the checkpoint appear whole or not at all. Both are named by a hash of the
task, so an attempt on any worker, of any driver, finds what an earlier one left. Tensor files have a random part in
their names: attempts that run at once never write to the same one, and the document decides which counts.

Nothing in a checkpoint is believed before it was checked against the task and the network at hand.
"""

import re
import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Annotated, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from workers.checkpoint_place import CheckpointError, CheckpointPlace, reason
from workers.task import EvaluationTask

if TYPE_CHECKING:
    from torch import Tensor

CHECKPOINT_SECONDS = 5.0
"""How much work may be lost beside the epoch at hand: about what it takes to start a new worker, so less gains nothing."""

WRITE_SHARE = 0.01
"""The share of the time that may go into writing; large states are written less often for it."""

FORMAT = "nas checkpoint"
VERSION = 1

READS = 5
"""How often a checkpoint is read that another attempt replaces meanwhile."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state after an epoch: the measurements of all epochs so far, and tensors on the CPU by name."""

    measurements: tuple[Mapping[str, float], ...]
    tensors: Mapping[str, "Tensor"]


class Resumable(Protocol):
    """An evaluation that can be left and taken up again between two epochs."""

    def layout(self) -> tuple[Mapping[str, "Tensor"], Mapping[str, "Tensor"]]:
        """Tensors of the names, shapes and types that a checkpoint must have, and of those that it may have besides."""
        ...

    def snapshot(self) -> Checkpoint:
        """The state now."""
        ...

    def restore(self, checkpoint: Checkpoint) -> None:
        """Takes up a state whose tensors keep the layout.

        Raises:
            CheckpointError: it fits in no other way; nothing is changed then.
        """
        ...


class _Identity(BaseModel):
    """What a checkpoint belongs to; the document's SHA-256 tells isomorphic architectures apart, whose weights have other names."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    architecture_key: str
    architecture_sha256: str
    evaluator: str
    epochs: int
    seed: int

    @property
    def stem(self) -> str:
        return sha256(self.model_dump_json().encode()).hexdigest()[:32]


class _Head(BaseModel):
    """What the documents of all versions begin with."""

    model_config = ConfigDict(frozen=True, strict=True)

    format: Literal["nas checkpoint"]
    version: int


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format: str
    version: int
    task: _Identity
    epoch: int
    measurements: tuple[dict[str, FiniteFloat], ...]
    tensors: str
    sha256: Annotated[str, Field(pattern=r"\A[0-9a-f]{64}\z")]


class Checkpoints:
    """The checkpoints of one evaluation; without a place in the task there are none, and every call does nothing.

    What keeps a checkpoint from being written or used never ends an evaluation; `note` says it in the end.
    """

    def __init__(self, task: EvaluationTask, evaluator_identity: str) -> None:
        self._notes: list[str] = []
        self._epochs = task.epochs
        self._since = time.perf_counter()
        self._write_seconds = 0.0
        self._current: str | None = None
        """The tensor file that the document names, as far as we know."""
        self._place: CheckpointPlace | None = None
        if task.checkpoints is not None:
            self._identity = _identity(task, evaluator_identity)
            self._stem = self._identity.stem
            try:
                self._place = CheckpointPlace(task.checkpoints)
            except CheckpointError as error:
                self._say("no checkpoints", error)

    @property
    def note(self) -> str | None:
        """What the user should know, in one line; None where all went well."""
        return "; ".join(self._notes) or None

    def resume(self, evaluation: Resumable) -> None:
        """Lets the evaluation take up the state that an earlier attempt at its task left, if there is one."""
        if self._place is None:
            return
        try:
            checkpoint = self._read(self._place, evaluation)
            if checkpoint is not None:
                evaluation.restore(checkpoint)
        except CheckpointError as error:
            self._say("begun anew, the checkpoint is of no use", error)

    def offer(self, evaluation: Resumable) -> None:
        """Writes the state of the evaluation if it is time to."""
        waited = time.perf_counter() - self._since
        if self._place is None or waited < max(CHECKPOINT_SECONDS, self._write_seconds / WRITE_SHARE):
            return
        begun = time.perf_counter()
        try:
            self._write(self._place, evaluation.snapshot())
        except CheckpointError as error:
            self._say("no checkpoints", error)
        self._since = time.perf_counter()
        self._write_seconds = self._since - begun

    def discard(self) -> None:
        """Removes all that attempts at this task have left: it has ended."""
        if self._place is None:
            return
        # What cannot be removed does no harm: the task will not come again.
        with suppress(CheckpointError):
            for name in self._place.names(self._stem):
                self._place.remove(name)

    def _say(self, what: str, error: CheckpointError) -> None:
        """Notes it, once."""
        if not any(note.startswith(what) for note in self._notes):
            self._notes.append(f"{what}: {error}")

    def _write(self, place: CheckpointPlace, checkpoint: Checkpoint) -> None:
        from safetensors.torch import save

        content = save({name: tensor.contiguous() for name, tensor in checkpoint.tensors.items()})
        name = f"{self._stem}.{secrets.token_hex(8)}.safetensors"
        document = _Document(
            format=FORMAT,
            version=VERSION,
            task=self._identity,
            epoch=len(checkpoint.measurements),
            measurements=tuple(dict(values) for values in checkpoint.measurements),
            tensors=name,
            sha256=sha256(content).hexdigest(),
        )
        try:
            place.write(name, content)
            place.write(f"{self._stem}.json", document.model_dump_json().encode())
        except CheckpointError:
            with suppress(CheckpointError):
                place.remove(name)
            raise
        if self._current is not None:
            with suppress(CheckpointError):
                place.remove(self._current)
        self._current = name

    def _read(self, place: CheckpointPlace, evaluation: Resumable) -> Checkpoint | None:
        """The checkpoint that lies at the place, if one does."""
        name = f"{self._stem}.json"
        if name not in place.names(self._stem):
            return None
        limit = 2**20 + 2**10 * self._epochs
        text = place.read(name, limit=limit)
        for _ in range(READS):
            document = self._parse(text)
            try:
                tensors = _read_tensors(place, document, evaluation)
            except CheckpointError:
                before, text = text, place.read(name, limit=limit)
                if text == before:
                    raise
            else:
                self._current = document.tensors
                return Checkpoint(document.measurements, tensors)
        raise CheckpointError(f"{name} changes all the time")

    def _parse(self, text: bytes) -> _Document:
        try:
            head = _Head.model_validate_json(text)
            if head.version > VERSION:
                raise CheckpointError(f"a newer version of nas wrote it (format {head.version}, known: {VERSION})")
            document = _Document.model_validate_json(text)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(map(str, first["loc"])) or "it"
            raise CheckpointError(f"{self._stem}.json is damaged: {where}: {first['msg'].lower()}") from None
        if document.task != self._identity:
            raise CheckpointError(f"{self._stem}.json belongs to another task")
        if not 1 <= document.epoch == len(document.measurements) < self._epochs:
            raise CheckpointError(
                f"{self._stem}.json is damaged: epoch {document.epoch} of {self._epochs} "
                f"with {len(document.measurements)} measurements"
            )
        if not re.fullmatch(rf"{self._stem}\.[0-9a-f]{{16}}\.safetensors", document.tensors):
            raise CheckpointError(f"{self._stem}.json is damaged: its tensor file has a name that we never give")
        return document


def _identity(task: EvaluationTask, evaluator_identity: str) -> _Identity:
    return _Identity(
        architecture_key=task.architecture.key,
        architecture_sha256=sha256(task.architecture.to_json().encode()).hexdigest(),
        evaluator=evaluator_identity,
        epochs=task.epochs,
        seed=task.seed,
    )


def _read_tensors(place: CheckpointPlace, document: _Document, evaluation: Resumable) -> "dict[str, Tensor]":
    """The tensors of a checkpoint, which keep the layout of the evaluation.

    Raises:
        CheckpointError: they do not, or are not those that were written.
    """
    from safetensors.torch import load

    required, optional = evaluation.layout()
    known = {**required, **optional}
    header_limit = 1024 + sum(6 * len(name) + 256 for name in known)
    content = place.read(document.tensors, limit=header_limit + sum(tensor.nbytes for tensor in known.values()))
    if sha256(content).hexdigest() != document.sha256:
        raise CheckpointError(f"{document.tensors} is damaged: its SHA-256 is not the recorded one")
    try:
        tensors: dict[str, Tensor] = load(content)
    except Exception as error:  # noqa: BLE001 - what a hostile file makes of its reader is not ours to foresee
        raise CheckpointError(f"{document.tensors} is damaged: {reason(error)}") from None
    if not required.keys() <= tensors.keys() <= known.keys():
        raise CheckpointError(f"{document.tensors} does not have the tensors of this network on this device")
    for name, tensor in tensors.items():
        if (tensor.shape, tensor.dtype) != (known[name].shape, known[name].dtype):
            raise CheckpointError(f"{document.tensors} has {name} in another shape or type")
    return tensors
