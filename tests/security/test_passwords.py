"""No password of a database URL comes out anywhere: each test runs real commands with a canary as the password, and looks for it."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import psutil
import pytest

import nas
from nas.config import make_config
from search_spaces.errors import UserError
from tests.db.postgresql_server import Server, free_port
from tests.nas.command_line import Ran, Run
from workers import reaper

SECRET = "c4nary/öf@the:mine"
"""With all that has to be percent-encoded in a URL."""
SPELLINGS = (SECRET, quote(SECRET, safe=""), quote(SECRET), quote(SECRET, safe="").lower())
PLAIN = "c4narypl4in"
SHORT = "c4nary"
"""What all of them begin with."""

HOME = Path(__file__).parents[2]
NAS = "import sys; from nas.cli import main; sys.exit(main())"


def urls(port: int) -> dict[str, str]:
    place = f"127.0.0.1:{port}/nas"
    encoded = quote(SECRET, safe="")
    return {
        "before the host": f"postgresql://me:{PLAIN}@{place}",
        "percent-encoded": f"postgresql://me:{encoded}@{place}",
        "not encoded": f"postgresql://me:{SECRET}@{place}",
        "as a parameter": f"postgresql://me@{place}?password={PLAIN}",
        "as a parameter, encoded": f"postgres://{place}?user=me&passwor%64={encoded}",
        "as a parameter of SSL": f"postgresql://me@{place}?sslpassword={PLAIN}&connect_timeout=1",
        "of no database of ours": f"mysql://me:{PLAIN}@{place}",
        "with a bad port": f"postgresql://me:{PLAIN}@127.0.0.1:x/nas",
    }


def check_silent(*texts: str) -> None:
    for text in texts:
        assert SHORT not in text, text


def check_files(directory: Path) -> None:
    for path in directory.rglob("*"):
        assert SHORT not in path.name
        if path.is_file() and not path.is_symlink():
            assert SHORT.encode() not in path.read_bytes(), path


def nas_command(directory: Path, *arguments: str, **environment: str) -> Ran:
    ended = subprocess.run(
        [sys.executable, "-c", NAS, *arguments],
        cwd=directory,
        env=os.environ | {"PYTHONPATH": str(HOME), "OMP_NUM_THREADS": "1"} | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return Ran(ended.returncode, ended.stdout, ended.stderr)


@pytest.fixture
def port() -> int:
    """A port where nobody answers."""
    return free_port()


@pytest.mark.parametrize("kind", urls(0))
def test_commands_on_a_database_that_does_not_answer(run: Run, tmp_path: Path, port: int, kind: str) -> None:
    db = urls(port)[kind]
    (tmp_path / "run.toml").write_text(f'db = "{db}"\n')
    commands = (
        ["search", "--executor", "serial"],
        ["search", "--executor", "serial", "--json", "--name", "s"],
        ["list"],
        ["list", "--json"],
        ["status", "s"],
        ["results", "s"],
        ["results", "s", "--json"],
        ["show", "abcd"],
        ["export", "s:best", "--out", "model"],
        ["resume", "s"],
        ["resume", "s", "--trust-code"],
        ["db", "check"],
        ["db", "backup", "copy"],
        ["analyze", "abcdef"],
        ["analyze", "s:best"],
        ["cluster", "check", "--cluster", f"127.0.0.1:{port}"],
    )
    for command in commands:
        ran = run(*command, "--db", db)
        check_silent(ran.out, ran.err)
        assert ran.code in (2, 3, 4) and ran.err.count("\n") == 1, (command, ran)
    for command in (["search", "run.toml", "--executor", "serial"], ["search", "run.toml", "--dry-run", "--json"]):
        ran = run(*command)
        check_silent(ran.out, ran.err)
    (tmp_path / "run.toml").unlink()
    check_files(tmp_path)


def test_urls_where_none_belongs(run: Run, tmp_path: Path, port: int) -> None:
    for url in urls(port).values():
        for command in (
            ["list", url],
            [url],
            ["results", "s", url],
            ["--db", url],
            ["search", "--database", url],
            ["search", "--executor", url],
            ["search", "--name", url],
            ["search", "--space", url],
            ["search", "--checkpoints", url],
            ["search", "--cluster", url],
            ["search", "--trials", url],
            ["search", url],
            ["resume", url],
            ["show", url],
            ["analyze", url],
        ):
            ran = run(*command)
            assert ran.code != 0
            check_silent(ran.out, ran.err)
    check_files(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        'db = ["{url}"]',
        'db = {{url = "{url}"}}',
        'database = "{url}"',
        'objectives = "{url}"',
        'objectives = ["{url}"]',
        'db = "{url}',
        'db = "{url}"\ntrials = "many"',
        'space_settings = "{url}"',
        'checkpoints = "{url}"',
        'weights = ["{url}"]',
        '[evaluator_settings]\ndb = "{url}"',
    ],
)
def test_bad_run_files(run: Run, tmp_path: Path, port: int, text: str) -> None:
    for url in urls(port).values():
        (tmp_path / "run.toml").write_text(text.format(url=url) + "\n")
        ran = run("search", "run.toml", "--executor", "serial")
        assert ran.code == 2, ran
        check_silent(ran.out, ran.err)


def test_python(tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.chdir(tmp_path)
    for url in urls(port).values():
        config = make_config({"db": url})
        check_silent(repr(config), str(config), config.to_json(), config.model_dump_json(), str(config.model_dump()))
        for call in ("search(db=url, executor='serial')", "results('s', db=url)", "resume('s', db=url)"):
            script = f"import os, nas\nurl = os.environ['URL']\nnas.{call}\n"
            if "@127.0.0.1:x" in url or "results" in call:
                # A traceback in full, with every error that led to another.
                ended = subprocess.run(
                    [sys.executable, "-X", "dev", "-W", "ignore", "-c", script],
                    env=os.environ | {"URL": url, "PYTHONPATH": str(HOME)},
                    capture_output=True,
                    text=True,
                    check=False,
                )
                assert ended.returncode == 1 and "Traceback" in ended.stderr
                check_silent(ended.stdout, ended.stderr)
        with pytest.raises(UserError) as caught:
            nas.results("s", db=url)
        error: BaseException | None = caught.value
        while error is not None:
            check_silent(str(error), repr(error))
            error = error.__cause__ or error.__context__
    check_silent(caplog.text)
    check_files(tmp_path)


def test_password_of_the_environment(tmp_path: Path, port: int) -> None:
    db = f"postgresql://me@127.0.0.1:{port}/nas"
    for command in (["list"], ["search", "--executor", "serial"], ["db", "check"]):
        ran = nas_command(tmp_path, *command, "--db", db, PGPASSWORD=SECRET)
        assert ran.code == 4
        check_silent(ran.out, ran.err)
    check_files(tmp_path)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    started = Server()
    yield started
    started.close()


@pytest.mark.xdist_group("ray")
def test_workers_of_ray_learn_no_password(server: Server, tmp_path: Path) -> None:
    """Neither by their environment nor their arguments; nor do Ray's files and its table of jobs."""
    secret = server.url("x").split(":")[2].split("@")[0]
    db = server.url("postgres") + "?application_name=nas&options=-cstatement_timeout%3D0"
    command = ["search", "--db", db, "--workers", "1", "--trials", "2", "--controller", "random", "--name", "s"]
    with subprocess.Popen(
        [sys.executable, "-c", NAS, *command],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(HOME), "OMP_NUM_THREADS": "1", "PGPASSWORD": secret},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            marker, directory = _cluster_of(process.pid)
            looked_at = _look(marker, secret)
            assert {"raylet", "gcs_server", "ray"} <= looked_at, looked_at
            for path in directory.rglob("*"):
                if path.is_file() and not path.is_symlink():
                    assert secret.encode() not in path.read_bytes(), path
            jobs = _jobs(marker, directory)
            assert "--controller random" in jobs
            assert secret not in jobs, jobs
            out, err = process.communicate(timeout=200)
        finally:
            process.kill()
    assert process.returncode == 0, err
    assert secret not in out + err
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or secret.encode() not in path.read_bytes()


