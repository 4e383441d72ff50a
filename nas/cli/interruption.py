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
        self.number: int | None = None
        """The signal that has come."""
        self._came_at = 0.0

    def check(self) -> None:
        """Raises again where a signal has had time enough to end the work, and has not.

        Raises:
            KeyboardInterrupt: a signal has come, whichever it was.
        """
        if self.number is not None and time.monotonic() - self._came_at > SWALLOWED_SECONDS:
            raise KeyboardInterrupt

    def come(self, number: int, frame: FrameType | None) -> None:
        """The handler of the signals."""
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        self.number, self._came_at = number, time.monotonic()
        # For either signal: of other exceptions Ray makes its own.
        raise KeyboardInterrupt


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
    except KeyboardInterrupt:
        if interruption.number == signal.SIGTERM:
            raise Terminated(TERMINATED) from None
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
