"""Counts NAS-Bench-101: every cell of up to 7 vertices and 9 edges, its classes by isomorphism, and our keys of them.

    python benchmarks/nasbench101_count.py [--vertices 7] [--keys 6] [--json]

For each number of vertices: the matrices whose vertices all lie on a path from input to output, the cells (matrices
with operations), the distinct `cell_key`s of these, and the distinct published names (`module_hash`) of these classes.
The script fails if the classes of all are not the published 423,624.

Up to `--keys` vertices also the `Architecture.key`s that no cell of fewer vertices has, of networks of the published
widths with one cell a stack. There are fewer, for a key also merges weightless twins, which leaves fewer vertices.
"""

import argparse
import json
import time
from collections.abc import Iterator
from functools import reduce
from itertools import product
from operator import or_

from machine import machine_line

from search_spaces.spaces.nasbench101 import NasBench101
from search_spaces.spaces.nasbench101_cell import OPERATIONS, MatrixCell, key_of, module_hash, representative

MOST_EDGES = 9
PUBLISHED = 423_624


def matrices(vertices: int) -> Iterator[tuple[int, ...]]:
    """What each vertex reads, as sets of bits, for all matrices whose vertices all lie on a path from input to output."""
    for bits in range(1 << vertices * (vertices - 1) // 2):
        sources = tuple(bits >> y * (y - 1) // 2 & (1 << y) - 1 for y in range(1, vertices))
        if bits.bit_count() <= MOST_EDGES and all(sources) and reduce(or_, sources) == (1 << vertices - 1) - 1:
            yield sources


def counted(vertices: int, keys: set[str] | None) -> dict[str, int | float]:
    """The counts for cells of exactly so many vertices, and the processor seconds that they took; adds to `keys`."""
    began = time.process_time()
    graphs = cells = 0
    classes: dict[str, MatrixCell] = {}
    for sources in matrices(vertices):
        graphs += 1
        for operations in product(range(len(OPERATIONS)), repeat=vertices - 2):
            cells += 1
            cell = MatrixCell(sources, operations)
            classes.setdefault(key_of(cell), cell)
    found: dict[str, int | float] = {"matrices": graphs, "cells": cells, "classes": len(classes)}
    found["seconds"] = time.process_time() - began
    found["names"] = len({module_hash(representative(cell)) for cell in classes.values()})
    if keys is not None:
        began = time.process_time()
        space = NasBench101(cells_per_stack=1)
        known = len(keys)
        keys.update(space.from_matrix(*cell.to_matrix()).key for cell in classes.values())
        found["keys"] = len(keys) - known
        found["keys_seconds"] = time.process_time() - began
    return found


def main() -> None:
    """Prints the counts for each number of vertices, and all together."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vertices", type=int, default=7, choices=range(2, 8))
    parser.add_argument("--keys", type=int, default=6, choices=range(1, 8))
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    where = machine_line()
    rows: dict[int, dict[str, int | float]] = {}
    keys: set[str] = set()
    if not arguments.json:
        print(f"{where}; one core used")
        print("vertices  matrices      cells    classes      names       keys   seconds")
    for vertices in range(2, arguments.vertices + 1):
        row = rows[vertices] = counted(vertices, keys if vertices <= arguments.keys else None)
        if not arguments.json:
            columns = "".join(f"{row[name]:11,}" for name in ("cells", "classes", "names"))
            seconds = row["seconds"] + row.get("keys_seconds", 0.0)
            key_count = f"{row['keys']:,}" if "keys" in row else "-"
            print(f"{vertices:8}{row['matrices']:10,}{columns}{key_count:>11}{seconds:10.1f}", flush=True)
    total = sum(row["classes"] for row in rows.values())
    if arguments.json:
        print(json.dumps({"where": where, "vertices": rows, "classes": total, "keys": len(keys)}))
    else:
        print(f"classes of up to {arguments.vertices} vertices: {total:,}")
        if keys:
            print(f"keys of up to {min(arguments.keys, arguments.vertices)} vertices: {len(keys):,}")
    if arguments.vertices == 7 and total != PUBLISHED:
        raise SystemExit(f"the published number is {PUBLISHED:,}")


if __name__ == "__main__":
    main()
