"""The contract of an exporter, and what it is given."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from search_spaces.architecture import Architecture
from search_spaces.errors import Fault

if TYPE_CHECKING:
    import numpy as np

WEIGHTS_FILE = "weights.safetensors"
"""Where the weights are in an exported directory, whatever else is there."""


class NotVerified(Fault):
    """An exported file, loaded again in a clean process, is not what it should be; nothing is handed over."""


@dataclass(frozen=True, slots=True)
class Model:
    """What is exported.

    `weights` are the bytes of a safetensors file whose tensors are named as in `search_spaces.to_module`. `title` and
    `notes`, any text, are for people. `inputs`, one array with a batch axis for each input of the architecture, are
    what the outputs are compared on; random numbers unless given.
    """

    architecture: Architecture
    weights: bytes | None = None
    title: str = ""
    notes: tuple[str, ...] = ()
    inputs: "tuple[np.ndarray[Any, Any], ...] | None" = None


class Exporter(Protocol):
    """Writes a model in one format.

    `write` puts files into a directory that exists already and returns their names; it touches no other file. The same
    model gives the same files. `verify` reads those files again, in a process that imports nothing of nas where they
    are code, and compares them with the model; when it is called, `WEIGHTS_FILE` is there if the model has weights.
    """

    def write(self, model: Model, directory: Path) -> tuple[str, ...]:
        """Writes the files and returns their names.

        Raises:
            UserError: the model cannot be expressed in this format.
        """
        ...

    def verify(self, model: Model, directory: Path) -> None:
        """Loads what `write` wrote and compares.

        Raises:
            NotVerified: the files do not hold the model.
        """
        ...
