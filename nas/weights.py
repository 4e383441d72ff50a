"""Keeps trained weights, one file each, named by the SHA-256 of its content."""

import os
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from db.trial import is_sha256
from db.url import database_path, is_postgresql
from search_spaces.errors import Conflict, UserError


def weights_directory(db: str, told: str | None) -> Path:
    """Where the weights of a search are kept: where its run says (`told`), else beside the file of its database.

    A PostgreSQL database has no file: there it is `nas-weights` in the working directory.
    """
    if told is not None:
        return Path(told)
    if is_postgresql(db):
        return Path("nas-weights")
    path = database_path(db)
    return path.with_name(path.name + ".weights")


class WeightsStore:
    """A directory of safetensors files; a file appears whole or not at all."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def path(self, digest: str) -> Path:
        """Where the weights with this SHA-256 are, or would be.

        Raises:
            Conflict: it is no SHA-256, and could lead to another file.
        """
        if not is_sha256(digest):
            raise Conflict(f"weights are named by their SHA-256, got {digest[:80]!r}; restore the database from a copy")
        return self.directory / f"{digest}.safetensors"

    def keep(self, weights: bytes) -> str:
        """Writes the weights and returns their SHA-256.

        Raises:
            Conflict: they cannot be written.
        """
        digest = sha256(weights).hexdigest()
        path = self.path(digest)
        partial = path.with_suffix(f".{os.getpid()}.partial")
        try:
            if not path.exists():
                self.directory.mkdir(parents=True, exist_ok=True)
                partial.write_bytes(weights)
                partial.replace(path)
        except OSError as error:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
            raise Conflict(
                f"the weights cannot be written to {str(self.directory)!r}: {error.strerror}; "
                "make it a directory with room that can be written, or name another with the key weights"
            ) from None
        return digest

    def check(self) -> None:
        """Refuses a place where weights could not be written.

        Raises:
            Conflict: the directory is something else, or closed to us.
        """
        if self.directory.exists() and not (self.directory.is_dir() and os.access(self.directory, os.W_OK)):
            raise Conflict(
                f"{str(self.directory)!r}, where weights are to be kept, is no directory that can be written; "
                "move it away, or name another with the key weights"
            )

    def load(self, digest: str) -> bytes:
        """The weights with this SHA-256.

        Raises:
            UserError: the file is gone or its content is not what was kept.
        """
        path = self.path(digest)
        try:
            weights = path.read_bytes()
        except OSError as error:
            raise UserError(f"the kept weights {str(path)!r} cannot be read: {error.strerror}") from None
        if sha256(weights).hexdigest() != digest:
            raise UserError(
                f"the kept weights {str(path)!r} are damaged: their SHA-256 is not their name; restore them"
            )
        return weights

    def drop(self, digest: str) -> None:
        """Removes the weights, if they are there."""
        self.path(digest).unlink(missing_ok=True)
