"""How commands write: JSON and tables to stdout, notes to stderr."""

import json
import re
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import typer
from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.measure import Measurement
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

JsonFlag = Annotated[bool, typer.Option("--json", help="Write JSON to stdout instead of tables.")]
DatabaseOption = Annotated[str, typer.Option("--db", metavar="URL", help="The database: a path or postgresql://…")]

DEFAULT_DATABASE = "nas.db"

_UNPRINTABLE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Control characters, and those that make a terminal show others in another order."""

_WIDEST = 1_000
"""Columns of a terminal that the widest table stays below."""


class _SafeConsole(Console):
    """Shows characters that cannot be printed as escapes: what comes out of databases and files must not steer a terminal."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.is_control else segment._replace(text=printable(segment.text))


class _DataConsole(_SafeConsole):
    """Leaves it to `nas.cli.main` what becomes of a reader that has gone: for rich it is a failure."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def stdout() -> Console:
    """The console for data; tables are never cut where there is no terminal."""
    console = _DataConsole(highlight=False)
    if not console.is_terminal:
        console = _DataConsole(highlight=False, width=240)
    return console


def print_wide(renderable: RenderableType) -> None:
    """Prints a table to stdout as wide as it is: a terminal breaks its lines, which reads better than columns of few letters."""
    console = stdout()
    width = Measurement.get(console, console.options.update(max_width=_WIDEST), renderable).maximum
    _DataConsole(highlight=False, width=max(console.width, width)).print(renderable)


def stderr() -> Console:
    """The console for everything else."""
    return _SafeConsole(stderr=True, highlight=False)


def write_json(document: Any) -> None:
    """Writes a JSON document and a newline to stdout."""
    text = json.dumps(document, ensure_ascii=False, allow_nan=False)
    # JSON's own escapes for what json.dumps leaves: it means the same, and does not steer a terminal.
    typer.echo(_UNPRINTABLE.sub(lambda found: json.dumps(found[0])[1:-1], text))


def printable(text: str) -> str:
    """The text with escapes in place of all that is neither printed nor a line's end."""
    return _UNPRINTABLE.sub(lambda found: repr(found[0])[1:-1], text)


def make_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Group:
    """A title above a table whose numbers stand to the right; nothing in it is taken as markup."""
    table = Table(box=None, header_style="bold", pad_edge=False, show_edge=False)
    cells = [tuple(row) for row in rows]
    for index, column in enumerate(columns):
        numeric = all(isinstance(row[index], int | float | None) for row in cells)
        table.add_column(Text(column), justify="right" if numeric else "left", overflow="fold")
    for row in cells:
        table.add_row(*(Text(cell_text(cell)) for cell in row))
    return Group(Text(title, style="bold italic", no_wrap=True, overflow="ignore"), table)


def cell_text(value: object) -> str:
    """A value as people read it: thousands separated, four digits of a fraction, a dash for none."""
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int) or abs(value) >= 10_000:
        return f"{value:,}"
    # Accuracies, the most frequent ones, line up.
    text = f"{value:.4f}" if abs(value) <= 1 else f"{value:.4g}"
    return f"{text}.0" if text.lstrip("-").isdigit() else text


def shape_text(shape: Sequence[int]) -> str:
    """Sizes by axis, as people write them: `3x224x224`."""
    return "x".join(map(str, shape))


def bytes_text(value: int) -> str:
    """Bytes in the largest binary unit that leaves at least one of it."""
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if value >= size:
            return f"{value / size:.4g} {unit}"
    return f"{value} B"


def duration_text(seconds: float | None) -> str:
    """`1:02:03` or `2:03`; a dash for none."""
    if seconds is None:
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
