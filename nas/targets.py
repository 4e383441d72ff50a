"""What a command's TARGET stands for: a classic network, a stored architecture, an architecture's file, or a torch model."""

import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search_spaces import zoo
from search_spaces.architecture import Architecture
from search_spaces.errors import NotFound, UserError, unknown_name
from search_spaces.ops import Shape

if TYPE_CHECKING:
    import torch

_KEY_DIGITS = set("0123456789abcdef")
LEAST_KEY_LENGTH = 4
"""Fewer digits of a key are taken for a misspelt name."""


def find(target: str, *, db: str, parameters: dict[str, Any]) -> "Architecture | torch.nn.Module":
    """The network that `target` names.

    Tried in this order: the name of a classic network (which takes `parameters`), `SEARCH:best`, `package.module:callable`
    or `./file.py:callable` giving a torch module, a file written by `Architecture.to_json`, the key of an architecture
    in the database `db` or its beginning.

    Raises:
        NotFound: no such file, database, search or architecture.
        UserError: none of these, or the file or the module is not usable.
    """
    if "input_shape" in parameters:
        raise UserError("the shape of the input is no parameter of --set: give it as --input 3x224x224")
    if target in zoo.NETWORKS:
        return zoo.load(target, **parameters)
    if parameters:
        raise UserError(f"only classic networks take parameters, {target!r} is none: leave {_names(parameters)} out")
    head, colon, tail = target.rpartition(":")
    if colon and tail == "best":
        from nas.result import SearchResult

        return SearchResult(db, head).best.architecture
    if colon:
        return _module(target, head)
    if target.endswith(".py"):
        raise UserError(f"{target}: name what in it makes the model, like {target}:make")
    if target.endswith(".json"):
        return _read(Path(target))
    if len(target) >= LEAST_KEY_LENGTH and set(target) <= _KEY_DIGITS:
        from db.store import Store

        with Store.open(db, mode="read") as store:
            return Architecture.from_json(store.architecture(target).document)
    raise _unknown(target)


def parse_input(text: str) -> tuple[Shape, str | None]:
    """`3x224x224`, or `128:int64`, as a shape without the batch axis and a number type; `:int64` is one number.

    Raises:
        UserError: it is not a row of positive whole numbers.
    """
    sizes, colon, dtype = text.replace("×", "x").partition(":")
    parts = sizes.lower().split("x") if sizes or not colon else []
    if not all(part.isdecimal() and int(part) > 0 for part in parts) or (colon and not dtype):
        raise UserError(f"--input {text!r}: give positive sizes without the batch, like 3x224x224 or 128:int64")
    return tuple(map(int, parts)), dtype or None


def parse_parameters(settings: Iterable[str], *, option: str = "--set") -> dict[str, Any]:
    """`auxiliary=true` and the like as parameters by name; values are read as JSON, or else as text.

    Raises:
        UserError: a setting has no `=`.
    """
    parameters: dict[str, Any] = {}
    for setting in settings:
        name, sign, value = setting.partition("=")
        if not sign or not name:
            raise UserError(f"{option} {setting!r}: give NAME=VALUE, like auxiliary=true")
        if name in parameters:
            raise UserError(f"{option} {name}: it is given twice; give it once")
        try:
            parameters[name] = json.loads(value)
        except json.JSONDecodeError:
            parameters[name] = value
    return parameters


def _module(target: str, source: str) -> "torch.nn.Module":
    from analysis.torch_model import load_module

    try:
        return load_module(target)
    except NotFound as error:
        if "." in source:
            raise
        raise NotFound(f"{error}; if {source!r} is a search, give {source}:best") from None


def _read(path: Path) -> Architecture:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NotFound(f"no file {str(path)!r}; give the JSON file of an architecture") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {str(path)!r}: {error}; give the JSON file of an architecture") from None
    try:
        return Architecture.from_json(text)
    except UserError as error:
        if _is_report(text):
            raise UserError(
                f"{path}: this is the output of a command, no architecture; give what it was made from"
            ) from None
        raise type(error)(f"{path}: {error}") from None


def _is_report(text: str) -> bool:
    """Whether it is what one of our commands writes with `--json`."""
    with suppress(ValueError, RecursionError):
        document = json.loads(text)
        return isinstance(document, dict) and "schema" in document and "format" not in document
    return False


def _unknown(target: str) -> UserError:
    near = unknown_name("network", target, zoo.NETWORKS)
    if "did you mean" in str(near):
        return near
    return UserError(
        f"unknown target {target!r}; give a network's name (nas networks lists them), an architecture's key, "
        "an architecture's .json file, or package.module:callable or ./file.py:callable for a torch model"
    )


def _names(parameters: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in parameters)
