"""Whole bake-offs: any number of processes, what they come to, failures, interruption, and the command line."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

import nas
from nas.bake_off import curves, report
from nas.bake_off.contest import Contest, make_contest
from nas.bake_off.contestants import parse_contestants
from nas.bake_off.hold import BakeOffProgress, hold
from nas.bake_off.standings import BakeOff
from search_spaces.errors import Conflict, Fault, NotFound, UserError
from tests.nas.bake_off_table import SPACE, SPACE_SETTINGS, write_table
from tests.nas.command_line import Run

CONTROLLERS = "random,evolution[population=5,sample=3],local-search"
SPACE_FLAGS = [
    flag for name, value in SPACE_SETTINGS.items() for flag in ("--space-set", f"{name}={json.dumps(value)}")
]

SCRIPT = "import sys; from nas.cli import main; sys.exit(main(sys.argv[1:]))"


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_table(tmp_path_factory.mktemp("tables"))


def contest(path: str, controllers: str = CONTROLLERS, **settings: Any) -> Contest:
    plain: dict[str, Any] = {
        "table": path,
        "seeds": 4,
        "budget": 30,
        "at": (10, 20, 30),
        "signal": "late",
        "report": "test",
    }
    return make_contest(controllers, **{"space": SPACE, "space_settings": SPACE_SETTINGS, **plain, **settings})


@pytest.fixture(scope="module")
def held(table: str) -> BakeOff:
    return hold(contest(table), workers=1)


def without_clocks(found: BakeOff) -> dict[str, Any]:
    document = found.to_dict()
    for key in ("elapsed_seconds", "workers"):
        del document[key]
    for entry in document["controllers"]:
        del entry["median_milliseconds"], entry["mean_milliseconds"]
    return document


def test_the_number_of_processes_changes_nothing(table: str, held: BakeOff) -> None:
    seen: list[BakeOffProgress] = []
    together = hold(contest(table), workers=2, listener=seen.append)
    assert without_clocks(together) == without_clocks(held)
    assert [progress.done for progress in seen] == list(range(13))
    assert seen[0].seconds_left is None
    assert seen[-1].seconds_left == 0
    assert not psutil.Process().children()


def test_what_a_bake_off_comes_to(held: BakeOff) -> None:
    assert held.contest.judged == "test"
    assert [measure.name for measure in held.contest.measures] == ["signal", "test"]
    for index, entry in enumerate(held.entries):
        assert entry.evaluations == 30
        assert 0 <= entry.repeated_share < 1
        assert entry.mean_milliseconds > 0
        for place, mark in enumerate(held.contest.marks):
            stop = held.contest.stops.index(mark)
            values = [held.runs[index, seed].points[stop].values[1] for seed in range(4)]
            assert entry.standings[place].measures["test"].mean == pytest.approx(sum(values) / 4)
        signals = [point.mean or 0.0 for point in entry.curves["signal"]]
        assert signals == sorted(signals), "the best signal so far never falls"
    leader = held.entries[held.leader]
    assert leader.standings[-1].rank == 1
    assert leader.standings[-1].against_leader is None
    assert held.entries[0].standings[0].against_random is None
    assert held.entries[1].standings[0].against_random is not None
    document = held.to_dict()
    assert document["schema"] == 1
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    tested = document["controllers"][1]["standings"][-1]["against_random"]
    assert tested["better_adjusted"] >= tested["better"]


def test_less_is_better_where_it_is_said(table: str, held: BakeOff) -> None:
    less = hold(contest(table, report="loss:min"), workers=1)
    assert [entry.contestant.label for entry in less.ranked] == [entry.contestant.label for entry in held.ranked]
    for entry, other in zip(less.entries, held.entries, strict=True):
        assert entry.standings[-1].measures["loss"].mean == pytest.approx(
            100 - (other.standings[-1].measures["test"].mean or 0.0)
        )
        assert entry.standings[-1].against_random == other.standings[-1].against_random


def test_any_cheap_evaluator_will_do() -> None:
    found = nas.bakeoff(
        ["random", "local-search"],
        space="nasbench201",
        space_settings=SPACE_SETTINGS,
        evaluator="tests.nas.test_bakeoff:Counter",
        objectives=["macs:min"],
        seeds=2,
        budget=12,
        workers=1,
    )
    assert found.contest.judged == "macs"
    assert found.contest.marks == (12,)
    assert found.entries[1].standings[-1].measures["macs"].mean is not None


@dataclasses.dataclass(frozen=True)
class Counter:
    """An evaluator that has nothing to say besides the analysis."""

    metrics: tuple[str, ...] = ("nothing",)
    measured: tuple[str, ...] = ()
    reported: tuple[str, ...] = ()
    levels: int | None = 1
    identity: str = '"counter"'

    def check(self, architecture: Any) -> None:
        pass

    def evaluate(self, task: Any) -> Any:
        from workers.task import Evaluation

        yield from ()
        return Evaluation({"nothing": 0.0})


def test_contestants_are_read() -> None:
    plain, tuned, sampler = parse_contestants(" random, evolution[population=10, sample=3],optuna:tpe[x=[1,2],y=a]")
    assert (plain.label, plain.controller, plain.settings) == ("random", "random", {})
    assert (tuned.label, tuned.settings) == ("evolution[population=10,sample=3]", {"population": 10, "sample": 3})
    assert (sampler.controller, sampler.settings) == ("optuna:tpe", {"x": [1, 2], "y": "a"})


@pytest.mark.parametrize(
    ("settings", "kind", "message"),
    [
        ({"controllers": "random,evolutoin"}, UserError, "did you mean 'evolution'"),
        ({"controllers": "random,random"}, UserError, "random is named twice"),
        ({"controllers": " , "}, UserError, "name at least one"),
        ({"controllers": "evolution[population=3"}, UserError, r"must be name or name\[setting=value"),
        ({"controllers": "evolution[population=2,sample=3]"}, UserError, "sample must be from 1 to population"),
        ({"controllers": "evolution[size=2]"}, UserError, "unknown setting of controller 'evolution' 'size'"),
        ({"seeds": 1}, UserError, "seeds must be at least 2"),
        ({"budget": None}, UserError, "budget: say how many"),
        ({"budget": 0}, UserError, "trials: "),
        ({"at": (10, 31)}, UserError, "the mark 31 is beyond the budget of 30 evaluations"),
        ({"at": (0,)}, UserError, "a mark must be a positive number"),
        ({"at": (2.5,)}, UserError, "a mark must be a positive number"),
        ({"table": "nowhere.parquet"}, NotFound, "no table 'nowhere.parquet'"),
        ({"table": None}, UserError, "needs 'table'"),
        ({"signal": "lat"}, UserError, "did you mean 'late'"),
        ({"report": "tset"}, UserError, "did you mean 'test'"),
        ({"report": "test:up"}, UserError, "the direction of test must be max or min"),
        ({"time_budget": 100.0}, UserError, "name it as cost"),
        ({"space_settings": {"operations": object()}}, UserError, "described by numbers, texts"),
        ({"controller": "random"}, UserError, "a bake-off sets it for every search"),
        ({"constraints": ["depth<=-1"]}, UserError, "none of 500 random architectures"),
        ({"space": "nasbench102"}, UserError, "unknown search space"),
    ],
)
def test_mistakes_are_one_line(table: str, settings: dict[str, Any], kind: type[UserError], message: str) -> None:
    with pytest.raises(kind, match=message) as caught:
        contest(table, **{"controllers": "random", **settings})
    assert "\n" not in str(caught.value)


BROKEN = """
from nas.controllers.random_search import RandomSearch

