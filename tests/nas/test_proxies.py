"""`nas proxies` and `nas.proxies`: what is ranked, how ranks are compared, and what bad input gets."""

import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas
import pytest

import nas
import search_spaces
from analysis import analyze
from nas.proxy_ranking import ProxyRank, ProxyRanking, _in_top, rank
from search_spaces.choices import RandomChooser
from search_spaces.errors import UserError
from tests.nas.command_line import Run
from workers.zero_cost.table import PROXIES

SPACE = {"input_shape": (1, 8, 8), "channels": 4, "cells_per_stage": 1}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Many cells; their `accuracy` is the number of MACs of what is left of them, with one value missing."""
    space: Any = search_spaces.load("nasbench201", **SPACE)
    rng = random.Random(3)
    drawn = {space.arch_str_of(space.elaborate(RandomChooser(rng=rng)).genotype) for _ in range(1_500)}
    names = sorted(drawn)
    macs = [float(analyze(space.from_arch_str(name).simplified()).macs) for name in names]
    frame = pandas.DataFrame({"arch_str": names, "accuracy": [float("nan"), *macs[1:]], "constant": 1.0, "kind": "a"})
    path = tmp_path_factory.mktemp("table") / "cells.parquet"
    frame.to_parquet(path)
    return str(path)


def arguments(table: str, *others: str) -> list[str]:
    settings = ["--space-set", "input_shape=[1,8,8]", "--space-set", "channels=4", "--space-set", "cells_per_stage=1"]
    return ["proxies", "--space", "nasbench201", "--table", table, "--against", "accuracy", *settings, *others]


def test_the_baseline_stands_beside_what_was_asked_for(run: Run, table: str) -> None:
    ran = run(*arguments(table, "--proxies", "log10_synflow,naswot", "--number", "30", "--json"))
    assert ran.code == 0, ran.err
    document = ran.document
    assert {key: document[key] for key in ("schema", "space", "against", "number", "images", "seed")} == {
        "schema": 1,
        "space": "nasbench201",
        "against": "accuracy",
        "number": 30,
        "images": "standard normal",
        "seed": 0,
    }
    rows = {row["proxy"]: row for row in document["proxies"]}
    assert list(rows) == ["log10_synflow", "naswot", "params", "macs"]
    # The table was filled with MACs.
    assert {name: rows["macs"][name] for name in ("spearman", "kendall", "top_share")} == pytest.approx(
        {"spearman": 1, "kendall": 1, "top_share": 1}
    )
    assert 0.2 < rows["log10_synflow"]["spearman"] < 1
    assert all(row["milliseconds"] > 0 for row in rows.values())


def test_every_proxy_is_ranked_unless_some_are_named(run: Run, table: str) -> None:
    ran = run(*arguments(table, "--number", "20"))
    assert ran.code == 0, ran.err
    lines = ran.out.splitlines()
    assert lines[0].startswith("20 architectures of nasbench201 against accuracy (batch: standard normal, seed 0)")
    assert [line.split()[0] for line in lines[2:]] == list(PROXIES)


def ranking_of(table: str, **settings: Any) -> ProxyRanking:
    return nas.proxies(
        **{
            "space": "nasbench201",
            "table": table,
            "against": "accuracy",
            "proxies": ("log10_synflow",),
            "space_settings": SPACE,
            **settings,
        }
    )


def without_time(ranking: ProxyRanking) -> list[ProxyRank]:
    return [replace(each, milliseconds=0) for each in ranking.proxies]


def test_python_gives_the_same_again_and_tells_how_far_it_is(table: str) -> None:
    told: list[tuple[int, int]] = []
    ranking = ranking_of(table, number=20, listener=lambda done, number: told.append((done, number)))
    assert told == [(done, 20) for done in range(1, 21)]
    assert without_time(ranking_of(table, number=20)) == without_time(ranking)
    assert without_time(ranking_of(table, number=20, seed=1)) != without_time(ranking)


def test_the_space_is_made_for_the_data(table: str) -> None:
    settings = {"channels": 4, "cells_per_stage": 1}
    ranking = ranking_of(table, number=20, data="digits", space_settings=settings, proxies=("naswot",))
    assert ranking.images == "digits"
    assert without_time(ranking)[1:] == without_time(ranking_of(table, number=20, proxies=("naswot",)))[1:]
    assert without_time(ranking)[0] != without_time(ranking_of(table, number=20, proxies=("naswot",)))[0]


def test_a_smaller_table_is_taken_as_far_as_it_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.proxy_ranking.MOST_MISSES", 200)
    space: Any = search_spaces.load("nasbench201", **SPACE)
    drawn = [space.sample(rng=random.Random(seed)) for seed in range(80)]
    # Rows are found by key, so a row has as many genotypes as isomorphs.
    macs = {each.key: float(analyze(each.simplified()).macs) for each in drawn}
    pandas.DataFrame({"key": list(macs), "accuracy": list(macs.values())}).to_csv(tmp_path / "few.csv")
    ranking = ranking_of(str(tmp_path / "few.csv"), proxies=("macs",))
    assert 20 <= ranking.number <= len(macs)
    assert ranking.proxies[0].spearman == pytest.approx(1)


def test_naswot_knows_good_networks_of_the_table_that_comes_with_nas() -> None:
    ranking = ranking_of(
        "digits201",
        space="digits201",
        against="report_accuracy",
        data="digits",
        space_settings={},
        proxies=("naswot",),
        number=100,
    )
    spearman = ranking.proxies[0].spearman
    assert spearman is not None and spearman > 0.5


def test_ranks_are_compared_as_the_definitions_say() -> None:
    values = [float(value) for value in range(40)]
    same = rank("same", values, values, milliseconds=2)
    assert (same.spearman, same.kendall, same.top_spearman, same.top_share) == pytest.approx((1, 1, 1, 1))
    assert (same.unscored, same.milliseconds) == (0, 2)
    reverse = rank("reverse", values[::-1], values, milliseconds=0)
    assert (reverse.spearman, reverse.kendall, reverse.top_spearman) == pytest.approx((-1, -1, -1))
    assert reverse.top_share == 0
    # The four best, 36 to 39, are scored well, in the order 37 36 39 38; everything else is upside down.
    scores = [-value for value in values[:36]] + [2.0, 1.0, 4.0, 3.0]
    mixed = rank("mixed", scores, values, milliseconds=0)
    assert mixed.top_spearman == pytest.approx(1 - 6 * 4 / (4 * 15))
    assert mixed.top_share == 1
    # Kendall: of the 780 pairs, 630 are discordant among the first 36 and 2 among the last 4.
    assert mixed.kendall == pytest.approx((780 - 2 * 632) / 780)


def test_what_has_no_score_ranks_last_and_is_counted() -> None:
    values = [float(value) for value in range(20)]
    scores = [float("-inf"), float("-inf"), *values[2:]]
    ranked = rank("some", scores, values, milliseconds=0)
    assert ranked.unscored == 2
    assert ranked.spearman is not None and 0.99 < ranked.spearman < 1
    nothing = rank("none", [float("-inf")] * 20, values, milliseconds=0)
    assert (nothing.spearman, nothing.kendall, nothing.top_spearman, nothing.unscored) == (None, None, None, 20)
    assert nothing.top_share == pytest.approx(0.1)


def test_equal_values_share_the_places_that_are_left() -> None:
    assert _in_top([5.0, 1.0, 3.0, 3.0, 3.0, 0.0] + [0.0] * 14) == [1, 0, 1 / 3, 1 / 3, 1 / 3, 0] + [0] * 14
    assert _in_top([2.0] * 20) == [0.1] * 20


BAD_INPUT = {
    "unknown proxy": (["--proxies", "naswat"], 2, "did you mean 'naswot'"),
    "no proxy": (["--proxies", ","], 2, "--proxies"),
    "unknown column": (["--against", "accuracies"], 2, "did you mean 'accuracy'"),
    "a column of text": (["--against", "kind"], 2, "holds no numbers"),
    "no such table": (["--table", "absent.parquet"], 3, "absent.parquet"),
    "unknown space": (["--space", "nasbench202"], 2, "did you mean 'nasbench201'"),
    "a space that the table is not of": (["--space", "cellular"], 2, "no column"),
    "too few": (["--number", "19"], 2, "at least 20"),
    "unknown data": (["--data", "digitz"], 2, "unknown data"),
    "a setting that the data set": (["--data", "digits", "--space-set", "classes=3"], 2, "set by the data"),
    "a setting without a value": (["--space-set", "channels"], 2, "--space-set"),
}


@pytest.mark.parametrize(("others", "code", "says"), BAD_INPUT.values(), ids=BAD_INPUT)
def test_bad_input_gets_one_line(run: Run, table: str, others: list[str], code: int, says: str) -> None:
    given = ["proxies", "--space", "nasbench201", "--table", table, "--against", "accuracy", *others]
    ran = run(*given)
    assert (ran.code, ran.out) == (code, ""), ran.err
    assert ran.err.startswith("nas: ") and ran.err.count("\n") == 1, ran.err
    assert says in ran.err


def test_a_table_with_too_few_rows_is_refused(table: str, tmp_path: Path) -> None:
    pandas.read_parquet(table)[:15].to_csv(tmp_path / "few.csv")
    with pytest.raises(UserError, match="needs 20"):
        ranking_of(str(tmp_path / "few.csv"))


def test_help_does_not_wait_for_torch_or_pandas() -> None:
    code = (
        "import sys; from nas.cli import main; code = main(['proxies', '--help']); "
        "heavy = {'torch', 'scipy', 'pandas', 'ray', 'numpy'} & set(sys.modules); "
        "sys.exit(f'imported {heavy}' if heavy else code)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "Spearman" in ended.stdout or "accuracy" in ended.stdout
