"""The front door: what people call, from Python as `nas.search(...)` and from the shell as `nas`."""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nas.bake_off.standings import BakeOff
    from nas.config import RunConfig
    from nas.proxy_ranking import ProxyRanking
    from nas.result import Found, SearchResult

__all__ = ["Found", "RunConfig", "SearchResult", "bakeoff", "proxies", "results", "resume", "search"]

ROOMS = ("workers", "analysis", "db", "search_spaces")
"""The packages that `nas` is made of besides itself."""


def _check_rooms() -> None:
    """Refuses to start when a room's common name leads to somebody else's package."""
    home = Path(__file__).resolve().parent.parent
    for room in ROOMS:
        spec = find_spec(room)
        origin = None if spec is None or spec.origin is None else Path(spec.origin).resolve()
        if origin is None or origin.parent.parent != home:
            raise ImportError(
                f"nas needs its own package {room!r} in {home}, but Python finds {origin or 'nothing'}; "
                "rename or uninstall the other one, or run in a fresh virtual environment"
            )


_check_rooms()


def search(*, listener: Any = None, **settings: Any) -> "SearchResult":
    """Runs a search to its end and returns what it found.

    `settings` are the keys of a run file: `space`, `data`, `controller`, `trials`, `epochs`, `seed`, `workers`,
    `executor`, `objectives`, `constraints`, `db`, `name`, …; see `nas.RunConfig`. `listener` is called with a
    `nas.progress.Progress` whenever something has changed.

    Raises:
        UserError: a setting is wrong; nothing is written then. `Conflict` where the name is taken.
    """
    from nas import run
    from nas.config import make_config

    return run.search(make_config(settings), listener=listener or (lambda progress: None))


def resume(
    name: str, *, db: str = "nas.db", trust_code: bool = False, listener: Any = None, **changes: Any
) -> "SearchResult":
    """Continues an interrupted search to its end and returns what it found.

    `changes` are keys of the run that are to have another value from now on, some of `nas.run.CHANGEABLE`.
    `trust_code` lets it run the code that the search names as `module:attribute`: a space, evaluator or controller.

    Raises:
        UserError: the search names such code and it is not trusted.
        NotFound: there is no such database or search.
        Conflict: another process drives the search now.
    """
    from nas import run

    return run.resume(name, db, trust_code=trust_code, changes=changes, listener=listener or (lambda progress: None))


def results(name: str, *, db: str = "nas.db") -> "SearchResult":
    """What a search has found so far.

    Raises:
        NotFound: there is no such database or search.
    """
    from nas.result import SearchResult

    return SearchResult(db, name)


def bakeoff(
    controllers: Any, *, workers: int | None = None, listener: Any = None, out: Any = None, **settings: Any
) -> "BakeOff":
    """Compares controllers over many seeds on a table or another cheap problem, over all cores unless told.

    `controllers` are texts such as `random` or `evolution[population=10]`, one or several. `settings` are those of
    `nas.bake_off.contest.make_contest`: `seeds`, `budget`, `at`, `table`, `signal`, `report`, `cost`, and the keys of a
    run file. `listener` is called with a `nas.bake_off.hold.BakeOffProgress` after each search. With `out` the report
    is written into this new directory.

    Raises:
        UserError: a setting is wrong, or a search failed; `NotFound` where there is no such table, `Conflict` where
            `out` is taken.
    """
    from nas.bake_off.contest import make_contest
    from nas.bake_off.hold import hold
    from nas.bake_off.report import write_report
    from nas.whole_directory import refuse_taken

    if out is not None:
        refuse_taken(Path(out))
    contest = make_contest(controllers, **settings)
    found = hold(contest, workers=workers, listener=listener or (lambda progress: None))
    if out is not None:
        write_report(found, Path(out))
    return found


def proxies(**settings: Any) -> "ProxyRanking":
    """How well zero-cost proxies rank the architectures of a table against one of its columns.

    `settings` are those of `nas.proxy_ranking.rank_proxies`: `space`, `table`, `against`, `proxies`, `number`, `seed`,
    `data`, `space_settings`, `listener`.

    Raises:
        UserError: a setting is wrong; `NotFound` where there is no such table.
    """
    from nas.proxy_ranking import rank_proxies

    return rank_proxies(**settings)


def __getattr__(name: str) -> Any:
    # `nas --help` must not wait for the libraries behind these.
    if name == "RunConfig":
        from nas.config import RunConfig

        return RunConfig
    if name in ("SearchResult", "Found"):
        from nas import result

        return getattr(result, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