def _cluster_of(driver: int) -> tuple[str, Path]:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for child in psutil.Process(driver).children():
            arguments = child.cmdline()
            if reaper.__file__ in arguments:
                marker = arguments[-2]
                titles = [" ".join(each.cmdline()) for each in reaper.marked_processes(marker)]
                if any("ray::Worker" in title for title in titles):
                    return marker, Path(arguments[-1])
        time.sleep(0.2)
    raise AssertionError("no worker has started")


def _look(marker: str, secret: str) -> set[str]:
    kinds = set()
    for process in reaper.marked_processes(marker):
        try:
            arguments, environment = " ".join(process.cmdline()), process.environ()
        except psutil.Error:
            continue
        assert secret not in arguments
        assert [name for name, value in environment.items() if secret in value] == [], arguments
        kinds |= {kind for kind in ("raylet", "gcs_server", "ray") if kind in arguments}
    return kinds


def _jobs(marker: str, directory: Path) -> str:
    """What the cluster's table tells of its jobs to whoever has the token."""
    arguments = [" ".join(process.cmdline()) for process in reaper.marked_processes(marker)]
    address = next(found[1] for text in arguments if (found := re.search(r"--gcs-address=(\S+)", text)))
    code = "import sys, ray; client = ray._raylet.GcsClient(address=sys.argv[1]); print(client.get_all_job_info(timeout=20))"
    ended = subprocess.run(
        [sys.executable, "-c", code, address],
        env=os.environ | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(directory / "token")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout
