"""`nas proxies`: how well zero-cost proxies rank the architectures of a table."""

import time
from typing import Annotated

import typer

from nas.cli.output import JsonFlag, make_table, stderr, stdout, write_json
from search_spaces.errors import UserError

LINE_INTERVAL_SECONDS = 10.0


def proxies(
    space: Annotated[str, typer.Option(help="The search space; see: nas spaces. Your own: module:attribute.")],
    table: Annotated[str, typer.Option(metavar="FILE", help="The table, .parquet or .csv, or one that nas ships.")],
    against: Annotated[str, typer.Option(metavar="COLUMN", help="The column to rank against: trained accuracy.")],
    names: Annotated[
        str | None, typer.Option("--proxies", metavar="A,B", help="Which proxies (all); params and macs always are.")
    ] = None,
    number: Annotated[int, typer.Option(help="How many random architectures.")] = 300,
    seed: Annotated[int, typer.Option(help="Of the architectures, the initial weights and the batch.")] = 0,
    data: Annotated[
        str | None, typer.Option(help="Make the space for this data set and take its images (noise otherwise).")
    ] = None,
    space_settings: Annotated[
        list[str] | None, typer.Option("--space-set", metavar="NAME=VALUE", help="A parameter of the space.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Rank zero-cost proxies against trained accuracy."""
    from nas.proxy_ranking import rank_proxies
    from nas.targets import parse_parameters
    from workers.tabular import split_names

    chosen = split_names(names or "")
    if names is not None and not chosen:
        raise UserError("--proxies: name at least one, like naswot,synflow; or leave it out for all")
    ranking = rank_proxies(
        space=space,
        table=table,
        against=against,
        proxies=chosen,
        number=number,
        seed=seed,
        data=data,
        space_settings=parse_parameters(space_settings or (), option="--space-set"),
        listener=_Lines().update,
    )
    if as_json:
        write_json({"schema": 1, **ranking.to_dict()})
        return
    title = f"{ranking.number} architectures of {space} against {against} (batch: {ranking.images}, seed {seed})"
    columns = ("proxy", "Spearman", "Kendall", "top 10 % Spearman", "top 10 % share", "unscored", "ms")
    rows = [
        (each.proxy, each.spearman, each.kendall, each.top_spearman, each.top_share, each.unscored, each.milliseconds)
        for each in ranking.proxies
    ]
    stdout().print(make_table(title, columns, rows))


class _Lines:
    """Says now and then how many architectures are done."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def update(self, done: int, number: int) -> None:
        if time.monotonic() - self._last >= LINE_INTERVAL_SECONDS:
            self._last = time.monotonic()
            stderr().print(f"{done}/{number} architectures scored", markup=False, soft_wrap=True)
