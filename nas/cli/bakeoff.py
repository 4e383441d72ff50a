"""`nas bakeoff`: several controllers, many seeds each, on one table or another cheap problem."""

import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas.cli.output import JsonFlag, duration_text, make_table, stderr, stdout, write_json
from search_spaces.errors import UserError

if TYPE_CHECKING:
    from nas.bake_off.hold import BakeOffProgress

LINE_INTERVAL_SECONDS = 10.0


def bakeoff(
    controllers: Annotated[
        str,
        typer.Option(metavar="A,B,…", help="Who takes part: names, or name[setting=value,…]; see: nas controllers."),
    ],
    space: Annotated[str, typer.Option(help="The search space; see: nas spaces. Your own: module:attribute.")],
    budget: Annotated[int | None, typer.Option(help="How many evaluations each search has.")] = None,
    seeds: Annotated[int, typer.Option(help="How many searches each controller makes.")] = 20,
    table: Annotated[
        str | None, typer.Option(metavar="FILE", help="The table, .parquet or .csv, or one that comes with nas.")
    ] = None,
    signal: Annotated[
        str | None, typer.Option(metavar="COLUMNS", help="What the controllers see, of rising fidelity.")
    ] = None,
    report: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMNS", help="What no controller sees, by the first of which they rank; NAME[:max|min]."
        ),
    ] = None,
    cost: Annotated[
        str | None, typer.Option(metavar="COLUMNS", help="Seconds for each signal, COLUMN or COLUMN*NUMBER.")
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(metavar="N,N,…", help="Where to compare: evaluations, or simulated seconds under --time-budget."),
    ] = None,
    time_budget: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Begin no more evaluations after so many simulated seconds.")
    ] = None,
    objective: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME[:max|min]", help="What to optimise (the signal); may be given several times."),
    ] = None,
    constraint: Annotated[
        list[str] | None, typer.Option(metavar="TEXT", help='A hard bound, such as "macs<=50e6"; several are allowed.')
    ] = None,
    stopping: Annotated[
        str | None, typer.Option(metavar="asha|hyperband", help="Stop evaluations early that fall behind at a rung.")
    ] = None,
    evaluator: Annotated[str, typer.Option(help="How candidates are measured; anything cheap.")] = "tabular",
    evaluator_settings: Annotated[
        list[str] | None, typer.Option("--evaluator-set", metavar="NAME=VALUE", help="A setting of the evaluator.")
    ] = None,
    space_settings: Annotated[
        list[str] | None, typer.Option("--space-set", metavar="NAME=VALUE", help="A parameter of the space.")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="How many searches run at once (one a core).")] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="A new directory for curves, JSON and a summary.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Compare controllers over many seeds on a table."""
    from nas.bake_off import report as told
    from nas.bake_off.contest import make_contest
    from nas.bake_off.curves import MISSING, can_draw
    from nas.bake_off.hold import hold
    from nas.targets import parse_parameters
    from nas.whole_directory import refuse_taken

    if out is not None:
        refuse_taken(out)
    contest = make_contest(
        controllers,
        seeds=seeds,
        budget=budget,
        at=_numbers(at),
        report=report or "",
        space=space,
        space_settings=parse_parameters(space_settings or (), option="--space-set"),
        evaluator=evaluator,
        evaluator_settings=parse_parameters(evaluator_settings or (), option="--evaluator-set"),
        table=table,
        signal=signal,
        cost=cost,
        time_budget=time_budget,
        objectives=objective,
        constraints=constraint,
        stopping=stopping,
    )
    if out is not None and not can_draw():
        stderr().print(MISSING, markup=False, soft_wrap=True)
    try:
        with _Display() as display:
            found = hold(contest, workers=workers, listener=display.update)
    except KeyboardInterrupt:
        stderr().print("interrupted; nothing was written", markup=False, soft_wrap=True)
        raise
    if as_json:
        write_json(found.to_dict())
    else:
        console = stdout()
        for table_ in told.tables(found):
            console.print(make_table(table_.title, table_.columns, table_.rows))
            console.print()
        for line in told.first_lines(found):
            stderr().print(line, markup=False, soft_wrap=True)
    if out is not None:
        written = told.write_report(found, out)
        stderr().print(f"wrote {', '.join(map(str, written))}", markup=False, soft_wrap=True)


def _numbers(text: str | None) -> list[float]:
    from workers.tabular import split_names

    try:
        return [float(part.replace("_", "")) for part in split_names(text or "")]
    except ValueError:
        raise UserError(f"--at {text!r}: give numbers parted by commas, like 50,100,150") from None


class _Display:
    """Shows how many searches are done: a bar on a terminal, else a line now and then; a context manager."""

    def __init__(self) -> None:
        from rich.live import Live

        self._console = stderr()
        self._live = Live(console=self._console, auto_refresh=True, refresh_per_second=4, transient=False)
        self._last_line = time.monotonic()

    def __enter__(self) -> "_Display":
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def update(self, progress: "BakeOffProgress") -> None:
        """Shows how far the contest has come."""
        if self._console.is_terminal:
            self._live.update(_bar(progress))
        elif time.monotonic() - self._last_line >= LINE_INTERVAL_SECONDS:
            self._last_line = time.monotonic()
            self._console.print(_line(progress), markup=False, soft_wrap=True)


def _line(progress: "BakeOffProgress") -> str:
    if progress.done == progress.searches:
        return f"{progress.searches:,} searches, took {duration_text(progress.elapsed_seconds)}"
    return f"{progress.done:,}/{progress.searches:,} searches, {duration_text(progress.seconds_left)} left"


def _bar(progress: "BakeOffProgress") -> Any:
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    grid = Table.grid(padding=(0, 1))
    grid.add_row(ProgressBar(total=progress.searches, completed=progress.done, width=40))
    grid.add_row(_line(progress))
    return grid
