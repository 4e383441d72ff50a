"""The errors that a user can mend, raised by every floor and turned into one line and an exit code by the front door."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(ValueError):
    """Something the user gave is wrong; the message says what, where and how to mend it (exit code 2)."""


class InvalidArchitecture(UserError):
    """A graph breaks a rule; the message names the rule and the node (exit code 2)."""


class NotFound(UserError):
    """A thing that was asked for by name does not exist (exit code 3)."""


class Conflict(UserError):
    """The request contradicts what is stored already (exit code 4)."""


class DatabaseUnavailable(UserError):
    """The database's server does not answer, or not any more; what was being written may be stored or not (exit code 4)."""


class NewerFormat(UserError):
    """A file or database was written by a newer version of nas (exit code 5)."""


class Fault(UserError):
    """Something of ours did not pass a check of ours, and nothing is handed over (exit code 1)."""


def unknown_name(kind: str, name: object, known: Iterable[str]) -> UserError:
    """The error for a `name` that is none of the `known` ones, with the nearest of them or all as the remedy."""
    names = sorted(known)
    close = get_close_matches(str(name), names, n=1)
    remedy = f"did you mean {close[0]!r}?" if close else f"choose one of: {', '.join(names)}"
    return UserError(f"unknown {kind} {name!r}; {remedy}")
