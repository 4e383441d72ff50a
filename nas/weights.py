"""Keeps trained weights beside the database, one file each, named by the SHA-256 of its content."""

import os
from hashlib import sha256
from pathlib import Path

from search_spaces.errors import UserError


def weights_directory(database: Path) -> Path:
    """Where the weights of the searches in this database file are kept."""
    return database.with_name(database.name + ".weights")


class WeightsStore:
    """A directory of safetensors files; a file appears whole or not at all."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def path(self, digest: str) -> Path:
        """Where the weights with this SHA-256 are, or would be."""
        return self.directory / f"{digest}.safetensors"

    def keep(self, weights: bytes) -> str:
        """Writes the weights and returns their SHA-256."""
        digest = sha256(weights).hexdigest()
        path = self.path(digest)
        if not path.exists():
            self.directory.mkdir(parents=True, exist_ok=True)
            partial = path.with_suffix(f".{os.getpid()}.partial")
            partial.write_bytes(weights)
            partial.replace(path)
        return digest

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
