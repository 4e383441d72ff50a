"""Ctrl-C and SIGTERM while a search runs: the first ends it cleanly, and nobody's impatience interrupts that."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SWALLOWED_SECONDS = 3.0
"""After so long a signal that has ended nothing is taken for lost."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM)

TERMINATED = 128 + signal.SIGTERM
"""The exit code of a command that was asked to end."""


class Terminated(SystemExit):
    """SIGTERM, which batch systems and Kubernetes send some time before they kill."""


class Interruption:
    """Whether a signal has come; `check` is called now and then, and raises what was swallowed on its way.

    Python raises in whatever runs in that moment, and callbacks from C, of which Ray has many, let nothing through.
    """

    def __init__(self) -> None:
        self._number: int | None = None
        self._came_at = 0.0

    def check(self) -> None:
        """Raises again where a signal has had time enough to end the work, and has not.

        Raises:
            KeyboardInterrupt: it was Ctrl-C.
            Terminated: it was SIGTERM.
        """
        if self._number is not None and time.monotonic() - self._came_at > SWALLOWED_SECONDS:
            raise _raised_by(self._number)

    def come(self, number: int, frame: FrameType | None) -> None:
        """The handler of the signals."""
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        self._number, self._came_at = number, time.monotonic()
        raise _raised_by(number)


@contextmanager
def interruptible_once() -> Iterator[Interruption]:
    """Lets the first Ctrl-C or SIGTERM interrupt the `with` block, and ignores all that come while it cleans up.

    Raises:
        KeyboardInterrupt: it was Ctrl-C.
        Terminated: it was SIGTERM.
    """
    interruption = Interruption()
    before = {number: signal.signal(number, interruption.come) for number in _SIGNALS}
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _raised_by(number: int) -> BaseException:
    return Terminated(TERMINATED) if number == signal.SIGTERM else KeyboardInterrupt()
