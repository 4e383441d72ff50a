"""Finds what can be plugged in by its name: our own, and what other packages offer by entry points.

Both are references of the form `module:attribute`, and such a reference serves as a name itself. What they lead to is
imported only when it is loaded, so listing names needs none of the libraries behind them, and a package that is broken
harms nobody who does not ask for it.
"""

import ast
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Generic, TypeGuard, TypeVar

from search_spaces.errors import UserError, unknown_name

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Plugins(Generic[T]):
    """All plug-ins of one kind by their names; a built-in name cannot be taken by another package."""

    kind: str
    """What errors call one of them."""
    group: str
    """The entry point group by which other packages offer theirs."""
    built_in: Mapping[str, str]
    """Our own references by name."""
    wanted: str
    """What a reference has to lead to, as errors say it."""
    fits: Callable[[object], TypeGuard[T]]
    """Whether what a reference led to is that."""

    def names(self) -> tuple[str, ...]:
        """Every known name, in order."""
        return tuple(sorted({*self.built_in, *self._offered()}))

    def has(self, name: str) -> bool:
        """Whether this is the name of one of ours or of another package's; a reference is none."""
        return name in self.built_in or name in self._offered()

    def check(self, name: str) -> None:
        """Refuses a name that is not known, and imports nothing.

        Raises:
            UserError: there is no plug-in of this name.
        """
        self._reference(name)

    def load(self, name: str) -> T:
        """What the name refers to, imported.

        Raises:
            UserError: there is no plug-in of this name, or its package cannot be imported or lacks what it offers.
        """
        reference = self._reference(name)
        with self._importing(reference):
            found: object = reference.load()
        if not self.fits(found):
            raise UserError(f"{self._called(reference)} is not {self.wanted}; {_remedy(reference)}")
        return found

    def module_summary(self, name: str) -> str:
        """The first line that the module of a plug-in says of itself, read from its source without importing it.

        Raises:
            UserError: there is no plug-in of this name, or no such module, or its source is not Python.
        """
        reference = self._reference(name)
        with self._importing(reference):
            spec = find_spec(reference.module)
            if spec is None:
                raise ModuleNotFoundError(f"No module named {reference.module!r}")
            if spec.origin is None or not spec.origin.endswith(".py"):
                return ""
            return first_line(ast.get_docstring(ast.parse(Path(spec.origin).read_bytes())))

    def descriptions(self, describe: Callable[[str], str]) -> dict[str, str]:
        """What `describe` says of every name; of a broken plug-in, what is wrong with it."""
        texts: dict[str, str] = {}
        for name in self.names():
            try:
                texts[name] = describe(name)
            except UserError as error:
                texts[name] = str(error)
        return texts

    def _reference(self, name: str) -> EntryPoint:
        # Looking through the installed packages takes long and is not needed for what is our own.
        if name in self.built_in:
            return EntryPoint(name, self.built_in[name], self.group)
        if ":" in name:
            # A reference to the user's own file, as `python` would find it from the working directory.
            if str(Path.cwd()) not in sys.path:
                sys.path.insert(0, str(Path.cwd()))
            if not all(part.isidentifier() for text in name.split(":", 1) for part in text.split(".")):
                raise UserError(f"{self.kind} {name!r}: write module:attribute, like my_file:Mine")
            return EntryPoint(name, name, self.group)
        offered = self._offered()
        if name not in offered:
            raise unknown_name(self.kind, name, {*self.built_in, *offered})
        return offered[name]

    def _offered(self) -> dict[str, EntryPoint]:
        return {point.name: point for point in entry_points(group=self.group)}

    @contextmanager
    def _importing(self, reference: EntryPoint) -> Iterator[None]:
        """Blames the plug-in for whatever goes wrong inside, because importing a module runs any code it holds."""
        try:
            yield
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise UserError(f"{self._called(reference)} cannot be imported: {reason}; {_remedy(reference)}") from error

    def _called(self, reference: EntryPoint) -> str:
        place = "" if reference.name == reference.value else f" ({reference.value})"
        return f"the {self.kind} {reference.name!r}{place}"


def _remedy(reference: EntryPoint) -> str:
    if reference.name == reference.value:
        return "write module:attribute, with a module that Python finds from this directory"
    return "mend or remove its package"


def first_line(docstring: str | None) -> str:
    """The first line of a docstring, empty where there is none."""
    return (docstring or "").partition("\n")[0]
