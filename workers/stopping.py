"""How an evaluator learns between two batches that nobody wants its result any more."""

from collections.abc import Callable
from contextvars import ContextVar


class Stopped(Exception):
    """The task was told to stop; raised by `stop_point` in the midst of an epoch."""


_is_stopped: ContextVar[Callable[[], bool]] = ContextVar("is_stopped", default=lambda: False)


def stop_point() -> None:
    """Ends the evaluation here if its task was told to stop; evaluators call it between batches, at next to no cost.

    Raises:
        Stopped: it was; let it through.
    """
    if _is_stopped.get()():
        raise Stopped


def watch(is_stopped: Callable[[], bool]) -> Callable[[], bool]:
    """Has the stop points of this thread ask `is_stopped` from now on; returns whom they asked before."""
    before = _is_stopped.get()
    _is_stopped.set(is_stopped)
    return before
