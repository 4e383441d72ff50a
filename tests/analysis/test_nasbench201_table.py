"""Parameters and MACs of NAS-Bench-201 against the published table, all of it where it is at hand, else 20 rows.

The benchmark counts as we do: `params` are all weights of convolutions, batch norms and the classifier with its bias;
`macs_M` are the multiply-accumulates of convolutions and of the classifier in millions, as a float32, without biases,
batch norms, pooling and sums. Edges that end up unused (they lead to a node that only `none` leaves) are counted.
"""

import csv
from pathlib import Path

import numpy
import pandas
import pytest

from analysis import analyze
from search_spaces.spaces.nasbench201 import NasBench201

GOLDEN = Path(__file__).parents[1] / "golden" / "nasbench201.csv"
TABLE = Path(__file__).parents[3] / "shared" / "data" / "nb201.parquet"


def counted(arch_str: str) -> tuple[int, numpy.float32]:
    """Parameters, and millions of MACs in the precision of the table."""
    report = analyze(NasBench201().from_arch_str(arch_str))
    return report.params, numpy.float32(report.macs / 1e6)


def test_twenty_published_rows() -> None:
    with GOLDEN.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 20
    published = {row["arch_str"]: (int(row["params"]), numpy.float32(row["macs_M"])) for row in rows}
    assert {arch_str: counted(arch_str) for arch_str in published} == published


@pytest.mark.skipif(not TABLE.exists(), reason=f"the table of NAS-Bench-201 is not at {TABLE}")
def test_all_published_rows() -> None:
    table = pandas.read_parquet(TABLE, columns=["arch_str", "params", "macs_M"])
    assert len(table) == 15_625
    wrong = [row for row in table.itertuples(index=False) if counted(row.arch_str) != (row.params, row.macs_M)]
    assert wrong == []
