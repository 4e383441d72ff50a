"""The tabular evaluator: rows found by name, genotype and key; levels, costs and what is only reported."""

import pickle
import random
from pathlib import Path
from typing import Any

import pandas
import pytest

import search_spaces
from db.trial import Measurement
from search_spaces.choices import Genotype, RandomChooser
from search_spaces.errors import NotFound, UserError
from search_spaces.space import Elaboration
from search_spaces.spaces.nasbench201 import NasBench201
from workers.tabular import TabularEvaluator, load_table
from workers.task import Diverged, Evaluation, EvaluationTask

SPACE = NasBench201(cells_per_stage=1)
ROWS = 120


def elaborations(count: int = ROWS, seed: int = 0) -> list[Elaboration]:
    rng = random.Random(seed)
    return [SPACE.elaborate(RandomChooser(rng=rng)) for _ in range(count)]


def frame(columns: tuple[str, ...] = ("arch_str", "genotype", "key")) -> pandas.DataFrame:
    """A made-up table of random cells; those that `TabularEvaluator` probes a table with are among them."""
    made = {elaboration.genotype: elaboration for elaboration in elaborations()}
    rows = {
        "arch_str": [NasBench201.arch_str_of(genotype) for genotype in made],
        "genotype": [genotype.to_json() for genotype in made],
        "key": [elaboration.architecture.key for elaboration in made.values()],
    }
    numbers = range(len(made))
    return pandas.DataFrame(
        {column: rows[column] for column in columns}
        | {"early": [50.0 + n for n in numbers], "late": [60.0 + n for n in numbers]}
        | {"test": [61.5 + n for n in numbers], "seconds": [100.0 + n for n in numbers]}
    )


@pytest.fixture
def table(tmp_path: Path) -> str:
    path = tmp_path / "table.parquet"
    frame().to_parquet(path)
    return str(path)


def evaluate(evaluator: TabularEvaluator, elaboration: Elaboration) -> tuple[list[Measurement], Evaluation]:
    task = EvaluationTask(0, elaboration.architecture, evaluator.levels or 0, seed=0, genotype=elaboration.genotype)
    steps = evaluator.evaluate(task)
    measured = []
    try:
        while True:
            measured.append(next(steps))
    except StopIteration as end:
        return measured, end.value


def test_levels_cost_and_report(table: str) -> None:
    evaluator = TabularEvaluator(SPACE, table, "early,late", report="test", cost="seconds*0.1,seconds")
    first = elaborations(1)[0]
    measured, found = evaluate(evaluator, first)
    assert [(one.epoch, one.values["signal"], one.values["cost_seconds"]) for one in measured] == [
        (1, 50.0, 10.0),
        (2, 60.0, 110.0),
    ]
    assert all("test" not in one.values for one in measured)
    assert found.values == {"signal": 60.0, "early": 50.0, "late": 60.0, "cost_seconds": 110.0, "test": 61.5}
    assert evaluator.reported == ("test",)
    assert "test" not in evaluator.metrics and evaluator.metrics[0] == "signal"
    assert evaluator.levels == 2


@pytest.mark.parametrize("column", ["arch_str", "genotype", "key"])
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_row_is_found_by_any_of_its_names(tmp_path: Path, column: str, suffix: str) -> None:
    path = tmp_path / f"table{suffix}"
    if suffix == ".csv":
        frame((column,)).to_csv(path, index=False)
    else:
        frame((column,)).to_parquet(path)
    evaluator = TabularEvaluator(SPACE, str(path), "late")
    made = {elaboration.genotype: elaboration for elaboration in elaborations()}
    keys = [elaboration.architecture.key for elaboration in made.values()]
    for row, elaboration in enumerate(made.values()):
        # Of isomorphs under one key the last row stands.
        expected = len(keys) - 1 - keys[::-1].index(keys[row]) if column == "key" else row
        assert evaluate(evaluator, elaboration)[1].values["signal"] == 60.0 + expected


