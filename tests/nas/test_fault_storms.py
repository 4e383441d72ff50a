"""Storms of faults: a driver killed at a hundred moments, nodes that come and go, a cluster whose head is lost."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from db.store import Store
from db.trial import TrialState
from tests.nas.driven import diary, finish, finished, nas, slow, start, wait_for_finished

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray")]


def descendants(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(process.pid).children(recursive=True)
    return []


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("executor", ["serial", "ray"])
def test_a_driver_killed_at_a_hundred_random_moments_loses_nothing_and_repeats_nothing(
    tmp_path: Path, executor: str
) -> None:
    kills = 80 if executor == "serial" else 20
    trials = 400
    rng = random.Random(executor)
    flags = ("--trials", str(trials), "--executor", executor, "--workers", "2")
    driver = start(tmp_path, *slow(tmp_path, seconds=0.03), *flags)
    longest_to_ready = 0.0
    for _ in range(kills):
        if driver.poll() is not None:
            break
        begun = time.monotonic()
        before = len(diary(tmp_path))
        while len(diary(tmp_path)) == before and driver.poll() is None:
            assert time.monotonic() - begun < 120
            time.sleep(0.01)
        longest_to_ready = max(longest_to_ready, time.monotonic() - begun)
        time.sleep(rng.uniform(0, 0.3))
        children = descendants(driver)
        kept = {trial.number: trial for trial in finished(tmp_path)}
        driver.kill()
        driver.communicate()
        _, alive = psutil.wait_procs(children, timeout=10)
        assert not alive, [process.cmdline() for process in alive]
        after = {trial.number: trial for trial in finished(tmp_path)}
        assert {number: after[number] for number in kept} == kept, "a finished trial was lost or changed"
        driver = nas(tmp_path, "resume", "s", "--trust-code")
    finish(driver)
    print(f"{executor}: ready after {longest_to_ready:.1f} s at the longest")
    done = finished(tmp_path)
    assert [trial.number for trial in done] == list(range(trials)), "the budget is not exact"
    assert {trial.state for trial in done} == {TrialState.COMPLETE}
    # A trial that had ended in a worker, but was not recorded when the driver died, may run again; none that was.
    finished_runs = Counter(line.number for line in diary(tmp_path) if line.what == "end")
    fresh = {trial.number for trial in done if trial.reused_from is None}
    assert set(finished_runs) == fresh
    assert all(count <= done[number or 0].attempts for number, count in finished_runs.items())


def ray_command(directory: Path, *arguments: str) -> None:
    subprocess.run(
        [str(Path(sys.executable).with_name("ray")), *arguments],
        check=True,
        capture_output=True,
        env=environment(directory),
    )


def environment(directory: Path) -> dict[str, str]:
    """That of a cluster of this test alone: a token of its own, and a mark by which its processes are found."""
    return {
        **os.environ,
        "HOME": str(directory),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": "0123456789abcdef0123456789abcdef",
        "RAY_USAGE_STATS_ENABLED": "0",
        "NAS_TEST_CLUSTER": str(directory),
        "SPT_NOENV": "1",
        "PYTHONPATH": os.pathsep.join([str(directory), str(Path(__file__).parents[2])]),
    }


class RayCluster:
    """A head and nodes, started as people start them, on ports of their own."""

    def __init__(self, directory: Path, port: int) -> None:
        self.directory = directory
        self.address = f"127.0.0.3:{port}"
        self._temporary = Path("/tmp") / f"nas-ray-{os.getpid()}-{port}"
        common = ["--node-ip-address=127.0.0.3", f"--temp-dir={self._temporary}", "--include-dashboard=false"]
        ray_command(directory, "start", "--head", f"--port={port}", "--num-cpus=1", *common)

    def add_node(self, number: int) -> None:
        ray_command(
            self.directory, "start", f"--address={self.address}", "--num-cpus=1", f"--node-ip-address=127.0.0.{number}"
        )

    def processes(self) -> Iterator[psutil.Process]:
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get("NAS_TEST_CLUSTER") == str(self.directory):
                    yield process

    def kill_node(self, number: int) -> None:
        """Kills the raylet of a node, as when its machine is gone."""
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                command = process.cmdline()
                if "raylet/raylet" in command[0] and any(
                    f"--node_ip_address=127.0.0.{number}" in each for each in command
                ):
                    process.kill()

    def kill_head(self) -> None:
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                if "gcs_server" in process.cmdline()[0] or "raylet/raylet" in process.cmdline()[0]:
                    process.kill()

    def close(self) -> None:
        for _ in range(3):
            for process in self.processes():
                with contextlib.suppress(psutil.Error):
                    process.kill()
            time.sleep(0.2)


@pytest.fixture
def clusters(tmp_path: Path) -> Iterator[Callable[[int], RayCluster]]:
    made: list[RayCluster] = []

    def make(port: int) -> RayCluster:
        directory = tmp_path / str(port)
        directory.mkdir()
        made.append(RayCluster(directory, port))
        return made[-1]

    yield make
    for cluster in made:
        cluster.close()


def search_on(cluster: RayCluster, directory: Path, command: str, *flags: str) -> "subprocess.Popen[str]":
    arguments = [sys.executable, "-c", "import sys; from nas.cli import main; sys.exit(main())", command, *flags]
    env = {**environment(cluster.directory), "NAS_TEST_CLUSTER": ""}
    env["PYTHONPATH"] = os.pathsep.join([str(directory), env["PYTHONPATH"]])
    return subprocess.Popen(
        [*arguments, "--cluster", cluster.address],
        cwd=directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=env,
        start_new_session=True,
    )


def check_all_done(directory: Path, trials: int) -> None:
    done = finished(directory)
    assert [trial.number for trial in done] == list(range(trials))
    assert {trial.state for trial in done} == {TrialState.COMPLETE}


@pytest.mark.timeout(900)
def test_a_node_is_removed_and_a_node_is_added_during_a_search(
    tmp_path: Path, clusters: Callable[[int], RayCluster]
) -> None:
    cluster = clusters(7411)
    # What a user installs on every node.
    (cluster.directory / "slow.py").write_text("")
    flags = slow(tmp_path, seconds=1.0)
    (cluster.directory / "slow.py").write_text((tmp_path / "slow.py").read_text())
    cluster.add_node(4)
    driver = search_on(
        cluster, tmp_path, "search", "--name", "s", "--trials", "40", "--workers", "2", "--db", "nas.db", *flags
    )
    wait_for_finished(driver, tmp_path, 4)
    assert len({line.pid for line in diary(tmp_path)}) == 2
    cluster.kill_node(4)
    wait_for_finished(driver, tmp_path, len(finished(tmp_path)) + 4)
    alone_from = len(diary(tmp_path))
    cluster.add_node(5)
    finish(driver)
    check_all_done(tmp_path, 40)
    assert len({line.pid for line in diary(tmp_path)[alone_from:]}) >= 2, "the added node had nothing to do"


@pytest.mark.timeout(900)
def test_the_head_is_lost_and_the_search_goes_on_on_another_cluster(
    tmp_path: Path, clusters: Callable[[int], RayCluster]
) -> None:
    first = clusters(7421)
    flags = slow(tmp_path, seconds=0.5)
    (first.directory / "slow.py").write_text((tmp_path / "slow.py").read_text())
    driver = search_on(
        first, tmp_path, "search", "--name", "s", "--trials", "20", "--workers", "1", "--db", "nas.db", *flags
    )
    wait_for_finished(driver, tmp_path, 4)
    first.kill_head()
    _, err = driver.communicate(timeout=180)
    assert driver.returncode not in (0, -signal.SIGSEGV), err
    before = {trial.number: trial for trial in finished(tmp_path)}
    assert len(before) >= 4
    second = clusters(7431)
    (second.directory / "slow.py").write_text((tmp_path / "slow.py").read_text())
    finish(search_on(second, tmp_path, "resume", "s", "--trust-code"))
    check_all_done(tmp_path, 20)
    after = {trial.number: trial for trial in finished(tmp_path)}
    assert {number: after[number] for number in before} == before


def test_thirty_two_processes_read_while_one_search_writes(tmp_path: Path) -> None:
    driver = start(tmp_path, *slow(tmp_path, seconds=0.01), "--trials", "300", "--executor", "serial")
    wait_for_finished(driver, tmp_path, 3)
    readers = [nas(tmp_path, "status", "s", "--json") for _ in range(32)]
    for reader in readers:
        out, err = reader.communicate(timeout=250)
        assert reader.returncode == 0, err
        assert '"state"' in out
        assert "locked" not in err
    finish(driver)
    with Store.open(str(tmp_path / "nas.db"), mode="read") as store:
        assert len(store.trials("s")) == 300
