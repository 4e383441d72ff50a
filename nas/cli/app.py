"""The tree of commands; each command lives in the file of its subject and imports what is heavy only when it runs."""

import typer
from typer.exceptions import TyperException

from nas.cli import analyze, bakeoff, catalog, cluster, database, export, proxies, results, search, show, status
from search_spaces.errors import UserError

app = typer.Typer(
    name="nas",
    help="Neural architecture search and analysis: find, measure and export networks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command("analyze")(analyze.analyze)
app.command("search")(search.search)
app.command("resume")(search.resume)
app.command("bakeoff")(bakeoff.bakeoff)
app.command("proxies")(proxies.proxies)
app.command("list")(results.list_searches)
app.command("status")(status.status)
app.command("results")(results.results)
app.command("show")(show.show)
app.command("export")(export.export)
app.add_typer(cluster.commands, name="cluster")
app.add_typer(database.app, name="db")
app.command("spaces")(catalog.spaces)
app.command("controllers")(catalog.controllers)
app.command("networks")(catalog.networks)


def run(arguments: list[str]) -> int:
    """Runs a command and returns its exit code.

    Raises:
        UserError: the command line or what it names is wrong.
    """
    try:
        code = app(arguments, standalone_mode=False)
    except TyperException as error:
        # The library would print a box of several lines; ours is one line for every error.
        message = error.format_message().rstrip(".")
        if not message:  # `nas` alone, whose help is printed by now
            return 2
        raise UserError(f"{message}; see: nas {' '.join(arguments[:1])} --help") from None
    return code if isinstance(code, int) else 0
