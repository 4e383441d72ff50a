"""Exports a model into a directory that appears whole and verified, or not at all."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from nas.export import registry
from nas.export.exporter import WEIGHTS_FILE, Model
from nas.export.verify import check_weights
from nas.whole_directory import whole_directory
from search_spaces.architecture import Architecture
from search_spaces.errors import UserError


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
    model = Model(architecture, weights, title, notes, inputs)
    with whole_directory(out) as partial:
        names: list[str] = []
        if weights is not None:
            check_weights(architecture, weights)
            (partial / WEIGHTS_FILE).write_bytes(weights)
            names.append(WEIGHTS_FILE)
        for exporter in exporters:
            names.extend(exporter.write(model, partial))
        for exporter in exporters:
            exporter.verify(model, partial)
    target = Path(os.path.abspath(out))  # noqa: PTH100 - as `whole_directory` takes it
    return [target / name for name in names]
