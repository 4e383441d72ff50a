"""Ctrl-C and SIGTERM while a search runs: the first ends it cleanly, and nobody's impatience interrupts that."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

TERMINATED = 128 + signal.SIGTERM
"""The exit code of a command that was asked to end."""


class Terminated(SystemExit):
    """SIGTERM, which batch systems and Kubernetes send some time before they kill."""


@contextmanager
def interruptible_once() -> Iterator[None]:
    """Lets the first Ctrl-C or SIGTERM interrupt the `with` block, and ignores all that come while it cleans up.

    Raises:
        KeyboardInterrupt: it was Ctrl-C.
        Terminated: it was SIGTERM.
    """
    before = {number: signal.signal(number, _interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(number: int, frame: FrameType | None) -> None:
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    raise Terminated(TERMINATED) if number == signal.SIGTERM else KeyboardInterrupt
