"""A made-up table of a small space, for the tests of the bake-off: noisy signals of rising fidelity, costs and holes."""

import math
import random
from pathlib import Path

import pandas

import search_spaces
from search_spaces.spaces.nasbench201 import NasBench201

SPACE = "nasbench201"
SPACE_SETTINGS = {"cells_per_stage": 1, "operations": ["none", "skip_connect", "nor_conv_3x3"]}
_WORTH = {"none": 0.0, "skip_connect": 2.0, "nor_conv_3x3": 5.0}


def write_table(directory: Path, *, holes: bool = False) -> str:
    """The path of a table of 729 rows; with `holes` some rows are left out, and some signals are no numbers."""
    space = search_spaces.load(SPACE, **SPACE_SETTINGS)
    rows = []
    for number, (genotype, _) in enumerate(space.enumerate()):
        name = NasBench201.arch_str_of(genotype)
        rng = random.Random(name)
        worth = 50 + sum((place + 1) * _WORTH[str(value)] for place, (_, value) in enumerate(genotype.values)) / 5
        late = worth + rng.gauss(0, 1)
        if holes and number % 11 == 3:
            continue
        rows.append(
            {
                "arch_str": name,
                "early": worth + rng.gauss(0, 4),
                "middle": worth + rng.gauss(0, 2),
                "late": math.nan if holes and number % 7 == 2 else late,
                "test": worth,
                "loss": 100 - worth,
                "seconds": 10 + rng.random(),
            }
        )
    path = directory / ("holes.parquet" if holes else "table.parquet")
    pandas.DataFrame(rows).to_parquet(path)
    return str(path)
