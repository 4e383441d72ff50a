"""Runs the searches of a contest over the cores, in processes that hold one contest each and do one search at a time.

The processes are started anew instead of forked, since torch and its threads do not survive a fork, and with a command
of their own, so that a script that calls `nas.bakeoff` needs no guard against being imported again. They hear nothing
of Ctrl-C: who started them ends them. Should that process die, they see the pipe close and end by themselves.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Generator, Iterator
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any

from nas.bake_off.contest import Contest, Searches
from nas.bake_off.simulation import Run
from search_spaces.errors import Fault, UserError

Job = tuple[int, int]
_ENDING_SECONDS = 5.0


def run_all(contest: Contest, *, workers: int) -> Generator[tuple[Job, Run], None, None]:
    """Every search of the contest as it ends, in any order; with one worker in this process.

    Raises:
        UserError: a search failed; the message names the controller and the seed. The others are given up.
    """
    if workers == 1:
        searches = Searches(contest)
        for job in contest.jobs:
            try:
                run = searches.run(*job)
            except Exception as error:
                raise _blamed(contest, job, error) from error
            yield job, run
        return
    with _Crew(contest, min(workers, len(contest.jobs))) as crew:
        yield from crew.run()


class _Crew:
    """The processes of a contest; a context manager that leaves none behind."""

    def __init__(self, contest: Contest, workers: int) -> None:
        self._contest = contest
        self._processes: dict[Connection[Any, Any], subprocess.Popen[bytes]] = {}
        self._workers = workers

    def __enter__(self) -> "_Crew":
        try:
            for _ in range(self._workers):
                self._start()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end()

    def _start(self) -> None:
        ours, theirs = Pipe()
        paths = os.pathsep.join(path or os.getcwd() for path in sys.path)  # noqa: PTH109
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-c", f"from nas.bake_off.processes import serve; serve({theirs.fileno()})"],
                # Threads of several processes that spin for the same cores cost more than they bring.
                env={"OMP_NUM_THREADS": "1", **os.environ, "PYTHONPATH": paths},
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                # What a controller prints must not get among the data.
                stdout=2,
                start_new_session=True,
            )
        self._processes[ours] = process
        _send(ours, self._contest)

    def _end(self) -> None:
        for connection, process in self._processes.items():
            process.kill()
            process.wait(_ENDING_SECONDS)
            connection.close()
        self._processes.clear()

    def run(self) -> Iterator[tuple[Job, Run]]:
        """Hands out the searches, one at a time to each process."""
        waiting = iter(self._contest.jobs)
        out: dict[Any, Job] = {}
        for connection in self._processes:
            out[connection] = next(waiting)
            _send(connection, out[connection])
        while out:
            for connection in [connection for connection in wait(list(out)) if isinstance(connection, Connection)]:
                job = out.pop(connection)
                try:
                    answer = connection.recv()
                except (EOFError, OSError):
                    code = self._processes[connection].wait(_ENDING_SECONDS)
                    answer = Fault(f"its process ended with exit code {code}")
                if isinstance(answer, Exception):
                    raise _blamed(self._contest, job, answer) from answer
                following = next(waiting, None)
                if following is not None:
                    out[connection] = following
                    _send(connection, following)
                yield job, answer


def _send(connection: "Connection[Any, Any]", message: object) -> None:
    """Sends, or leaves it to the next who reads to find that the other side is gone."""
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        connection.send(message)


def serve(descriptor: int) -> None:
    """What such a process does: receives the contest, then searches, and sends what each came to."""
    # Whoever started this process is gone where the pipe is closed.
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError), Connection(descriptor) as connection:
        contest = connection.recv()
        searches: Searches | None = None
        while True:
            job = connection.recv()
            try:
                searches = searches or Searches(contest)
                answer: Run | Exception = searches.run(*job)
            except UserError as error:
                answer = error
            except Exception as error:  # noqa: BLE001 - a controller may fail in any way, and is to be named
                # Not every exception can be sent.
                answer = Fault(f"{type(error).__name__}: {error}")
            connection.send(answer)


def _blamed(contest: Contest, job: Job, error: Exception) -> UserError:
    """The error of a search with who made it before it."""
    index, seed = job
    kind = type(error) if isinstance(error, UserError) else Fault
    text = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
    return kind(f"{contest.contestants[index].label}, seed {seed}: {' '.join(text.split())}")
