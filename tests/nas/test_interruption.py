"""The first signal ends a search, also where the exception that it raised was swallowed; later ones are ignored."""

import os
import signal

import pytest

from nas.cli import interruption
from nas.cli.interruption import TERMINATED, Terminated, interruptible_once


@pytest.mark.parametrize(("number", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)])
def test_what_was_swallowed_is_raised_again(
    monkeypatch: pytest.MonkeyPatch, number: signal.Signals, raised: type[BaseException]
) -> None:
    before = signal.getsignal(number)
    with pytest.raises(raised), interruptible_once() as found:
        found.check()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)
        found.check()
        monkeypatch.setattr(interruption, "SWALLOWED_SECONDS", -1.0)
        found.check()
    assert signal.getsignal(number) is before
    assert Terminated(TERMINATED).code == 143
