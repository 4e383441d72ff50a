"""`nas list` and `nas results`: what the database holds, search by search and trial by trial."""

from typing import TYPE_CHECKING, Annotated

import typer

from nas.cli.output import DEFAULT_DATABASE, DatabaseOption, JsonFlag, make_table, stderr, stdout, write_json
from search_spaces.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Group

    from db.trial import Trial
    from nas.result import SearchResult


def list_searches(db: DatabaseOption = DEFAULT_DATABASE, as_json: JsonFlag = False) -> None:
    """List the searches of a database."""
    from db.store import Store
    from db.url import shown

    with Store.open(db, mode="read") as store:
        summaries = store.searches()
    rows = [
        {
            "name": summary.search.name,
            "state": str(summary.search.state),
            "space": summary.search.space,
            "data": summary.search.data,
            "controller": summary.search.controller,
            "finished": sum(count for state, count in summary.counts.items() if state.is_finished),
            "budget": summary.search.trial_limit,
        }
        for summary in summaries
    ]
    if as_json:
        write_json({"schema": 1, "searches": rows})
        return
    columns = ("name", "state", "space", "data", "controller", "finished", "budget")
    stdout().print(
        make_table(f"Searches in {shown(db)}", columns, [[row[column] for column in columns] for row in rows])
    )


def results(
    name: Annotated[str, typer.Argument(help="The search.")],
    sort: Annotated[str | None, typer.Option(metavar="NAME[:max|min]", help="Order by this value.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Show at most so many trials.")] = None,
    pareto: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="Only the Pareto front of these values, such as val_accuracy,macs."),
    ] = None,
    db: DatabaseOption = DEFAULT_DATABASE,
    as_json: JsonFlag = False,
) -> None:
    """Show the trials of a search."""
    from nas.result import SearchResult

    if sort is not None and pareto is not None:
        raise UserError("--sort and --pareto exclude each other; give one of them")
    result = SearchResult(db, name)
    if pareto is not None:
        names = [part.strip() for part in pareto.split(",") if part.strip()]
        trials = [found.trial for found in result.pareto(*names)]
    elif sort is not None:
        trials = result.leaderboard(sort)
    else:
        trials = result.trials
    trials = trials[:limit]
    if as_json:
        write_json(result.to_dict(trials))
        return
    more = [part.partition(":")[0].strip() for part in (pareto or sort or "").split(",") if part]
    stdout().print(trial_table(f"Trials of {name} ({result.search.state})", trials, result, more))
    if result.rejected_count:
        share = f"{result.rejected_count} ({result.rejected_share:.0%} of all proposals)"
        stderr().print(f"rejected by constraints, and not tried: {share}", markup=False, soft_wrap=True)


def trial_table(title: str, trials: "list[Trial]", result: "SearchResult", more: "Sequence[str]" = ()) -> "Group":
    """Trials with objectives, what was only reported, parameters, MACs and what `more` names; reasons where there are any."""
    objectives = [objective.name for objective in result.objectives]
    names = list(dict.fromkeys([*objectives, *result.reported, "params", "macs", *more]))
    headings = [f"{name} (reported)" if name in result.reported else name for name in names]
    reasons = any(trial.reason for trial in trials)
    rows = [
        (
            trial.number,
            str(trial.state),
            trial.key[:12],
            *(trial.values.get(name) for name in names),
            trial.parent,
            trial.attempts,
            None if trial.seconds is None else round(trial.seconds, 1),
            *([trial.reason] if reasons else []),
        )
        for trial in trials
    ]
    columns = ("number", "state", "key", *headings, "parent", "attempts", "seconds", *(["reason"] if reasons else []))
    return make_table(title, columns, rows)