class Broken(RandomSearch):
    def observe(self, trial):
        if self.seed == 1:
            {what}
"""


@pytest.mark.parametrize(
    ("what", "message"),
    [("raise KeyError('lost')", "KeyError: 'lost'"), ("import os; os._exit(7)", "its process ended with exit code 7")],
)
def test_a_failing_search_is_named(
    table: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, message: str
) -> None:
    (tmp_path / "broken.py").write_text(BROKEN.format(what=what))
    package = tmp_path / "broken-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Name: broken\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text("[nas.controllers]\nbroken = broken:Broken\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "broken", raising=False)
    broken = contest(table, controllers="random,broken")
    for workers in (1, 2) if "raise" in what else (2,):
        with pytest.raises(Fault, match=f"^broken, seed 1: {message}"):
            hold(broken, workers=workers)
    assert not psutil.Process().children()


def command(table: str, *arguments: str, controllers: str = CONTROLLERS, budget: int = 12) -> list[str]:
    flags = {"controllers": controllers, "space": SPACE, "table": table, "signal": "late", "report": "test"}
    named = [part for name, value in flags.items() for part in (f"--{name}", value)]
    return ["bakeoff", *named, *SPACE_FLAGS, "--budget", str(budget), *arguments]


def test_ctrl_c_leaves_no_process(table: str, tmp_path: Path) -> None:
    arguments = command(table, "--seeds", "1000", "--workers", "2", "--out", "out", budget=40)
    # Tests that a shell runs in its background begin with Ctrl-C ignored, and so would the driver.
    heeds = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    driver = subprocess.Popen(
        [sys.executable, "-c", heeds + SCRIPT, *arguments],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    process = psutil.Process(driver.pid)
    deadline = time.monotonic() + 60
    while len(children := process.children()) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(1)
    os.killpg(driver.pid, signal.SIGINT)
    out, err = driver.communicate(timeout=30)
    assert (driver.returncode, out) == (130, ""), err
    assert err.splitlines()[-1] == "interrupted; nothing was written"
    assert "Traceback" not in err
    _, alive = psutil.wait_procs(children, timeout=10)
    assert len(children) == 2 and not alive
    assert list(tmp_path.iterdir()) == []


def test_processes_end_when_their_driver_is_killed(table: str, tmp_path: Path) -> None:
    arguments = command(table, "--seeds", "1000", "--workers", "2", budget=40)
    driver = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *arguments], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while len(children := psutil.Process(driver.pid).children()) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    driver.kill()
    driver.wait()
    _, alive = psutil.wait_procs(children, timeout=60)
    assert len(children) == 2 and not alive


def test_the_command_prints_tables(table: str, run: Run) -> None:
    ran = run(*command(table, "--seeds", "3", "--at", "6,12", "--workers", "1"))
    assert ran.code == 0, ran.err
    assert "test:max of the incumbent, by which they rank (evaluations)" in ran.out
    assert "signal:max of the incumbent (evaluations)" in ran.out
    assert "p that test is no better than that of random (one-sided)" in ran.out
    assert "evolution[population=5,sample=3]" in ran.out
    assert "not adjusted for their number" in ran.err


def test_the_command_writes_a_directory(table: str, run: Run, tmp_path: Path) -> None:
    ran = run(*command(table, "--seeds", "2", "--workers", "1", "--out", "new/out", "--json"))
    assert ran.code == 0, ran.err
    out = tmp_path / "new" / "out"
    assert sorted(path.name for path in out.iterdir()) == ["bakeoff.json", "curves.png", "curves.svg", "summary.md"]
    assert json.loads((out / "bakeoff.json").read_text()) == ran.document
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert "evolution[population=5,sample=3]" in (out / "curves.svg").read_text()
    assert "![" in (out / "summary.md").read_text()
    again = run(*command(table, "--seeds", "2", "--out", "new/out"))
    assert again.code == 4
    assert again.err.count("\n") == 1
    assert "not empty" in again.err


def test_without_matplotlib_there_are_no_curves_and_all_else(
    table: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (curves, report):
        monkeypatch.setattr(module, "can_draw", lambda: False)
    ran = run(*command(table, "--seeds", "2", "--workers", "1", "--out", "out"))
    assert ran.code == 0, ran.err
    assert "no curves: matplotlib is not installed; pip install 'nas[plots]'" in ran.err.splitlines()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["bakeoff.json", "summary.md"]
    assert "![" not in (tmp_path / "out" / "summary.md").read_text()


def test_a_directory_that_cannot_be_drawn_is_not_there(
    held: BakeOff, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(report, "draw", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        report.write_report(held, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("kept")
    with pytest.raises(Conflict):
        report.write_report(held, tmp_path / "file")


def test_equal_bake_offs_draw_equal_pictures(held: BakeOff, tmp_path: Path) -> None:
    texts = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        texts.append([path.read_bytes() for path in curves.draw(held, tmp_path / name)])
    assert texts[0] == texts[1]


@pytest.mark.parametrize("arguments", [("--at", "1,two"), ("--at", "99"), ("--workers", "0"), ("--seeds", "1")])
def test_mistakes_on_the_command_line(table: str, run: Run, arguments: tuple[str, ...]) -> None:
    ran = run(*command(table, *arguments, controllers="random"))
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.count("\n") == 1
