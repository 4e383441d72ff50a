"""Clusters that exist, each really started: one without token is refused, one with a token takes the right one alone."""

import contextlib
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.db.postgresql_server import free_port
from tests.nas.command_line import Ran
from tests.security.hostile import check_refused, state

pytestmark = pytest.mark.xdist_group("ray")

HOME = Path(__file__).parents[2]
NAS = "import sys; from nas.cli import main; sys.exit(main())"
MARK = "NAS_SECURITY_TEST"
SEARCH = ("search", "--space", "digits201", "--evaluator", "tabular", "--table", "digits201", "--signal")
SEARCH += ("val_accuracy_e6_s0", "--controller", "random", "--trials", "2", "--workers", "1", "--name", "s")


class Head:
    """The head of a cluster, with an environment that knows nothing of tokens but what is given."""

    def __init__(self, directory: Path, authentication: Mapping[str, str]) -> None:
        self.address = f"127.0.0.4:{free_port()}"
        self._directory = directory
        self._mark = secrets.token_hex(8)
        # Paths of sockets must be short.
        self._temporary = Path(tempfile.mkdtemp(prefix="nas-", dir="/tmp"))
        host, _, port = self.address.partition(":")
        ray = str(Path(sys.executable).with_name("ray"))
        arguments = ["start", "--head", f"--port={port}", "--num-cpus=1", f"--node-ip-address={host}"]
        arguments += [f"--temp-dir={self._temporary}", "--include-dashboard=false"]
        ended = subprocess.run(
            [ray, *arguments],
            env=self._environment(authentication) | {MARK: self._mark, "SPT_NOENV": "1"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr

    def nas(self, *arguments: str, **authentication: str) -> Ran:
        """Runs a command in the directory of the test."""
        ended = subprocess.run(
            [sys.executable, "-c", NAS, *arguments],
            cwd=self._directory,
            env=self._environment(authentication),
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        return Ran(ended.returncode, ended.stdout, ended.stderr)

    def close(self) -> None:
        """Ends what this one has started, and nothing of other clusters."""
        for _ in range(3):
            for process in psutil.process_iter():
                with contextlib.suppress(psutil.Error):
                    if process.environ().get(MARK) == self._mark:
                        process.kill()
            time.sleep(0.2)
        shutil.rmtree(self._temporary, ignore_errors=True)

    def _environment(self, authentication: Mapping[str, str]) -> dict[str, str]:
        others = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        # No token lies in this home.
        own = {"HOME": str(self._directory.parent / "home"), "PYTHONPATH": str(HOME), "OMP_NUM_THREADS": "1"}
        return others | own | {"RAY_USAGE_STATS_ENABLED": "0"} | dict(authentication)


@contextmanager
def head(tmp_path: Path, **authentication: str) -> Iterator[Head]:
    directory = tmp_path / "work"
    directory.mkdir()
    (tmp_path / "home").mkdir()
    started = Head(directory, authentication)
    try:
        yield started
    finally:
        started.close()


@pytest.mark.timeout(600)
def test_a_cluster_without_token_is_refused_unless_told_otherwise(tmp_path: Path) -> None:
    open_to_all = {"RAY_AUTH_MODE": "disabled"}
    with head(tmp_path, **open_to_all) as cluster:
        to = ("--cluster", cluster.address)
        before = state(tmp_path)
        check_refused(cluster.nas(*SEARCH, *to, **open_to_all), 2, "asks for no token", "--insecure")
        # Nor does an address in the environment go unchecked.
        ran = cluster.nas(*SEARCH, RAY_ADDRESS=cluster.address, **open_to_all)
        check_refused(ran, 2, "asks for no token")
        assert state(tmp_path / "work") == {name[5:]: each for name, each in before.items() if name[:5] == "work/"}
        checked = cluster.nas("cluster", "check", *to, **open_to_all)
        assert checked.code == 4 and "asks for no token" in checked.err
        ran = cluster.nas(*SEARCH, *to, "--insecure", **open_to_all)
        assert ran.code == 0, ran.err
        # What one search was told another one was not.
        check_refused(cluster.nas(*SEARCH[:-1], "again", *to, **open_to_all), 2, "asks for no token")
        assert "insecure" not in (cluster.nas("results", "s", "--json").out)


@pytest.mark.timeout(600)
def test_a_cluster_with_token_takes_the_right_one_alone(tmp_path: Path) -> None:
    right, wrong = secrets.token_hex(32), secrets.token_hex(32)
    with_token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": right}
    with head(tmp_path, **with_token) as cluster:
        to = ("--cluster", cluster.address)
        for authentication in (
            {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": wrong},
            {"RAY_AUTH_MODE": "disabled"},
            {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(tmp_path / "absent")},
        ):
            for more in ((), ("--insecure",)):
                ran = cluster.nas(*SEARCH, *to, *more, **authentication)
                check_refused(ran, 2, cluster.address)
                assert right not in ran.err and wrong not in ran.err
                assert list((tmp_path / "work").iterdir()) == []
        ran = cluster.nas(*SEARCH, *to, **with_token)
        assert ran.code == 0, ran.err
        assert right not in ran.out + ran.err
        for path in (tmp_path / "work").rglob("*"):
            assert not path.is_file() or right.encode() not in path.read_bytes()
