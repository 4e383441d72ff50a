"""A small process that outlives the driver of a cluster for moments, to end every process the driver has left behind.

It runs as `python -P reaper.py MARKER DIRECTORY` with the read end of a pipe as its standard input. The driver alone
holds the other end, so the pipe closes when the driver is done and also when it is killed in any way. Then the reaper
ends all processes whose environment has the marker, removes the directory, and ends itself. Processes are known by
their environment and not by their parent, because orphans change their parent but keep their environment.

It imports nothing of this project and nothing heavy: it must start fast and survive whatever befalls the rest.
"""

import shutil
import sys
import time
from collections.abc import Iterator

import psutil

MARKER = "NAS_CLUSTER"
"""The environment variable whose value tells the processes of one cluster."""

TERM_SECONDS = 1.0
"""How long processes may take to end by themselves once they are asked to."""

GIVE_UP_SECONDS = 30.0


def marked_processes(marker: str) -> Iterator[psutil.Process]:
    """All live processes but this one that were started with the marker in their environment."""
    for process in psutil.process_iter():
        try:
            if (
                process.environ().get(MARKER) == marker
                and process.pid != psutil.Process().pid
                and process.status() != psutil.STATUS_ZOMBIE
            ):
                yield process
        except psutil.Error:
            continue


def reap(marker: str) -> None:
    """Ends all marked processes: asks first, kills what is left, and looks again until two looks find none."""
    start = time.monotonic()
    quiet_looks = 0
    while quiet_looks < 2 and time.monotonic() - start < GIVE_UP_SECONDS:
        left = list(marked_processes(marker))
        quiet_looks = 0 if left else quiet_looks + 1
        for process in left:
            try:
                if time.monotonic() - start < TERM_SECONDS:
                    process.terminate()
                else:
                    process.kill()
            except psutil.Error:
                continue
        time.sleep(0.1)


def main(marker: str, directory: str) -> None:
    """Waits for the driver to be gone, then clears up."""
    sys.stdin.buffer.read()
    reap(marker)
    shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
