"""Finds exporters by name: our own, and those that other packages offer by the entry point group `nas.exporters`.

An entry point names a class whose constructor takes nothing and which fulfils `Exporter`. A module is imported only
when its exporter is loaded, so that listing names needs no torch.
"""

import importlib
from importlib.metadata import entry_points

from nas.export.exporter import Exporter
from search_spaces.errors import UserError, unknown_name

GROUP = "nas.exporters"

_BUILT_IN = {
    "python": "nas.export.formats:PythonExporter",
    "json": "nas.export.formats:JsonExporter",
}


def names() -> tuple[str, ...]:
    """Every known format, in order."""
    return tuple(sorted(_references()))


def load(name: str) -> Exporter:
    """The exporter of the named format.

    Raises:
        UserError: there is no such format, or the package that offers it cannot be imported.
    """
    references = _BUILT_IN if name in _BUILT_IN else _references()
    if name not in references:
        raise unknown_name("export format", name, references)
    module, _, attribute = references[name].partition(":")
    try:
        exporter: Exporter = getattr(importlib.import_module(module), attribute)()
    except (ImportError, AttributeError) as error:
        raise UserError(
            f"the export format {name!r} ({references[name]}) cannot be imported: {error}; mend or remove its package"
        ) from error
    return exporter


def _references() -> dict[str, str]:
    """`module:class` by name; a built-in name cannot be taken by another package."""
    return {point.name: point.value for point in entry_points(group=GROUP)} | _BUILT_IN
