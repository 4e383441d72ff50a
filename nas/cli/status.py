"""`nas status`: how a search stands, from any shell on any machine that reaches its database."""

from typing import TYPE_CHECKING, Annotated

import typer

from nas.cli.output import (
    DEFAULT_DATABASE,
    DatabaseOption,
    JsonFlag,
    cell_text,
    duration_text,
    make_table,
    stdout,
    write_json,
)

if TYPE_CHECKING:
    from nas.status import Status


def status(
    name: Annotated[str, typer.Argument(help="The search.")],
    db: DatabaseOption = DEFAULT_DATABASE,
    as_json: JsonFlag = False,
) -> None:
    """Show how a search stands: driver, workers, throughput, best, time left."""
    from nas.status import status as read

    found = read(name, db)
    if as_json:
        write_json(found.to_dict())
        return
    console = stdout()
    console.print(make_table(f"Search {name}", ("", ""), _rows(found)))
    if found.running:
        rows = [
            (each.worker, each.number, each.attempt, duration_text(each.seconds), each.key[:12])
            for each in found.running
        ]
        console.print()
        console.print(make_table("Workers", ("worker", "trial", "attempt", "for", "key"), rows))


def _rows(found: "Status") -> list[tuple[str, str]]:
    limit = found.search.trial_limit
    best = found.best
    rows = [
        ("state", str(found.search.state)),
        ("driver", _driver(found)),
        ("trials", f"{found.finished:,} of {'any number' if limit is None else f'{limit:,}'} finished"),
        ("running", f"{len(found.running):,}, and {found.waiting:,} waiting"),
        (
            "best",
            "–" if best is None else " ".join(f"{name} {cell_text(best.values[name])}" for name in found.objectives),
        ),
        ("trials/min", cell_text(found.trials_per_minute)),
        ("time left", duration_text(found.seconds_left)),
    ]
    if found.spooled:
        rows.append(("not recorded", f"{found.spooled} results wait on this disk for the database"))
    return rows


def _driver(found: "Status") -> str:
    search = found.search
    if search.driver_pid is None:
        return "nobody"
    who = f"process {search.driver_pid} on {search.driver_host}"
    if found.driver_alive is not None:
        return f"{who}, {'alive' if found.driver_alive else 'dead: continue with nas resume'}"
    seen = found.seen_seconds_ago
    return who if seen is None else f"{who}, seen {duration_text(seen)} ago"
