"""The torch model that a user names: `package.module:callable`, or `./file.py:callable`."""

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from analysis.torch_model.run import reason, typed_reason
from search_spaces.errors import NotFound, UserError, unknown_name

_MOST_NAMED = 12
"""With more names than this a line only offers those that are near."""


def load_module(target: str) -> nn.Module:
    """The model; the callable is a function that makes one, a class of models, or a model itself.

    Modules are looked for where Python does, and in the working directory; what a file imports, beside it too.

    Raises:
        NotFound: there is no such file or module.
        UserError: it cannot be imported, has no such callable, or that needs arguments, fails, or gives no model.
    """
    source, _, name = target.rpartition(":")
    if not source or not name:
        raise UserError(f"{target!r} names no model; give package.module:callable or ./file.py:callable")
    path = Path(source)
    is_file = source.endswith(".py")
    if is_file and not path.is_file():
        raise NotFound(f"no file {source!r}; give the Python file that makes the model")
    # What makes the model may import more only when it is called.
    with _findable(path.resolve().parent if is_file else Path.cwd()):
        made = _find(_import_file(path) if is_file else _import_module(source), name, source)
        return made if isinstance(made, nn.Module) else _make(made, name, target)


def _make(maker: Any, name: str, target: str) -> nn.Module:
    if not callable(maker):
        raise UserError(f"{target}: {name!r} is {maker!r:.80}, no model; name a function that makes one")
    try:
        made = maker()
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a user's code may raise anything
        remedy = "name a function that makes the model without arguments" if isinstance(error, TypeError) else "mend it"
        raise UserError(f"{target}: calling {name!r} fails: {reason(error)}; {remedy}") from None
    if not isinstance(made, nn.Module):
        raise UserError(f"{target}: {name!r} gives a {type(made).__name__}, no nn.Module; let it return the model")
    return made


def _find(module: ModuleType, name: str, source: str) -> Any:
    try:
        return getattr(module, name)
    except AttributeError:
        public = [known for known in vars(module) if not known.startswith("_")]
        if len(public) > _MOST_NAMED:
            public = get_close_matches(name, public, n=3)
        if not public:
            raise UserError(f"{source} has nothing of the name {name!r}; name what makes the model") from None
        raise UserError(f"{source}: {unknown_name('callable', name, public)}") from None


def _import_module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a user's code may raise anything
        hint = "give the path of a file as ./file.py:callable, or install the package"
        is_absent = (
            isinstance(error, ModuleNotFoundError)
            and error.name is not None
            and f"{name}.".startswith(f"{error.name}.")
        )
        refusal = NotFound if is_absent else UserError
        raise refusal(f"cannot import {name!r}: {typed_reason(error)}; {hint}") from None


def _import_file(path: Path) -> ModuleType:
    # No other module shall be taken for it, whatever the file is called.
    name = f"nas_target_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Classes look themselves up by the name of their module, while it runs and later.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a user's code may raise anything
        del sys.modules[name]
        raise UserError(f"{path} fails: {typed_reason(error)}; mend it") from None
    return module


@contextmanager
def _findable(directory: Path) -> Iterator[None]:
    """Lets modules in a directory be imported, after those that are installed."""
    sys.path.append(str(directory))
    try:
        yield
    finally:
        with suppress(ValueError):
            sys.path.remove(str(directory))
