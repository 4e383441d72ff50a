"""The command line: data on stdout, everything else on stderr, errors as one line and an exit code."""

import errno
import os
import sys
from collections.abc import Sequence

from search_spaces.errors import Conflict, DatabaseUnavailable, Fault, NewerFormat, NotFound, UserError

EXIT_CODES: tuple[tuple[type[UserError], int], ...] = (
    (Fault, 1),
    (NotFound, 3),
    (Conflict, 4),
    (DatabaseUnavailable, 4),
    (NewerFormat, 5),
    (UserError, 2),
)
"""The exit code of each kind of error, the narrow kinds first; 1 is a fault of ours, 130 an interruption."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code; the entry point of the `nas` command."""
    from nas.cli.app import run

    try:
        return run(sys.argv[1:] if arguments is None else list(arguments))
    except UserError as error:
        from db.url import without_passwords
        from nas.cli.output import printable

        print(f"nas: {printable(without_passwords(str(error)))}", file=sys.stderr)  # noqa: T201
        return next(code for kind, code in EXIT_CODES if isinstance(error, kind))
    except KeyboardInterrupt:
        print("nas: interrupted", file=sys.stderr)  # noqa: T201
        return 130
    except BrokenPipeError:
        # Who reads has seen enough (`| head`).
        _give_up_stdout()
        return 0
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        _give_up_stdout()
        print(f"nas: cannot write the output: {error.strerror}; make room", file=sys.stderr)  # noqa: T201
        return 4


def _give_up_stdout() -> None:
    """Lets what Python still flushes at its end go nowhere, for it would fail again and set an exit code of its own."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
