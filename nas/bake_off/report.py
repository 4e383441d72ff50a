"""How a bake-off is told: its tables as rows, and a directory with summary, JSON and curves."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from nas.bake_off.curves import can_draw, draw
from nas.bake_off.standings import NOTE, BakeOff, Entry
from nas.bake_off.statistics import CONFIDENCE, Comparison, Summary
from nas.objectives import Objective
from nas.whole_directory import whole_directory


@dataclass(frozen=True, slots=True)
class ReportTable:
    """A table of texts under a title; the first column is the contestant's label."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def tables(bake_off: BakeOff) -> list[ReportTable]:
    """Every measure at the marks, the judged one first; then the tests; then what the searches cost. The best come first."""
    contest = bake_off.contest
    measures = sorted(contest.measures, key=lambda measure: measure.name != contest.judged)
    at = tuple(f"at {mark:,.12g}" for mark in contest.marks)
    unit = "evaluations" if contest.unit == "evaluations" else "simulated seconds"
    made = [_measure_table(bake_off, measure, at, unit) for measure in measures]
    leader = bake_off.entries[bake_off.leader].contestant.label
    if any(entry.standings[-1].against_random is not None for entry in bake_off.entries):
        title = f"p that {contest.judged} is no better than that of random (one-sided)"
        made.append(
            _test_table(bake_off, title, at, lambda entry, mark: entry.standings[mark].against_random, "better")
        )
    if len(bake_off.entries) > 1:
        title = f"p that {contest.judged} does not differ from that of {leader}, the leader (two-sided)"
        made.append(
            _test_table(bake_off, title, at, lambda entry, mark: entry.standings[mark].against_leader, "two_sided")
        )
    made.append(_cost_table(bake_off))
    return made


def first_lines(bake_off: BakeOff) -> list[str]:
    """What was contested, and how the numbers below are meant."""
    contest, run = bake_off.contest, bake_off.contest.run
    settings = run["evaluator_settings"]
    what = " ".join(f"--{name} {quote(str(value))}" for name, value in settings.items())
    budget = f"{run['trials']:,} evaluations" if "trials" in run else ""
    limit = f"{run['time_budget']:,.12g} simulated seconds" if run.get("time_budget") else ""
    return [
        f"{len(contest.contestants)} controllers × {contest.seeds} seeds × {' or '.join(filter(None, (budget, limit)))} "
        f"in the space {run['space']} ({run['evaluator']} {what}), in {bake_off.elapsed_seconds:,.0f} s on "
        f"{bake_off.workers} processes.",
        "Mean ± s.d. over the seeds of the incumbent: what the controller takes for its best trial, or else the best "
        f"{contest.measures[0].name} that it saw. Ranked by the mean of {contest.judged} at the last mark.",
        NOTE,
    ]


def write_report(bake_off: BakeOff, out: Path) -> list[Path]:
    """Writes `summary.md`, `bakeoff.json` and, where matplotlib is installed, `curves.png` and `curves.svg`.

    Raises:
        Conflict: `out` is a file, or a directory that is not empty.
        UserError: it cannot be written; nothing is left of it then.
    """
    with whole_directory(out) as partial:
        text = json.dumps(bake_off.to_dict(), ensure_ascii=False, allow_nan=False, indent=1)
        (partial / "bakeoff.json").write_text(text + "\n", encoding="utf-8")
        pictures = draw(bake_off, partial) if can_draw() else []
        (partial / "summary.md").write_text(_markdown(bake_off, pictures), encoding="utf-8")
        names = sorted(path.name for path in partial.iterdir())
    return [out / name for name in names]


def _markdown(bake_off: BakeOff, pictures: Sequence[Path]) -> str:
    parts = ["# Bake-off", *first_lines(bake_off)]
    for table in tables(bake_off):
        head = ["| " + " | ".join(table.columns) + " |", "|---|" + "---:|" * (len(table.columns) - 1)]
        parts.append(
            "\n".join([f"**{table.title}**", "", *head, *["| " + " | ".join(row) + " |" for row in table.rows]])
        )
    if pictures:
        parts.append(
            f"![Means with {CONFIDENCE:.0%} confidence bands]({pictures[0].name})\n\nThe bands are {CONFIDENCE:.0%} "
            "confidence intervals of the mean (Student's t), not the spread of single searches."
        )
    parts.append("`bakeoff.json` has all of it, with every search at every mark.")
    return "\n\n".join(parts) + "\n"


def _measure_table(bake_off: BakeOff, measure: Objective, at: tuple[str, ...], unit: str) -> ReportTable:
    rows = [
        (
            str(entry.standings[-1].rank),
            entry.contestant.label,
            *(_summary_text(standing.measures[measure.name]) for standing in entry.standings),
        )
        for entry in bake_off.ranked
    ]
    judged = ", by which they rank" if measure.name == bake_off.contest.judged else ""
    title = f"{measure} of the incumbent{judged} ({unit})"
    return ReportTable(title, ("controller", "rank", *at), tuple((row[1], row[0], *row[2:]) for row in rows))


def _test_table(
    bake_off: BakeOff, title: str, at: tuple[str, ...], test: Callable[[Entry, int], Comparison | None], side: str
) -> ReportTable:
    rows = []
    for entry in bake_off.ranked:
        found = [test(entry, mark) for mark in range(len(at))]
        rows.append(
            (entry.contestant.label, *("–" if each is None else _p_text(getattr(each, side)) for each in found))
        )
    return ReportTable(title, ("controller", *at), tuple(rows))


def _cost_table(bake_off: BakeOff) -> ReportTable:
    columns = ("controller", "evaluations", "ms per proposal: median", "mean", "repeats", "rejected")
    entries = bake_off.ranked
    further = {
        "without result": [entry.unsuccessful_share for entry in entries],
        "stopped early": [entry.stopped_share for entry in entries],
    }
    shown = {name: shares for name, shares in further.items() if any(shares)}
    timed = any(entry.simulated_seconds for entry in entries)
    rows = [
        (
            entry.contestant.label,
            f"{entry.evaluations:,.1f}",
            f"{entry.median_milliseconds:.3g}",
            f"{entry.mean_milliseconds:.3g}",
            f"{entry.repeated_share:.1%}",
            f"{entry.rejected_share:.1%}",
            *(f"{shares[place]:.1%}" for shares in shown.values()),
            *([f"{entry.simulated_seconds:,.0f}"] if timed else []),
        )
        for place, entry in enumerate(entries)
    ]
    title = "The searches, on average"
    return ReportTable(title, (*columns, *shown, *(["simulated seconds"] if timed else [])), tuple(rows))


def _summary_text(summary: Summary) -> str:
    if summary.mean is None:
        return "–"
    digits = 3 if abs(summary.mean) >= 1 else 4
    missing = f" ({summary.missing} without)" if summary.missing else ""
    if abs(summary.mean) >= 10_000:
        return f"{summary.mean:,.0f} ± {summary.deviation or 0.0:,.0f}{missing}"
    spread = "" if summary.deviation is None else f" ± {summary.deviation:.{digits}f}"
    return f"{summary.mean:.{digits}f}{spread}{missing}"


def _p_text(probability: float) -> str:
    return "< 0.0001" if probability < 0.0001 else f"{probability:.4f}"
