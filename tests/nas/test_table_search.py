"""Whole searches on a table: the end of an enumeration, budgets of time, hidden reports, early stopping and its resume."""

import itertools
from pathlib import Path
from random import Random
from typing import Any

import pandas
import pytest

import nas
import search_spaces
from db.store import Store
from db.trial import TrialState
from nas.bake_off.contest import Searches, make_contest
from nas.cli.progress import progress_text
from nas.controllers.random_search import RandomSearch
from nas.progress import Progress
from nas.result import SearchResult
from tests.nas.command_line import Run

SETTINGS = {"operations": ["skip_connect", "nor_conv_3x3"]}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Made-up results of all 64 cells of two operations, of which 37 are distinct."""
    space = search_spaces.load("digits201", operations=("skip_connect", "nor_conv_3x3"))
    rows = []
    for row, (genotype, architecture) in enumerate(space.enumerate()):
        late = Random(architecture.key).random()
        early = late + 0.1 * Random(row).random() - 0.5
        rows.append({"genotype": genotype.to_json(), "early": early, "late": late, "test": late / 2, "seconds": 10.0})
    path = tmp_path_factory.mktemp("tables") / "toy.parquet"
    pandas.DataFrame(rows).to_parquet(path)
    return str(path)


def settings(table: str, **more: Any) -> dict[str, Any]:
    evaluator = {"table": table, "signal": "early,late", "report": "test", "cost": "seconds,seconds*2"}
    return {
        "space": "digits201",
        "space_settings": SETTINGS,
        "evaluator": "tabular",
        "evaluator_settings": evaluator,
        "executor": "serial",
        "controller": "random",
        **more,
    }


def distinct_keys() -> set[str]:
    space = search_spaces.load("digits201", operations=("skip_connect", "nor_conv_3x3"))
    return {architecture.key for _, architecture in space.enumerate()}


def test_an_enumeration_ends_when_every_distinct_cell_is_known(table: str, tmp_path: Path) -> None:
    result = nas.search(**settings(table, controller="enumerate", db=str(tmp_path / "n.db")))
    keys = [trial.key for trial in result.trials]
    assert set(keys) == distinct_keys() and len(keys) == len(set(keys))
    assert all(trial.state is TrialState.COMPLETE and trial.reused_from is None for trial in result.trials)
    assert str(result.search.state) == "complete"
    assert all(trial.values["test"] == trial.values["late"] / 2 for trial in result.trials)
    assert result.best.values["signal"] == max(trial.values["late"] for trial in result.trials)


def test_no_more_trials_are_begun_when_the_time_is_spent(table: str, tmp_path: Path) -> None:
    told: list[Progress] = []
    result = nas.search(**settings(table, time_budget=100.0, db=str(tmp_path / "n.db")), listener=told.append)
    # 30 seconds each; the fourth ends past the budget. Results that are known cost nothing.
    paid = [trial for trial in result.trials if trial.reused_from is None]
    assert [trial.seconds for trial in paid] == [30.0] * 4
    assert result.trials[-1] is paid[-1]
    assert told[-1].spent_seconds == 120.0


def test_a_budget_that_is_none_is_shown_as_none(table: str, run: Run) -> None:
    told: list[Progress] = []
    nas.search(**settings(table, time_budget=100.0, name="timed", db="nas.db"))
    nas.search(**settings(table, controller="enumerate", name="whole", db="nas.db"), listener=told.append)
    nas.search(**settings(table, trials=3, name="bounded", db="nas.db"))
    rows = {row["name"]: row["budget"] for row in run("list", "--json").document["searches"]}
    assert rows == {"timed": None, "whole": None, "bounded": 3}
    assert [run("results", name, "--json").document["budget"] for name in rows] == list(rows.values())
    listed = run("list").out
    assert "1,000,000,000" not in listed and listed.count("–") == 2
    assert "/1000000000" not in progress_text(told[5])
    assert told[5].seconds_left is None
    assert "took" in progress_text(told[-1])
    flags = ["--space", "digits201", "--evaluator", "tabular", "--table", "digits201", "--signal", "val_accuracy_e6_s0"]
    assert run("search", *flags, "--time-budget", "9", "--dry-run", "--json").document["run"]["trials"] is None


def test_the_share_of_rejected_proposals_is_told(run: Run) -> None:
    flags = ["--space", "digits201", "--table", "digits201", "--signal", "val_accuracy_e6_s0"]
    bound = ["--constraint", "params<=9_000"]
    search = ["search", *flags, "--evaluator", "tabular", "--executor", "serial", "--controller", "random"]
    ran = run(*search, *bound, "--trials", "20", "--seed", "0", "--name", "s")
    with Store.open("nas.db", mode="read") as store:
        proposals = store.trials("s", include_rejected=True)
    rejected = [trial for trial in proposals if trial.state is TrialState.REJECTED]
    assert len(proposals) - len(rejected) == 20
    share = len(rejected) / len(proposals)
    assert 0.2 < share < 0.9
    told = f"{len(rejected)} rejected by constraints ({share:.0%} of all proposals)"
    assert told in ran.err.splitlines()[-1]
    assert f"not tried: {len(rejected)} ({share:.0%} of all proposals)" in run("results", "s").err
    assert run("results", "s", "--json").document["rejected_share"] == share
    contest = ["bakeoff", "--controllers", "random", *flags, *bound, "--budget", "20", "--seeds", "2", "--workers", "1"]
    searches = Searches(make_contest("random", space="digits201", budget=20, constraints=["params<=9_000"], **SHIPPED))
    runs = [searches.run(0, seed) for seed in range(2)]
    assert runs[0].rejected == len(rejected)
    everyone = sum(each.rejected for each in runs) / sum(each.rejected + each.evaluations for each in runs)
    assert run(*contest, "--json").document["controllers"][0]["rejected_share"] == everyone
    assert f"{everyone:.1%}" in run(*contest).out
    assert "rejected by constraints" not in run(*search, "--trials", "3", "--name", "free").err


SHIPPED = {"table": "digits201", "signal": "val_accuracy_e6_s0"}


def test_a_controller_never_sees_what_is_only_reported(
    table: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: set[str] = set()
    monkeypatch.setattr(RandomSearch, "observe", lambda self, trial: shown.update(trial.values))
    nas.search(**settings(table, trials=5, db=str(tmp_path / "n.db")))
    assert {"signal", "late"} <= shown
    assert "test" not in shown


def test_a_column_hides_a_figure_of_the_same_name(table: str, tmp_path: Path) -> None:
    frame = pandas.read_parquet(table)
    own = tmp_path / "own.parquet"
    frame.assign(params=[1e6 * value for value in frame["late"]]).to_parquet(own)
    evaluator = {"table": str(own), "signal": "late", "columns": "params"}
    run = {**settings(table), "evaluator_settings": evaluator, "objectives": ["params:min"]}
    result = nas.search(**run, trials=40, seed=2, name="s", db=str(tmp_path / "n.db"))
    assert any(trial.reused_from for trial in result.trials)
    assert all(trial.values["params"] == 1e6 * trial.values["late"] for trial in result.trials)
    del run["executor"], run["controller"]
    simulation = Searches(make_contest("random", budget=40, **run)).simulation(0, 2)
    while not simulation.finished:
        simulation.step()
    assert [dict(trial.values) for trial in simulation.trials] == [dict(trial.values) for trial in result.trials]


def test_what_is_only_reported_is_shown_as_such(table: str, run: Run) -> None:
    result = nas.search(**settings(table, trials=3, name="s", db="nas.db"))
    document = run("results", "s", "--json").document
    assert document["reported"] == ["test"]
    assert [trial["test"] for trial in document["trials"]] == [trial.values["test"] for trial in result.trials]
    for command in (("results", "s"), ("results", "s", "--sort", "test")):
        ran = run(*command)
        head = next(line for line in ran.out.splitlines() if "number" in line)
        assert head.count("test") == 1 and "test (reported)" in head
        assert "signal (reported)" not in head
    assert f"{result.trials[0].values['test']:.4f}" in ran.out
    nas.search(**settings(table, trials=3, name="silent", db="nas.db", evaluator_settings=SILENT | {"table": table}))
    assert run("results", "silent", "--json").document["reported"] == []
    assert "reported" not in run("results", "silent").out


SILENT = {"signal": "early,late"}


def essence(result: SearchResult) -> list[tuple[Any, ...]]:
    return [(t.proposal, t.number, t.state, t.key, dict(t.values), t.reason, t.reused_from) for t in result.trials]


@pytest.mark.parametrize("stopping", ["asha", "hyperband"])
def test_a_search_that_stops_trials_early_is_resumed_exactly(table: str, tmp_path: Path, stopping: str) -> None:
    whole = nas.search(**settings(table, trials=25, stopping=stopping, name="s", db=str(tmp_path / "whole.db")))
    stopped = [trial for trial in whole.trials if trial.state is TrialState.STOPPED]
    assert stopped and len(stopped) < 25
    for trial in stopped:
        assert trial.values["epochs"] == 1.0 and trial.values["signal"] == trial.values["early"]
        assert "late" not in trial.values and "test" not in trial.values
        assert trial.reused_from is not None or trial.seconds == 10.0
        assert trial.reason is not None and "stopped at 1 of 2" in trial.reason
    assert whole.best.trial.state is TrialState.COMPLETE

    broken = str(tmp_path / "broken.db")
    calls = itertools.count()

    def interrupt(progress: Progress) -> None:
        if next(calls) == 33:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        nas.search(**settings(table, trials=25, stopping=stopping, name="s", db=broken), listener=interrupt)
    with Store.open(broken, mode="read") as store:
        done = [trial for trial in store.trials("s") if trial.state.is_finished]
    assert 0 < len(done) < 25
    assert essence(nas.resume("s", db=broken)) == [(*row[:6], row[6] and ("s", row[6][1])) for row in essence(whole)]


def test_a_twin_of_a_stopped_trial_is_stopped_too(table: str, tmp_path: Path) -> None:
    result = nas.search(**settings(table, trials=60, stopping="asha", db=str(tmp_path / "n.db")))
    ends: dict[str, set[TrialState]] = {}
    for trial in result.trials:
        ends.setdefault(trial.key, set()).add(trial.state)
    assert all(len(states) == 1 for states in ends.values())
    paid = [trial for trial in result.trials if trial.reused_from is None]
    assert len(paid) == len(ends)


def test_several_objectives_stop_by_fronts(table: str, tmp_path: Path) -> None:
    objectives = ["signal:max", "macs:min"]
    db = str(tmp_path / "n.db")
    result = nas.search(**settings(table, trials=40, stopping="asha", objectives=objectives, db=db))
    assert any(trial.state is TrialState.STOPPED for trial in result.trials)
    # What is cheapest of all is never dominated, and is level with nothing before it.
    first = result.trials[0]
    assert first.state is TrialState.COMPLETE


@pytest.mark.xdist_group("ray")
def test_ray_workers_stop_early_as_well(table: str, tmp_path: Path) -> None:
    db = str(tmp_path / "n.db")
    result = nas.search(**settings(table, trials=20, stopping="asha", executor="ray", workers=2, db=db))
    states = {trial.state for trial in result.trials}
    assert states == {TrialState.COMPLETE, TrialState.STOPPED}
    assert all("late" not in t.values for t in result.trials if t.state is TrialState.STOPPED)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"epochs": 7}, "2 levels of fidelity of its own"),
        ({"stopping_settings": {"reduction": 2}}, "they need stopping"),
        ({"stopping": "asha", "stopping_settings": {"eta": 2}}, "unknown key in stopping_settings"),
        ({"stopping": "asha", "objectives": ["late"]}, "not known before a trial ends"),
        ({"objectives": ["test"]}, "unknown objective 'test'"),
        ({"evaluator": "tabula"}, "did you mean 'tabular'"),
        ({"evaluator_settings": {}}, "needs 'table'"),
        ({"evaluator_settings": {"tables": "x"}}, "did you mean 'table'"),
        ({"time_budget": -1.0}, "time_budget"),
    ],
)
def test_bad_runs_get_one_line_and_write_nothing(table: str, tmp_path: Path, change: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        nas.search(**settings(table, **{"trials": 3, "db": str(tmp_path / "n.db"), **change}))
    assert list(tmp_path.iterdir()) == []