def test_isomorphs_have_rows_of_their_own_where_the_table_names_them(tmp_path: Path) -> None:
    names = [
        "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|skip_connect~2|",
        "|skip_connect~0|+|none~0|skip_connect~1|+|none~0|none~1|nor_conv_3x3~2|",
    ]
    first, other = (SPACE.replay(SPACE.genotype_of(name)) for name in names)
    assert first.architecture.key == other.architecture.key
    path = tmp_path / "isomorphs.csv"
    pandas.DataFrame({"arch_str": names, "key": [first.architecture.key] * 2}).to_csv(path)
    find = load_table(str(path)).row_finder(SPACE)
    assert [find(one.genotype, one.architecture) for one in (first, other)] == [0, 1]


def test_it_travels_to_workers(table: str) -> None:
    evaluator = TabularEvaluator(SPACE, table, "late", report="test")
    again = pickle.loads(pickle.dumps(evaluator))
    assert again.identity == evaluator.identity
    assert len(pickle.dumps(evaluator)) < 2_000
    assert evaluate(again, elaborations(1)[0]) == evaluate(evaluator, elaborations(1)[0])


def test_the_identity_tells_tables_and_settings_apart(tmp_path: Path, table: str) -> None:
    other = tmp_path / "other.parquet"
    frame().assign(late=1.0).to_parquet(other)
    identities = {
        TabularEvaluator(SPACE, name, signal, cost=cost).identity
        for name, signal, cost in (
            (table, "late", ""),
            (str(other), "late", ""),
            (table, "early", ""),
            (table, "late", "seconds"),
        )
    }
    assert len(identities) == 4


def test_a_value_that_is_not_finite_diverges(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    frame().assign(late=float("nan")).to_parquet(path)
    with pytest.raises(Diverged, match="late is nan"):
        evaluate(TabularEvaluator(SPACE, str(path), "late"), elaborations(1)[0])


def test_an_architecture_without_a_row_fails(table: str) -> None:
    evaluator = TabularEvaluator(SPACE, table, "late")
    known = {elaboration.genotype for elaboration in elaborations()}
    stranger = next(one for one in elaborations(50, seed=1) if one.genotype not in known and _unknown(table, one))
    with pytest.raises(NotFound, match="no row"):
        evaluate(evaluator, stranger)


def _unknown(table: str, elaboration: Elaboration) -> bool:
    return load_table(table).row_finder(SPACE)(elaboration.genotype, elaboration.architecture) is None


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"signal": "latte"}, "did you mean 'late'"),
        ({"signal": ""}, "name the column"),
        ({"signal": "key"}, "holds no numbers"),
        ({"signal": "late", "report": "late"}, "seen by the controller"),
        ({"signal": "early,late", "cost": "seconds"}, "1 columns for 2 signals"),
        ({"signal": "late", "cost": "seconds*x"}, "COLUMN or COLUMN\\*NUMBER"),
        ({"signal": "late", "table": "absent.parquet"}, "no table 'absent.parquet'"),
        ({"signal": "late", "table": "absent"}, "no table 'absent'"),
        ({"signal": "late", "space": search_spaces.load("cellular")}, "none of 50 random architectures|no column"),
    ],
)
def test_bad_settings_get_one_line(table: str, settings: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says) as raised:
        TabularEvaluator(**{"space": SPACE, "table": table, **settings})
    assert "\n" not in str(raised.value)


def test_what_is_no_table_gets_one_line(tmp_path: Path) -> None:
    for name, content in (("broken.parquet", b"PAR1 no"), ("notes.txt", b"a,b"), ("empty.csv", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match="cannot read the table"):
            load_table(str(tmp_path / name))


def test_genotypes_with_subsets_are_found(tmp_path: Path) -> None:
    space = search_spaces.load("cellular", input_shape=(1, 8, 8))
    rng = random.Random(0)
    made = [space.elaborate(RandomChooser(rng=rng)) for _ in range(60)]
    path = tmp_path / "cells.csv"
    pandas.DataFrame({"genotype": [one.genotype.to_json() for one in made], "score": range(60)}).to_csv(path)
    find = load_table(str(path)).row_finder(space)
    assert [find(Genotype.from_json(one.genotype.to_json()), one.architecture) for one in made] == list(range(60))
