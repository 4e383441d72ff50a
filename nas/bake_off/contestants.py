"""Who takes part in a bake-off: controllers, each with settings of its own, written `name` or `name[setting=value,...]`."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from nas.targets import parse_parameters
from search_spaces.errors import UserError

BASELINE = "random"
"""The controller that the others are tested against."""
_OPENING, _CLOSING = "[{(", "]})"


@dataclass(frozen=True, slots=True)
class Contestant:
    """A controller with its settings; `label` is how it is written and called in every table."""

    label: str
    controller: str
    settings: dict[str, Any] = field(default_factory=dict)


def parse_contestants(texts: str | Iterable[str]) -> tuple[Contestant, ...]:
    """Reads `random,evolution[population=10,sample=3],optuna:tpe`, or the same in parts; values are JSON or else text.

    Raises:
        UserError: there is none, one is named twice, or one is not of this form.
    """
    parts = [part for text in ([texts] if isinstance(texts, str) else texts) for part in _split(text)]
    contestants = tuple(map(_parse, parts))
    if not contestants:
        raise UserError("controllers: name at least one, like random,evolution; see: nas controllers")
    labels = [contestant.label for contestant in contestants]
    for label in labels:
        if labels.count(label) > 1:
            raise UserError(f"controllers: {label} is named twice; name it once, or give one of them other settings")
    return contestants


def _parse(text: str) -> Contestant:
    name, bracket, rest = text.partition("[")
    name = name.strip()
    if not name or (bracket and not rest.endswith("]")):
        raise UserError(f"controllers: {text!r} must be name or name[setting=value,...]")
    settings = parse_parameters(_split(rest[:-1]), option=f"controllers: {name}") if bracket else {}
    written = ",".join(f"{key}={value}" for key, value in settings.items())
    return Contestant(f"{name}[{written}]" if written else name, name, settings)


def _split(text: str) -> list[str]:
    """The parts of a text between the commas that stand in no brackets; empty ones are left out."""
    parts = [""]
    depth = 0
    for character in text:
        depth += (character in _OPENING) - (character in _CLOSING)
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts if part.strip()]
