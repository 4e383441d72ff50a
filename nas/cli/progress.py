"""Live progress of a search on a terminal, and a plain line now and then where there is none."""

import time
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from nas.cli.output import bytes_text, cell_text, duration_text
from nas.progress import Progress

LINE_INTERVAL_SECONDS = 30.0

MOST_WORKERS = 12
"""How many workers the live display shows line by line; of the others it tells how many there are."""


class ProgressDisplay:
    """Shows each `Progress` that it is given; a context manager."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=True, refresh_per_second=4, transient=False)
        self._last_line = time.monotonic()
        self._progress: Progress | None = None

    def __enter__(self) -> "ProgressDisplay":
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._live.stop()
        elif self._progress is not None:
            self._console.print(progress_text(self._progress), markup=False, soft_wrap=True)

    @property
    def search_name(self) -> str | None:
        """The name of the search shown; None before its first progress."""
        return None if self._progress is None else self._progress.name

    def update(self, progress: Progress) -> None:
        """Shows how far the search has come."""
        before, self._progress = self._progress, progress
        if self._console.is_terminal:
            self._live.update(_panel(progress))
        elif before is None or (
            time.monotonic() - self._last_line >= LINE_INTERVAL_SECONDS
            # Not in the moment between a worker's last trial and its next.
            and progress.running >= before.running
        ):
            self._last_line = time.monotonic()
            self._console.print(progress_text(progress), markup=False, soft_wrap=True)


def progress_text(progress: Progress) -> str:
    """The progress as one line."""
    budget = f"/{progress.budget}" if progress.is_bounded and progress.time_budget_seconds is None else ""
    parts = [f"{progress.name}: {progress.finished}{budget} trials", f"{progress.running} running"]
    if progress.time_budget_seconds is not None:
        parts.append(f"{progress.spent_seconds:,.0f}/{progress.time_budget_seconds:,.0f} s of evaluation")
    if progress.best is not None:
        parts.append(f"best {best_text(progress)}")
    parts.append(f"{60 * progress.trials_per_second:.1f} trials/min")
    if progress.finished < progress.budget:
        parts.append(f"{duration_text(progress.seconds_left)} left")
    else:
        parts.append(f"took {duration_text(progress.elapsed_seconds)}")
    if progress.away_seconds is not None:
        kept = f", {progress.spooled} results kept on disk" if progress.spooled else ""
        parts.append(f"the database does not answer for {duration_text(progress.away_seconds)}{kept}")
    for count, what in (
        (progress.reused, "known already"),
        (progress.stopped, "stopped early"),
        (progress.unsuccessful, "without result"),
        (progress.rejected, f"rejected by constraints ({progress.rejected_share:.0%} of all proposals)"),
    ):
        if count:
            parts.append(f"{count} {what}")
    return ", ".join(parts)


def best_text(progress: Progress) -> str:
    """The objective values of the best trial."""
    best = progress.best
    if best is None:
        return "–"
    return " ".join(f"{name} {cell_text(best.values[name])}" for name in progress.objectives)


def _panel(progress: Progress) -> Table:
    grid = Table.grid(padding=(0, 1))
    if progress.is_bounded:
        bar = ProgressBar(total=progress.budget, completed=progress.finished, width=40)
    else:
        # Without a bound at all the bar only moves.
        bar = ProgressBar(total=progress.time_budget_seconds, completed=progress.spent_seconds, width=40)
    grid.add_row(bar)
    grid.add_row(progress_text(progress))
    if progress.devices:
        grid.add_row(_devices_text(progress))
    if progress.workers:
        grid.add_row(_workers(progress))
    return grid


def _devices_text(progress: Progress) -> str:
    """What is spoken for on each GPU."""
    parts = [f"{name} {bytes_text(used)} of {bytes_text(size)}" for name, (used, size) in progress.devices.items()]
    return f"GPU memory: {', '.join(parts)}"


def _workers(progress: Progress) -> Table:
    table = Table(box=None, pad_edge=False, show_edge=False, header_style="bold")
    for column in ("worker", "trial", "epoch", "for"):
        table.add_column(column, justify="left" if column == "worker" else "right")
    for each in progress.workers[:MOST_WORKERS]:
        table.add_row(each.worker, str(each.number), f"{each.epoch}/{each.epochs}", duration_text(each.seconds))
    if len(progress.workers) > MOST_WORKERS:
        table.add_row(f"and {len(progress.workers) - MOST_WORKERS} more")
    return table
