"""Starts a Ray of our own on this machine for a while, closed to others, and sees to it that nothing is left of it.

The cluster speaks over the loopback interface, demands a token that is made for it alone, and has no dashboard. Ray
binds its ports on every interface all the same; the token is what keeps others out. Token, logs and sockets live in a
private directory. Whatever way the driver ends, a reaper (`reaper.py`) started before the cluster ends all of the
cluster's processes and removes that directory: after a SIGKILL of the driver Ray's own agents would live on for half a
minute.
"""

import logging
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import ray

from workers import reaper
from workers.ray_connection import Connection, command_line_without_passwords, existing_cluster

OBJECT_STORE_BYTES = 128 * 2**20
"""Room for the weights under way; architectures and measurements travel outside of it."""

LOOPBACK = "127.0.0.2" if sys.platform == "linux" else "127.0.0.1"
"""Ray replaces 127.0.0.1 by the machine's public address on Linux, and leaves other loopback addresses as they are."""

REAPER_SECONDS = reaper.GIVE_UP_SECONDS + 5.0

_CLUSTER_ENVIRONMENT: Mapping[str, str | None] = {
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": None,
    "RAY_ADDRESS": None,
    "RAY_USAGE_STATS_ENABLED": "0",
    # Of the database, which the driver alone has to do with.
    "PGPASSWORD": None,
    # Without it Ray under `uv run` would pack and ship the working directory to its workers.
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    # Ray warns of a coming change of its handling of visible GPUs unless one chooses.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # Ray's agents give themselves titles, which would overwrite the environment that the reaper reads.
    "SPT_NOENV": "1",
    # One thread for each worker: they share the cores by their number, and sums come out the same everywhere.
    "OMP_NUM_THREADS": "1",
}


@contextmanager
def cluster(connection: Connection | None, *, cpus: int) -> Iterator[None]:
    """The Ray that this process is connected to, else that of the connection, else a local one with `cpus` CPUs.

    Raises:
        UserError: see `existing_cluster`.
    """
    if ray.is_initialized():
        yield
        return
    with local_cluster(cpus=cpus) if connection is None else existing_cluster(connection):
        yield


@contextmanager
def local_cluster(*, cpus: int) -> Iterator[None]:
    """A Ray with `cpus` logical CPUs and all the GPUs that it finds, for the time of the `with` block.

    Inside a Ray to which this process is connected already, that one is used and left as it is.
    """
    if ray.is_initialized():
        yield
        return
    directory = _private_directory()
    marker = secrets.token_hex(16)
    with _reaper(marker, directory):
        try:
            _start(cpus, marker, directory)
            yield
        finally:
            ray.shutdown()
            _reload_authentication()


def _private_directory() -> Path:
    base = tempfile.gettempdir()
    # Paths of sockets must stay below 108 characters, and Ray needs about 85 of them.
    return Path(tempfile.mkdtemp(prefix="nas-", dir=base if len(base) <= 20 else "/tmp"))


@contextmanager
def _reaper(marker: str, directory: Path) -> Iterator[None]:
    """Has a reaper stand by, lets it do its work in the end, and waits for that."""
    with subprocess.Popen(
        [sys.executable, "-P", reaper.__file__, marker, str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        # A session of its own: Ctrl-C and hanging up reach the driver alone.
        start_new_session=True,
    ) as process:
        try:
            yield
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(REAPER_SECONDS)


def _start(cpus: int, marker: str, directory: Path) -> None:
    token = directory / "token"
    token.touch(mode=0o600)
    token.write_text(secrets.token_hex(32))
    sigterm_handler = signal.getsignal(signal.SIGTERM)
    inherited = {
        **_CLUSTER_ENVIRONMENT,
        reaper.MARKER: marker,
        "RAY_AUTH_TOKEN_PATH": str(token),
        # What the driver can import its workers can, evaluators of other packages among it.
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    with _environment(inherited), command_line_without_passwords():
        _reload_authentication()
        ray.init(
            address="local",
            num_cpus=cpus,
            object_store_memory=OBJECT_STORE_BYTES,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            _node_ip_address=LOOPBACK,
            # Ray opens this directory to everybody, so it must lie within the private one.
            _temp_dir=str(directory / "ray"),
        )
    if threading.current_thread() is threading.main_thread():
        # Ray has put its own in the place of whatever the driver does on SIGTERM.
        signal.signal(signal.SIGTERM, sigterm_handler)


@contextmanager
def _environment(changes: Mapping[str, str | None]) -> Iterator[None]:
    """Changes environment variables (None: removes them) and restores them all in the end."""
    before = dict(os.environ)
    try:
        for name, value in changes.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _reload_authentication() -> None:
    """Has Ray read mode and token from the environment again; it reads them once per process otherwise."""
    ray._raylet.Config.initialize("")
    ray._raylet.AuthenticationTokenLoader.instance().reset_cache()
