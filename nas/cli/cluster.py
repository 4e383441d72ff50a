"""`nas cluster check`: what would fail later on a Ray cluster, found before a search is started."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from nas.cli.output import DatabaseOption, JsonFlag, bytes_text, make_table, stdout, write_json
from search_spaces.errors import Conflict, UserError

if TYPE_CHECKING:
    from workers.ray_check import Cluster, Node

commands = typer.Typer(help="Look at a Ray cluster.", no_args_is_help=True)


@commands.callback()
def _cluster() -> None:
    """Look at a Ray cluster."""


@commands.command("check")
def check(
    address: Annotated[
        str,
        typer.Option(
            "--cluster", metavar="HOST:PORT", envvar="RAY_ADDRESS", help="The cluster; auto: of this machine."
        ),
    ] = "auto",
    db: DatabaseOption = "",
    insecure: Annotated[
        bool, typer.Option("--insecure", help="A cluster that asks for no token is no trouble.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Check workers, GPUs, versions, authentication and the database; exit code 4 where something would fail later."""
    from workers.ray_check import check_cluster, this_machine
    from workers.ray_connection import Connection

    found = check_cluster(Connection(address, insecure=True))
    here = this_machine()
    database = _database_trouble(db) if db else None
    troubles = [*_troubles(found, here, insecure=insecure), *([database] if database else [])]
    if as_json:
        write_json(_document(found, db, troubles))
    else:
        _show(found, db, database)
    if troubles:
        raise Conflict(f"cluster {found.address}: {'; '.join(troubles)}")


def _troubles(found: "Cluster", here: "Node", *, insecure: bool) -> Iterator[str]:
    if not found.asks_for_token and not insecure:
        yield "it asks for no token (start it with RAY_AUTH_MODE=token, or give --insecure)"
    if not any(node.cpus for node in found.nodes):
        yield "no node has a CPU for a worker"
    for node in found.nodes:
        if node.trouble is not None:
            yield f"node {node.address} does not answer: {node.trouble}"
        elif differences := node.differences(here):
            yield f"node {node.address}: {', '.join(differences)}"
        elif node.gpus > len(node.gpu_names):
            yield f"node {node.address} has {node.gpus:g} GPUs for Ray, and torch sees {len(node.gpu_names)}"


def _database_trouble(db: str) -> str | None:
    """What is wrong with the database, which only the driver of a search needs to reach."""
    from db.store import Store

    try:
        with Store.open(db, mode="create") as store:
            store.searches()
    except UserError as error:
        return f"database: {error}"
    return None


def _document(found: "Cluster", db: str, troubles: list[str]) -> dict[str, object]:
    from db.url import shown

    return {
        "schema": 1,
        "address": found.address,
        "asks_for_token": found.asks_for_token,
        "database": shown(db) or None,
        "nodes": [
            {
                "address": node.address,
                "cpus": node.cpus,
                "gpus": node.gpus,
                "gpu_names": list(node.gpu_names),
                "gpu_bytes": list(node.gpu_bytes),
                "python": node.python,
                "versions": dict(node.versions),
                "trouble": node.trouble,
            }
            for node in found.nodes
        ],
        "troubles": troubles,
    }


def _show(found: "Cluster", db: str, database: str | None) -> None:
    from db.url import shown

    console = stdout()
    rows = [
        ("address", found.address),
        ("authentication", "token" if found.asks_for_token else "none"),
        ("nodes", str(len(found.nodes))),
        ("CPUs", f"{sum(node.cpus for node in found.nodes):g}"),
        ("GPUs", f"{sum(node.gpus for node in found.nodes):g}"),
    ]
    if db:
        rows.append(("database", f"{shown(db)}: {'in trouble' if database else 'can be used'}"))
    console.print(make_table("Cluster", ("", ""), rows))
    console.print()
    columns = ("node", "CPUs", "GPUs", "GPU memory", "python", "nas", "torch", "ray")
    table = [
        (
            node.address,
            f"{node.cpus:g}",
            ", ".join(sorted(set(node.gpu_names))) or "–",
            bytes_text(sum(node.gpu_bytes)) if node.gpu_bytes else "–",
            node.python or "–",
            *(dict(node.versions).get(name) or "–" for name in ("nas", "torch", "ray")),
        )
        for node in found.nodes
    ]
    console.print(make_table("Nodes", columns, table))
