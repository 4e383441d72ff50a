"""Exports a model into a directory that appears whole and verified, or not at all."""

import errno
import os
import shutil
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np

from nas.export import registry
from nas.export.exporter import WEIGHTS_FILE, Model
from nas.export.verify import check_weights
from search_spaces.architecture import Architecture
from search_spaces.errors import Conflict, UserError

_TARGET_TAKEN = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR)


def export(
    architecture: Architecture,
    *,
    out: Path,
    to: tuple[str, ...] = ("python", "json"),
    weights: bytes | None = None,
    title: str = "",
    notes: tuple[str, ...] = (),
    inputs: tuple[np.ndarray[Any, Any], ...] | None = None,
) -> list[Path]:
    """Writes the architecture in the formats `to`, and its weights where given, into the new directory `out`.

    `Model` tells what the other arguments are. Every file is read again and compared before `out` appears.

    Returns:
        The paths of the files.

    Raises:
        Conflict: `out` is a file, or a directory that is not empty.
        NotVerified: a file that was written does not hold the model.
        UserError: a format is unknown, the weights do not fit, or `out` cannot be written.
    """
    if not to:
        raise UserError(f"no format to export to; choose from: {', '.join(registry.names())}")
    exporters = [registry.load(name) for name in dict.fromkeys(to)]
    target = Path(os.path.abspath(out))  # noqa: PTH100 - resolve() would follow a link that is to be refused
    model = Model(architecture, weights, title, notes, inputs)
    try:
        _refuse_taken(target)
        if weights is not None:
            check_weights(architecture, weights)
        # A sibling, so that the last step is a rename; the directories between are only made when all has gone well.
        beside = next(parent for parent in target.parents if parent.exists())
        scratch = Path(mkdtemp(prefix=".nas-export-", dir=beside))
        try:
            # mkdtemp's own directory is for its owner alone; one made inside it has the usual permissions.
            partial = scratch / "partial"
            partial.mkdir()
            names: list[str] = []
            if weights is not None:
                (partial / WEIGHTS_FILE).write_bytes(weights)
                names.append(WEIGHTS_FILE)
            for exporter in exporters:
                names.extend(exporter.write(model, partial))
            for exporter in exporters:
                exporter.verify(model, partial)
            target.parent.mkdir(parents=True, exist_ok=True)
            partial.replace(target)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    except OSError as error:
        if error.errno in _TARGET_TAKEN:
            _refuse_taken(target)
        raise UserError(f"cannot write {str(out)!r}: {error.strerror or error}; choose another directory") from None
    return [target / name for name in names]


def _refuse_taken(target: Path) -> None:
    """Raises `Conflict` where there is something already that a rename would not replace."""
    if target == Path.cwd():
        raise Conflict(f"{str(target)!r} is the working directory; name a new directory in it")
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise Conflict(f"{str(target)!r} exists and is not a directory; choose another or remove it first")
    if target.is_dir() and any(target.iterdir()):
        raise Conflict(f"the directory {str(target)!r} is not empty; choose another or remove it first")
