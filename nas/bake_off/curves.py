"""Draws the anytime curves of a bake-off with matplotlib, which is there where nas was installed with its extra `plots`."""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from nas.bake_off.standings import BakeOff, Entry
from nas.objectives import Direction, Objective

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MISSING = "no curves: matplotlib is not installed; pip install 'nas[plots]'"
_WIDTH_INCHES, _HEIGHT_INCHES = 6.4, 4.2
_LINE_STYLES = ("solid", "dashed", "dotted")
_BAND_OPACITY = 0.18
_START = 0.1
"""The share of the way at which the vertical axis begins to be fitted: the first steps would flatten all the rest."""


def can_draw() -> bool:
    """Whether matplotlib is installed."""
    return find_spec("matplotlib") is not None


def draw(bake_off: BakeOff, directory: Path, *, formats: tuple[str, ...] = ("png", "svg")) -> list[Path]:
    """Writes `curves.png` and `curves.svg`: for each measure the mean over the seeds and its confidence band."""
    import matplotlib
    from matplotlib.figure import Figure

    # The judged measure first.
    measures = sorted(bake_off.contest.measures, key=lambda measure: measure.name != bake_off.contest.judged)
    # Equal contests give equal files.
    with matplotlib.rc_context({"svg.hashsalt": "nas", "svg.fonttype": "none"}):
        figure = Figure(figsize=(_WIDTH_INCHES * len(measures), _HEIGHT_INCHES), layout="constrained")
        for number, measure in enumerate(measures, start=1):
            axes = figure.add_subplot(1, len(measures), number)
            _draw_measure(axes, bake_off, measure)
        axes.legend(loc="best", fontsize="small", frameon=False)
        paths = [directory / f"curves.{suffix}" for suffix in formats]
        for path in paths:
            metadata = {"Date": None} if path.suffix == ".svg" else {}
            figure.savefig(path, dpi=150, metadata=metadata)
    return paths


def _draw_measure(axes: "Axes", bake_off: BakeOff, measure: Objective) -> None:
    contest = bake_off.contest
    for place, entry in enumerate(bake_off.ranked):
        shown = [
            (
                stop,
                point.mean,
                point.mean if point.low is None else point.low,
                point.mean if point.high is None else point.high,
            )
            for stop, point in zip(contest.stops, entry.curves[measure.name], strict=True)
            if point.mean is not None
        ]
        places, means, lows, highs = ([row[column] for row in shown] for column in range(4))
        # Ten colours, so that the eleventh contestant is told from the first by its stroke.
        colour, style = f"C{place % 10}", _LINE_STYLES[place // 10 % len(_LINE_STYLES)]
        axes.plot(places, means, color=colour, linestyle=style, label=entry.contestant.label)
        axes.fill_between(places, lows, highs, color=colour, alpha=_BAND_OPACITY, linewidth=0)
    limits = _limits(bake_off.entries, measure)
    if limits is not None:
        axes.set_ylim(*limits)
    axes.set_xlabel("evaluations" if contest.unit == "evaluations" else "simulated seconds")
    better = "more" if measure.direction is Direction.MAXIMISE else "less"
    axes.set_ylabel(f"{measure.name} of the incumbent ({better} is better)")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def _limits(entries: tuple[Entry, ...], measure: Objective) -> tuple[float, float] | None:
    """What the vertical axis shows: all that the curves do after their first steps, and the bands at their ends."""
    shown = []
    for entry in entries:
        curve = entry.curves[measure.name]
        shown += [point.mean for point in curve[int(_START * len(curve)) :]] + [curve[-1].low, curve[-1].high]
    values = [value for value in shown if value is not None]
    if not values or min(values) == max(values):
        return None
    margin = 0.05 * (max(values) - min(values))
    return min(values) - margin, max(values) + margin
