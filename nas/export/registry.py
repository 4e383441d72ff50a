"""Finds exporters by name: our own, and those that other packages offer by the entry point group `nas.exporters`.

An entry point names a class whose constructor takes nothing and which fulfils `Exporter`. A module is imported only
when its exporter is loaded, so that listing names needs no torch.
"""

from typing import TypeGuard

from nas.export.exporter import Exporter
from search_spaces.plugins import Plugins


def _is_exporter(found: object) -> TypeGuard[type[Exporter]]:
    return isinstance(found, type) and all(callable(getattr(found, method, None)) for method in ("write", "verify"))


_EXPORTERS = Plugins(
    kind="export format",
    group="nas.exporters",
    built_in={"python": "nas.export.formats:PythonExporter", "json": "nas.export.formats:JsonExporter"},
    wanted="a class with the methods write and verify",
    fits=_is_exporter,
)


def names() -> tuple[str, ...]:
    """Every known format, in order."""
    return _EXPORTERS.names()


def load(name: str) -> Exporter:
    """The exporter of the named format.

    Raises:
        UserError: there is no such format, or the package that offers it cannot be imported or offers something else.
    """
    return _EXPORTERS.load(name)()
