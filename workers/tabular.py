"""The evaluator that looks results up in a table of networks that somebody has trained, at no cost but simulated time.

A table is a Parquet or CSV file with one row for each architecture. A row is found by the first of these columns that
the table has and that knows the architecture:

- the column of the published names of the space (`arch_str` of `nasbench201`), see `SearchSpace.published_name`;
- `genotype`: the answers as JSON;
- `key`: the canonical key, which isomorphic architectures share.

References:
    Ying, Klein, Christiansen, Real, Murphy, Hutter: NAS-Bench-101: Towards Reproducible Neural Architecture Search.
    ICML 2019 (search methods compared on a table, in simulated time).
"""

import json
import math
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from db.trial import Measurement
from search_spaces.architecture import Architecture
from search_spaces.choices import Genotype, RandomChooser
from search_spaces.errors import NotFound, UserError, unknown_name
from search_spaces.space import SearchSpace
from workers.task import Diverged, Evaluation, EvaluationTask

if TYPE_CHECKING:
    import pandas

SIGNAL = "signal"
"""The metric that a controller sees: the signal of the highest fidelity that was reached."""
COST = "cost_seconds"
SHIPPED = Path(__file__).parent / "tables"
"""Tables that come with nas, by the stems of their files."""
_PROBES = 50
"""How many random architectures of a space are looked for; a table that knows none of them is of another space."""


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """The rows of a file; columns by name, all of one length. `fingerprint` is the SHA-256 of the file."""

    path: Path
    frame: "pandas.DataFrame"
    fingerprint: str

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns."""
        return tuple(map(str, self.frame.columns))

    def numbers(self, column: str) -> list[float]:
        """A column of numbers.

        Raises:
            UserError: there is no such column, or it holds something else.
        """
        if column not in self.frame:
            raise unknown_name(f"column of {self.path.name}", column, self.columns)
        values = self.frame[column]
        if values.dtype.kind not in "iufb":
            raise UserError(f"column {column!r} of {self.path.name} holds no numbers; name another one")
        return [float(value) for value in values]

    def row_finder(self, space: SearchSpace) -> Callable[[Genotype, Architecture], int | None]:
        """A function from an architecture, by the answers that made it, to the number of its row, None if it has none.

        Raises:
            UserError: the table has no column by which architectures of this space are found.
        """
        finders = list(self._finders(space))
        if not finders:
            named = space.published_name(_first_genotype(space))
            wanted = ", ".join([*([named[0]] if named else []), "genotype", "key"])
            raise UserError(
                f"{self.path.name} has no column by which architectures of {space.name!r} are found ({wanted}); "
                "add one of them"
            )

        def find(genotype: Genotype, architecture: Architecture) -> int | None:
            for finder in finders:
                row = finder(genotype, architecture)
                if row is not None:
                    return row
            return None

        return find

    def _finders(self, space: SearchSpace) -> Iterator[Callable[[Genotype, Architecture], int | None]]:
        named = space.published_name(_first_genotype(space))
        if named is not None and named[0] in self.frame:
            names = {str(name): row for row, name in enumerate(self.frame[named[0]])}

            def by_name(genotype: Genotype, architecture: Architecture) -> int | None:
                published = space.published_name(genotype)
                return None if published is None else names.get(published[1])

            yield by_name
        if "genotype" in self.frame:
            genotypes = {Genotype.from_json(text): row for row, text in enumerate(self.frame["genotype"])}
            yield lambda genotype, architecture: genotypes.get(genotype)
        if "key" in self.frame:
            keys = {str(key): row for row, key in enumerate(self.frame["key"])}
            yield lambda genotype, architecture: keys.get(architecture.key)


def _first_genotype(space: SearchSpace) -> Genotype:
    return space.elaborate(RandomChooser(rng=Random(0))).genotype


def load_table(name: str) -> Table:
    """The table in a file, or the one of this name that comes with nas; read once per process.

    Raises:
        NotFound: there is no such file, nor a table of this name.
        UserError: the file is neither Parquet nor CSV.
    """
    path = Path(name)
    if not path.suffix and not path.exists():
        path = SHIPPED / f"{name}.parquet"
    try:
        changed = path.stat().st_mtime_ns
    except OSError:
        shipped = ", ".join(sorted(file.stem for file in SHIPPED.glob("*.parquet")))
        raise NotFound(
            f"no table {name!r}; give a .parquet or .csv file, or one that comes with nas: {shipped}"
        ) from None
    return _read(path.resolve(), changed)


@lru_cache(maxsize=8)
def _read(path: Path, changed: int) -> Table:
    import pandas

    readers: dict[str, Callable[[Path], pandas.DataFrame]] = {".parquet": pandas.read_parquet, ".csv": pandas.read_csv}
    if path.suffix not in readers:
        raise UserError(f"cannot read the table {path.name!r}: it must end in {' or '.join(readers)}")
    try:
        return Table(path, readers[path.suffix](path), sha256(path.read_bytes()).hexdigest())
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"cannot read the table {path.name!r}: {reason[:200]}") from None


@dataclass(frozen=True, slots=True)
class _Lookup:
    """What a table says of every row: its signal and cost by level, and what is reported."""

    find: Callable[[Genotype, Architecture], int | None]
    signals: tuple[list[float], ...]
    costs: tuple[list[float], ...]
    others: Mapping[str, list[float]]


@dataclass(frozen=True, slots=True)
class TabularEvaluator:
    """Looks up `signal` (columns parted by commas, of rising fidelity) of the architectures of `space` in `table`.

    Level n is the n-th signal. Each is a training of its own, so costs add up: `cost` names a column of seconds for
    each signal, or a column times a number (`seconds200*0.06`); without it time stands still. The metrics are `signal`,
    the value at the highest level reached, the signals and `columns` by their own names, and `cost_seconds`; the columns
    of `report` are recorded, and no controller sees them.

    Raises:
        NotFound: there is no such table.
        UserError: it has no such column, the numbers of signals and costs differ, or it has no architecture of the space.
        Diverged: the value of an architecture is not finite.
    """

    space: SearchSpace
    table: str
    signal: str
    report: str = ""
    cost: str = ""
    columns: str = ""
    _names: tuple[str, ...] = field(init=False, repr=False, compare=False)
    _lookup: _Lookup = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_names", split_names(self.signal))
        if not self._names:
            raise UserError("signal: name the column that the controller shall see")
        for name in self.reported:
            if name in (*self._names, *split_names(self.columns)):
                raise UserError(f"report: {name!r} is seen by the controller too; report another column")
        lookup = _look_up(self)
        object.__setattr__(self, "_lookup", lookup)
        rng = Random(0)
        probes = [self.space.elaborate(RandomChooser(rng=rng)) for _ in range(_PROBES)]
        if all(lookup.find(probe.genotype, probe.architecture) is None for probe in probes):
            raise UserError(
                f"{Path(self.table).name} has none of {_PROBES} random architectures of {self.space.name!r}; "
                "is it a table of this space, with these settings?"
            )

    def __reduce__(self) -> tuple[Any, ...]:
        # A worker reads the file itself, wherever it stands.
        path = str(load_table(self.table).path)
        return (TabularEvaluator, (self.space, path, self.signal, self.report, self.cost, self.columns))

    @property
    def metrics(self) -> tuple[str, ...]:
        return (SIGNAL, *self._names, *split_names(self.columns), COST)

    @property
    def measured(self) -> tuple[str, ...]:
        return (SIGNAL, COST)

    @property
    def reported(self) -> tuple[str, ...]:
        return split_names(self.report)

    @property
    def levels(self) -> int | None:
        return len(self._names)

    @property
    def identity(self) -> str:
        content = {
            "evaluator": "tabular",
            "version": 1,
            "table": load_table(self.table).fingerprint,
            **{name: getattr(self, name) for name in ("signal", "report", "cost", "columns")},
        }
        return json.dumps(content, sort_keys=True, separators=(",", ":"))

    def device_bytes(self, architecture: Architecture) -> int:
        return 0

    def check(self, architecture: Architecture) -> None:
        """Any architecture may be asked for; one that the table does not have fails."""

    def evaluate(self, task: EvaluationTask) -> Generator[Measurement, None, Evaluation]:
        lookup = self._lookup
        row = lookup.find(task.genotype, task.architecture)
        if row is None:
            raise NotFound(f"the table {Path(self.table).name} has no row of the architecture {task.architecture.key}")
        values: dict[str, float] = {}
        cost = 0.0
        for level in range(1, task.epochs + 1):
            name, value = self._names[level - 1], lookup.signals[level - 1][row]
            if not math.isfinite(value):
                raise Diverged(f"{name} is {value} in the table")
            cost += lookup.costs[level - 1][row]
            values |= {SIGNAL: value, name: value, COST: cost}
            yield Measurement(level, dict(values))
        return Evaluation(values | {name: numbers[row] for name, numbers in lookup.others.items()})


def _look_up(evaluator: TabularEvaluator) -> _Lookup:
    table = load_table(evaluator.table)
    names, costs = evaluator._names, split_names(evaluator.cost)
    if costs and len(costs) != len(names):
        raise UserError(f"cost: {len(costs)} columns for {len(names)} signals; name one for each")
    others = (*evaluator.reported, *split_names(evaluator.columns))
    return _Lookup(
        find=table.row_finder(evaluator.space),
        signals=tuple(table.numbers(name) for name in names),
        costs=tuple(_seconds(table, text) for text in costs) or tuple([0.0] * len(table.frame) for _ in names),
        others={name: table.numbers(name) for name in others},
    )


def split_names(text: str) -> tuple[str, ...]:
    """The names in a text, which commas part."""
    return tuple(name for part in text.split(",") if (name := part.strip()))


def _seconds(table: Table, text: str) -> list[float]:
    """A column, or `COLUMN*NUMBER`."""
    column, star, factor = text.partition("*")
    try:
        times = float(factor) if star else 1.0
    except ValueError:
        raise UserError(f"cost {text!r}: write COLUMN or COLUMN*NUMBER") from None
    numbers: list[float] = table.numbers(column.strip())
    return [times * number for number in numbers]
