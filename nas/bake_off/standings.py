"""What a bake-off came to: every contestant at every mark, tested against random and the leader, with its curve."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, median
from typing import Any

from nas.bake_off.contest import Contest
from nas.bake_off.contestants import BASELINE, Contestant
from nas.bake_off.simulation import Run
from nas.bake_off.statistics import CONFIDENCE, Comparison, Summary, compare, holm, ranks, summarise
from nas.objectives import Direction

SCHEMA = 1
"""The number of the JSON form; grows when a name changes its meaning."""
NOTE = (
    "p: Mann-Whitney U test over the seeds, of one pair each and not adjusted for their number; the JSON has them "
    "adjusted after Holm. The searches of a seed share random numbers, which makes p too large rather than too small."
)


@dataclass(frozen=True, slots=True)
class Standing:
    """A contestant at a mark: its measures, its rank by the judged one, and the tests on that.

    A test is None for the contestant that it is against; that against random also where `random` takes no part.
    """

    measures: Mapping[str, Summary]
    rank: int
    against_random: Comparison | None
    against_leader: Comparison | None


@dataclass(frozen=True, slots=True)
class Entry:
    """A contestant with its standings (one for each mark), its curves, and what its searches cost."""

    contestant: Contestant
    standings: tuple[Standing, ...]
    curves: Mapping[str, tuple[Summary, ...]]
    """By measure, a summary for each stop."""
    evaluations: float
    """Mean over the searches, as are the shares."""
    simulated_seconds: float
    repeated_share: float
    """Of the evaluations, those that took over a known result."""
    rejected_share: float
    """Of all proposals, those that broke a constraint."""
    unsuccessful_share: float
    stopped_share: float
    median_milliseconds: float
    """Wall time of a proposal over all searches: to propose, and to observe what became of it."""
    mean_milliseconds: float


@dataclass(frozen=True, slots=True)
class BakeOff:
    """A finished contest."""

    contest: Contest
    entries: tuple[Entry, ...]
    """In the order in which the contestants were named."""
    runs: Mapping[tuple[int, int], Run]
    """By the number of the contestant and the seed."""
    leader: int
    """The number of the contestant with the best mean of the judged measure at the last mark."""
    elapsed_seconds: float
    workers: int

    @property
    def ranked(self) -> list[Entry]:
        """The entries, the best at the last mark first."""
        return sorted(self.entries, key=lambda entry: entry.standings[-1].rank)

    def adjusted(self, against: str, side: str, mark: int) -> dict[str, float]:
        """p-values after Holm by label: `against` is `random` or `leader`, `side` a field of `Comparison`."""
        found = {
            entry.contestant.label: getattr(comparison, side)
            for entry in self.entries
            if (comparison := getattr(entry.standings[mark], f"against_{against}")) is not None
        }
        return dict(zip(found, holm(list(found.values())), strict=True))

    def to_dict(self) -> dict[str, Any]:
        """The whole as JSON values; numbers that are not there are None."""
        contest = self.contest
        return {
            "schema": SCHEMA,
            "run": contest.run,
            "seeds": contest.seeds,
            "unit": contest.unit,
            "marks": list(contest.marks),
            "stops": list(contest.stops),
            "measures": [{"name": measure.name, "direction": str(measure.direction)} for measure in contest.measures],
            "judged": contest.judged,
            "leader": self.entries[self.leader].contestant.label,
            "confidence": CONFIDENCE,
            "note": NOTE,
            "workers": self.workers,
            "elapsed_seconds": self.elapsed_seconds,
            "controllers": [self._entry_dict(index) for index in range(len(self.entries))],
        }

    def _entry_dict(self, index: int) -> dict[str, Any]:
        entry = self.entries[index]
        names = [measure.name for measure in self.contest.measures]
        runs = [self.runs[index, seed] for seed in range(self.contest.seeds)]
        places = [self.contest.stops.index(mark) for mark in self.contest.marks]
        return {
            "label": entry.contestant.label,
            "controller": entry.contestant.controller,
            "settings": entry.contestant.settings,
            "standings": [self._standing_dict(entry, mark) for mark in range(len(self.contest.marks))],
            "curves": {
                name: {key: [getattr(point, key) for point in curve] for key in ("mean", "low", "high")}
                for name, curve in entry.curves.items()
            },
            "evaluations": entry.evaluations,
            "simulated_seconds": entry.simulated_seconds,
            "repeated_share": entry.repeated_share,
            "rejected_share": entry.rejected_share,
            "unsuccessful_share": entry.unsuccessful_share,
            "stopped_share": entry.stopped_share,
            "median_milliseconds": entry.median_milliseconds,
            "mean_milliseconds": entry.mean_milliseconds,
            "searches": {
                name: [[_known(run.points[place].values[column]) for run in runs] for place in places]
                for column, name in enumerate(names)
            },
        }

    def _standing_dict(self, entry: Entry, mark: int) -> dict[str, Any]:
        standing = entry.standings[mark]
        document: dict[str, Any] = {
            "mark": self.contest.marks[mark],
            "rank": standing.rank,
            "measures": {name: asdict(summary) for name, summary in standing.measures.items()},
        }
        for against, comparison in (("random", standing.against_random), ("leader", standing.against_leader)):
            document[f"against_{against}"] = (
                None
                if comparison is None
                else {
                    **asdict(comparison),
                    **{
                        f"{side}_adjusted": self.adjusted(against, side, mark)[entry.contestant.label]
                        for side in asdict(comparison)
                    },
                }
            )
        return document


def judge(contest: Contest, runs: Mapping[tuple[int, int], Run], *, elapsed_seconds: float, workers: int) -> BakeOff:
    """Summarises and compares the searches of a contest."""
    everyone = range(len(contest.contestants))
    by_name = {measure.name: column for column, measure in enumerate(contest.measures)}
    judged = by_name[contest.judged]
    sign = 1.0 if contest.measures[judged].direction is Direction.MAXIMISE else -1.0

    def values(index: int, stop: int, column: int) -> list[float]:
        return [runs[index, seed].points[stop].values[column] for seed in range(contest.seeds)]

    def gains(stop: int) -> list[list[float]]:
        return [[sign * value for value in values(index, stop, judged)] for index in everyone]

    labels = [contestant.label for contestant in contest.contestants]
    baseline = labels.index(BASELINE) if BASELINE in labels else None
    leader = ranks(gains(contest.stops.index(contest.marks[-1]))).index(1)
    curves = [
        {
            name: tuple(summarise(values(index, stop, column)) for stop in range(len(contest.stops)))
            for name, column in by_name.items()
        }
        for index in everyone
    ]
    standings: list[list[Standing]] = [[] for _ in everyone]
    for mark in contest.marks:
        stop = contest.stops.index(mark)
        rows = gains(stop)
        for index, rank in enumerate(ranks(rows)):
            standings[index].append(
                Standing(
                    {name: curves[index][name][stop] for name in by_name},
                    rank,
                    _compared(rows, index, baseline),
                    _compared(rows, index, leader),
                )
            )
    entries = [
        _entry(contestant, standings[index], curves[index], [runs[index, seed] for seed in range(contest.seeds)])
        for index, contestant in enumerate(contest.contestants)
    ]
    return BakeOff(contest, tuple(entries), runs, leader, elapsed_seconds, workers)


def _compared(rows: Sequence[Sequence[float]], index: int, other: int | None) -> Comparison | None:
    return None if other is None or other == index else compare(rows[index], rows[other])


def _entry(
    contestant: Contestant,
    standings: Sequence[Standing],
    curves: Mapping[str, tuple[Summary, ...]],
    runs: Sequence[Run],
) -> Entry:
    evaluations = sum(run.evaluations for run in runs)
    rejected = sum(run.rejected for run in runs)
    milliseconds = [each for run in runs for each in run.milliseconds]
    return Entry(
        contestant=contestant,
        standings=tuple(standings),
        curves=curves,
        evaluations=evaluations / len(runs),
        simulated_seconds=fmean(run.seconds for run in runs),
        repeated_share=sum(run.reused for run in runs) / max(1, evaluations),
        rejected_share=rejected / max(1, rejected + evaluations),
        unsuccessful_share=sum(run.unsuccessful for run in runs) / max(1, evaluations),
        stopped_share=sum(run.stopped for run in runs) / max(1, evaluations),
        median_milliseconds=median(milliseconds) if milliseconds else 0.0,
        mean_milliseconds=fmean(milliseconds) if milliseconds else 0.0,
    )


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
