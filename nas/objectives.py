"""Objectives and hard constraints: what a search optimises, and what an architecture must keep to be tried at all."""

import math
import operator
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from analysis import FIGURES
from search_spaces.errors import UserError, unknown_name


class Direction(StrEnum):
    """Which end of an objective is good."""

    MAXIMISE = "max"
    MINIMISE = "min"


@dataclass(frozen=True, slots=True)
class Objective:
    """A named value to be maximised or minimised."""

    name: str
    direction: Direction

    def __str__(self) -> str:
        return f"{self.name}:{self.direction}"

    def gain(self, values: Mapping[str, float]) -> float:
        """The value with its sign turned so that more is better."""
        value = values[self.name]
        return value if self.direction is Direction.MAXIMISE else -value


_COSTS = ("loss", "error", "seconds", "latency", "macs", "flops", "params", "bytes", "epochs")
"""Words in the names of metrics of which less is better."""

_COMPARISONS = {"<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt}
_CONSTRAINT = re.compile(r"\s*([A-Za-z_]\w*)\s*(<=|>=|<|>)\s*(\S+)\s*")


@dataclass(frozen=True, slots=True)
class Constraint:
    """A bound on a figure of the analysis, checked before anything is trained."""

    name: str
    comparison: str
    bound: float

    def __str__(self) -> str:
        return f"{self.name}{self.comparison}{self.bound:,.12g}"

    def holds(self, figures: Mapping[str, float]) -> bool:
        """Whether the figure keeps the bound."""
        return bool(_COMPARISONS[self.comparison](figures[self.name], self.bound))


def parse_objective(text: str, known: Iterable[str]) -> Objective:
    """Reads `NAME`, `NAME:max` or `NAME:min`; without a direction, costs and losses are minimised, all else maximised.

    Raises:
        UserError: the name is not among `known`, or the direction is neither `max` nor `min`.
    """
    name, _, direction = text.strip().partition(":")
    names = tuple(known)
    if name not in names:
        raise unknown_name("objective", name, names)
    if not direction:
        is_cost = name in FIGURES or any(word in name for word in _COSTS)
        direction = "min" if is_cost else "max"
    if direction not in ("max", "min"):
        raise UserError(f"objective {text!r}: the direction must be max or min, got {direction!r}")
    return Objective(name, Direction(direction))


def parse_constraint(text: str, known: Iterable[str]) -> Constraint:
    """Reads `NAME<=NUMBER` (also `>=`, `<`, `>`); `100_000` and `50e6` are numbers.

    Raises:
        UserError: the text has another form, the name is not among `known`, or the bound is not finite.
    """
    match = _CONSTRAINT.fullmatch(text)
    if match is None:
        raise UserError(f"constraint {text!r}: write it as NAME<=NUMBER, for example 'params<=100_000'")
    name, comparison, number = match.groups()
    names = tuple(known)
    if name not in names:
        raise unknown_name("constraint", name, names)
    try:
        bound = float(number)
    except ValueError:
        raise UserError(f"constraint {text!r}: {number!r} is not a number") from None
    if not math.isfinite(bound):
        raise UserError(f"constraint {text!r}: the bound must be finite")
    return Constraint(name, comparison, bound)
