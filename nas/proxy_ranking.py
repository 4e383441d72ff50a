"""How well zero-cost proxies rank the architectures of a table: against a column of trained accuracies, or any other."""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from math import ceil, isfinite
from typing import Any

import search_spaces
from search_spaces.architecture import Architecture
from search_spaces.choices import RandomChooser
from search_spaces.errors import UserError
from search_spaces.space import SearchSpace
from workers.data import describe
from workers.tabular import load_table
from workers.zero_cost.evaluator import ZeroCostEvaluator, proxy_score
from workers.zero_cost.table import BASELINES, PROXIES

TOP = 0.1
"""The fraction of the architectures that counts as the top."""

LEAST_ARCHITECTURES = 20
"""Fewer have no top of two to rank."""

MOST_MISSES = 5_000
"""How many draws in a row may bring nothing new before the rows that are found count as all there are to find."""


@dataclass(frozen=True, slots=True)
class ProxyRank:
    """How a proxy ranks: 1 is the order of the column, 0 no order; None where one side has a single value."""

    proxy: str
    spearman: float | None
    kendall: float | None
    """Kendall's tau-b."""
    top_spearman: float | None
    """Spearman within the top tenth by the column."""
    top_share: float
    """Which part of the top tenth by the column is among the top tenth by the proxy; by chance it is 0.1."""
    unscored: int
    """How many architectures it has no finite score for; they rank below all others, as in a search."""
    milliseconds: float
    """Processor time for an architecture, on average; building the network included."""


@dataclass(frozen=True, slots=True)
class ProxyRanking:
    """How proxies rank `number` random architectures of a table against its column `against`."""

    space: str
    table: str
    against: str
    number: int
    images: str
    """The data set of the batches, or `standard normal`."""
    seed: int
    proxies: tuple[ProxyRank, ...]

    def to_dict(self) -> dict[str, Any]:
        """The ranking under its JSON names."""
        return asdict(self)


def rank_proxies(
    *,
    space: str,
    table: str,
    against: str,
    proxies: Sequence[str] = (),
    number: int = 300,
    seed: int = 0,
    data: str | None = None,
    space_settings: dict[str, Any] | None = None,
    listener: Callable[[int, int], None] = lambda done, number: None,
) -> ProxyRanking:
    """Scores random architectures of a table by proxies (all unless named), and compares ranks with a column.

    Architectures are drawn by uniform answers, no row twice, and scored simplified, as a search scores them; rows
    whose value is not finite are passed over. Where the table is smaller, or knows so little of the space that
    thousands of draws find nothing new, there are fewer than `number`. `params` and `macs` are always ranked
    beside the proxies. With `data` the space is made for that data set and its images are the batch; without, the
    space has its own shapes and the batch is standard normal. `listener` is told after each architecture how many of
    how many are done.

    Raises:
        NotFound: there is no such table.
        UserError: a name, a setting or the number is wrong, or the table has too few architectures of the space.
    """
    names = tuple(dict.fromkeys([*(proxies or PROXIES), *BASELINES]))
    evaluators = {name: ZeroCostEvaluator((name,), data=data) for name in names}
    if number < LEAST_ARCHITECTURES:
        raise UserError(f"number must be at least {LEAST_ARCHITECTURES}, got {number}")
    made_for: dict[str, Any] = {}
    if data is not None:
        made_for = {"input_shape": describe(data).input_shape, "classes": describe(data).classes}
    for name in space_settings or {}:
        if name == "name" or name in made_for:
            raise UserError(
                f"space_settings: {name!r} is set by {'the data' if name in made_for else 'space'}; leave it out"
            )
    loaded = search_spaces.load(space, **made_for, **(space_settings or {}))
    chosen = list(_draw(loaded, table, against, number, random.Random(seed)))
    if len(chosen) < LEAST_ARCHITECTURES:
        raise UserError(
            f"the table {table!r} has {len(chosen)} architectures of {space!r} with a finite {against!r}; it needs "
            f"{LEAST_ARCHITECTURES}; is it a table of this space?"
        )
    scores: dict[str, list[float]] = {name: [] for name in names}
    seconds = dict.fromkeys(names, 0.0)
    for done, (architecture, _) in enumerate(chosen, start=1):
        for name in names:
            began = time.process_time()
            scores[name].append(proxy_score(evaluators[name], architecture, seed=seed))
            seconds[name] += time.process_time() - began
        listener(done, len(chosen))
    values = [value for _, value in chosen]
    ranks = [rank(name, scores[name], values, milliseconds=1000 * seconds[name] / len(chosen)) for name in names]
    return ProxyRanking(space, table, against, len(chosen), data or "standard normal", seed, tuple(ranks))


def rank(proxy: str, scores: Sequence[float], values: Sequence[float], *, milliseconds: float) -> ProxyRank:
    """How scores rank against values; a score of -inf is none."""
    import numpy
    from scipy.stats import kendalltau, spearmanr

    given, wanted = numpy.array(scores), numpy.array(values)

    def correlation(measure: Callable[..., Any], places: Any) -> float | None:
        one, other = given[places], wanted[places]
        if (one == one[0]).all() or (other == other[0]).all():
            return None
        return float(measure(one, other).statistic)

    everywhere = numpy.ones(len(given), dtype=bool)
    best = numpy.argsort(-wanted, kind="stable")[: ceil(TOP * len(wanted))]
    overlap = sum(a * b for a, b in zip(_in_top(scores), _in_top(values), strict=True))
    return ProxyRank(
        proxy,
        spearman=correlation(spearmanr, everywhere),
        kendall=correlation(kendalltau, everywhere),
        top_spearman=correlation(spearmanr, best),
        top_share=overlap / len(best),
        unscored=sum(not isfinite(score) for score in scores),
        milliseconds=milliseconds,
    )


def _in_top(values: Sequence[float]) -> list[float]:
    """For each value how surely it is in the top: equal ones at the border share the places that are left."""
    places = ceil(TOP * len(values))
    border = sorted(values, reverse=True)[places - 1]
    above = sum(value > border for value in values)
    share = (places - above) / sum(value == border for value in values)
    return [1.0 if value > border else share if value == border else 0.0 for value in values]


def _draw(
    space: SearchSpace, table: str, against: str, number: int, rng: random.Random
) -> Iterator[tuple[Architecture, float]]:
    """Random architectures, simplified, with their values in the column `against`."""
    loaded = load_table(table)
    values = loaded.numbers(against)
    find = loaded.row_finder(space)
    seen: set[int | None] = {None}
    misses = found = 0
    while found < min(number, len(values)) and misses < MOST_MISSES:
        elaboration = space.elaborate(RandomChooser(rng=rng))
        row = find(elaboration.genotype, elaboration.architecture)
        misses += 1
        if row is None or row in seen:
            continue
        seen.add(row)
        if isfinite(values[row]):
            misses, found = 0, found + 1
            yield elaboration.architecture.simplified(), values[row]
