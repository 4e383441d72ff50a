"""Our local Ray is closed to others and leaves nothing behind, however its driver ends. Each test runs a real driver."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from workers import reaper

DRIVER = """
import os, sys
import ray
from tests.contracts.executor import ListSource, ToyEvaluator, tasks
from workers.ray_pool import RayPoolExecutor

class Tell(ListSource):
    def next_task(self, worker):
        if len(self.waiting) == 3:
            print(ray.get_runtime_context().gcs_address, flush=True)
        return super().next_task(worker)

before = dict(os.environ)
try:
    for seconds in map(float, sys.argv[1:]):
        source = Tell(tasks(3))
        RayPoolExecutor(ToyEvaluator(epoch_seconds=seconds), workers=2).run(source)
        print(len(source.outcomes), flush=True)
finally:
    # Ray itself sets two variables of no consequence in every driver.
    after = {name: value for name, value in os.environ.items() if name in before or name.startswith(("RAY_AUTH", "NAS"))}
    print("restored" if after == before else after, flush=True)
"""


class Driver:
    """A process that runs three tasks on two Ray workers, and the cluster that it has told of."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.read_cluster()

    def read_cluster(self) -> None:
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().strip()
        assert self.address, self.process.communicate()
        children = psutil.Process(self.process.pid).children()
        (self.reaper,) = [child for child in children if reaper.__file__ in child.cmdline()]
        self.marker, directory = self.reaper.cmdline()[-2:]
        self.directory = Path(directory)

    def processes(self, title: str = "") -> list[psutil.Process]:
        return [process for process in reaper.marked_processes(self.marker) if title in " ".join(process.cmdline())]

    def is_gone(self) -> bool:
        """Whether no process and no file of the cluster is left ten seconds from now at the latest."""
        return within(10, lambda: not (self.processes() or self.reaper.is_running() or self.directory.exists()))


def within(seconds: float, condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.1)
    return False


@contextmanager
def driver(*epoch_seconds: float) -> Iterator[Driver]:
    """A driver that runs one search after the other, with epochs of these lengths."""
    with subprocess.Popen(
        [sys.executable, "-c", DRIVER, *map(str, epoch_seconds)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd="/",
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "CI": "1"},
        process_group=0,
    ) as process:
        try:
            yield Driver(process)
        finally:
            process.kill()


def connect(address: str, **environment: str) -> subprocess.CompletedProcess[str]:
    code = f"import ray; print(ray._raylet.GcsClient(address={address!r}).internal_kv_keys(b'', None, timeout=5))"
    others = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return subprocess.run(
        [sys.executable, "-c", code], env=others | environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_the_cluster_demands_its_token_has_no_dashboard_and_dies_with_its_killed_driver() -> None:
    with driver(300) as running:
        assert running.address.startswith("127.")
        assert within(60, lambda: len(running.processes("ray::Worker.fetch")) == 2)

        token = running.directory / "token"
        assert token.stat().st_mode & 0o777 == 0o600
        assert running.directory.stat().st_mode & 0o077 == 0
        assert connect(running.address, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN_PATH=str(token)).returncode == 0
        for credentials in ({"RAY_AUTH_MODE": "disabled"}, {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}):
            refused = connect(running.address, **credentials)
            assert refused.returncode == 1
            assert "AuthenticationError" in refused.stderr

        for process in running.processes("dashboard/dashboard.py"):
            assert not [each for each in process.net_connections() if each.status == psutil.CONN_LISTEN]

        running.process.kill()
        assert running.process.wait() == -signal.SIGKILL
        assert running.is_gone()


def test_two_clusters_of_one_driver_end_normally_and_by_an_interruption() -> None:
    with driver(0.1, 300) as running:
        first = running.directory
        assert running.process.stdout is not None
        assert running.process.stdout.readline() == "3\n"
        assert running.is_gone()

        running.read_cluster()
        assert running.directory != first
        assert within(60, lambda: len(running.processes("ray::Worker.fetch")) == 2)
        # Ctrl-C goes to everything in the foreground, Ray's processes too.
        os.killpg(running.process.pid, signal.SIGINT)
        output, errors = running.process.communicate(timeout=60)
        assert running.is_gone()
        assert output == "restored\n"
        assert running.process.returncode == -signal.SIGINT
        # Ray has printed nothing in all that time.
        assert errors.startswith("Traceback")
        assert "KeyboardInterrupt" in errors
