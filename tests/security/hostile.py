"""What the security tests attack with and look after: a canary that sings where code ran, and the state of a directory."""

import os
import pickle
from hashlib import sha256
from pathlib import Path
from typing import Any

from tests.nas.command_line import Ran


class Canary:
    """A file that appears as soon as something of ours runs the code that hostile files bring along."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def command(self) -> str:
        """For a shell."""
        return f"touch {self.path}"

    @property
    def source(self) -> str:
        """For Python."""
        return f"open({str(self.path)!r}, 'w').close()"

    def pickle(self) -> bytes:
        """Bytes that run a command when they are unpickled."""
        return pickle.dumps(_Bomb(self.command))

    @property
    def is_silent(self) -> bool:
        return not self.path.exists()


class _Bomb:
    def __init__(self, command: str) -> None:
        self._command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self._command,)


def state(directory: Path) -> dict[str, str]:
    """Everything in a directory, at any depth, with what links lead to and what files hold; not SQLite's own side files."""
    found = {}
    for path in sorted(directory.rglob("*")):
        name = str(path.relative_to(directory))
        if name.endswith(("-wal", "-shm")):
            continue
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        elif path.is_file():
            found[name] = sha256(path.read_bytes()).hexdigest()
        else:
            found[name] = "directory"
    return found


def check_refused(ran: Ran, code: int, *says: str) -> None:
    """Refused with an exit code and one line that a terminal can show and that says all of `says`."""
    assert (ran.code, ran.out) == (code, ""), ran
    line = ran.err.removesuffix("\n")
    assert line.startswith("nas: "), ran
    assert line.isprintable() and len(line) < 1_000, line
    for text in says:
        assert text in line, line
