"""A place for checkpoints: a directory of this machine, a shared one, or one behind an fsspec URL; its files appear whole."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from search_spaces.errors import Conflict

CHECK_BYTES = 4096
"""What is written to try a place: a block, because an empty file finds room on a full disk."""

REASON_CHARACTERS = 150


class CheckpointError(Exception):
    """A checkpoint cannot be written or used; the message says why in one line."""


class CheckpointPlace:
    """A directory, given by its path or as `PROTOCOL://…`; made when the first file is written.

    Raises:
        CheckpointError: there is no such protocol, or its package is not installed; so do all methods where files
            cannot be reached.
    """

    def __init__(self, place: str) -> None:
        if "://" in place:
            if "::" in place:
                raise CheckpointError(f"{place!r} is a chain of file systems; name the last one alone")
            with _explained(f"no place {place!r}"):
                self._files, root = url_to_fs(place)
        else:
            self._files, root = LocalFileSystem(), str(Path(place).expanduser().absolute())
        self._root = root.rstrip("/")
        self._is_local = isinstance(self._files, LocalFileSystem)
        self.url = self._root if self._is_local else place
        """The place for processes elsewhere: a local path is absolute."""

    def names(self, stem: str) -> list[str]:
        """The files whose names begin with `stem` and a dot."""
        with _explained(f"{self.url!r} cannot be listed"):
            self._files.invalidate_cache()
            try:
                paths: list[str] = self._files.ls(self._root or "/", detail=False)
            except FileNotFoundError:
                return []
        names = [path.rsplit("/", 1)[-1] for path in paths]
        return [name for name in names if name.startswith(f"{stem}.")]

    def read(self, name: str, *, limit: int) -> bytes:
        """The content of a file of at most `limit` bytes."""
        with _explained(f"{name} cannot be read"):
            # What is no file may never end, or never begin: a device, a pipe.
            if self._files.info(self._path(name))["type"] != "file":
                raise CheckpointError(f"{name} is no file")
            with self._files.open(self._path(name), "rb") as file:
                content: bytes = file.read(limit + 1)
        if len(content) > limit:
            raise CheckpointError(f"{name} has more than the {limit:,} bytes that it can have")
        return content

    def write(self, name: str, content: bytes) -> None:
        """Writes a file, in the place of one of that name; it appears whole or not at all, and outlives a power cut."""
        write = self._write_local if self._is_local else self._write_remote
        with _explained(f"{self.url!r} cannot be written"):
            try:
                write(name, content)
            except FileNotFoundError:
                self._files.makedirs(self._root, exist_ok=True)
                write(name, content)

    def remove(self, name: str) -> None:
        """Removes a file, if it is there."""
        with _explained(f"{name} cannot be removed"), suppress(FileNotFoundError):
            self._files.rm_file(self._path(name))

    @classmethod
    def checked(cls, place: str) -> "CheckpointPlace":
        """The place, where files can be written; trying leaves nothing behind.

        Raises:
            Conflict: they cannot; the message says why.
        """
        try:
            found = cls(place)
            found._try()
        except CheckpointError as error:
            raise Conflict(f"no checkpoints can be kept: {error}; give a place that can be written") from None
        return found

    def _try(self) -> None:
        root = Path(self._root)
        made = [path for path in (root, *root.parents) if not path.exists()] if self._is_local else []
        name = f"check.{secrets.token_hex(8)}"
        try:
            self.write(name, bytes(CHECK_BYTES))
            self.remove(name)
        finally:
            with suppress(OSError):
                for path in made:
                    path.rmdir()

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _write_local(self, name: str, content: bytes) -> None:
        path = Path(self._path(name))
        partial = path.with_name(_aside(name))
        try:
            with partial.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except BaseException:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
            raise
        # Some network file systems refuse to sync a directory, and need not be asked to.
        with suppress(OSError):
            directory = os.open(self._root, os.O_RDONLY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)

    def _write_remote(self, name: str, content: bytes) -> None:
        partial = self._path(_aside(name))
        self._files.pipe_file(partial, content)
        self._files.mv(partial, self._path(name))


def _aside(name: str) -> str:
    """The name of a file until it is whole; begins like the file, so that it is removed with it."""
    return f"{name}.{secrets.token_hex(8)}.partial"


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Turns whatever a file system raises into a `CheckpointError`."""
    try:
        yield
    except CheckpointError:
        raise
    except Exception as error:
        raise CheckpointError(f"{what}: {reason(error)}") from error


def reason(error: Exception) -> str:
    """What an error says, in one short line: torch's go on with the frames of the stack."""
    said: Any = error.strerror if isinstance(error, OSError) else None
    lines = str(said or error).strip().splitlines()
    return lines[0][:REASON_CHARACTERS] if lines else type(error).__name__
