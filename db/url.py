"""What a database URL names, and how it is shown: never with its password. Light, for every command reads it."""

import re
from pathlib import Path
from urllib.parse import unquote_plus

from search_spaces.errors import UserError

ACCEPTED = "give a path such as nas.db, sqlite:///nas.db, or postgresql://user:password@host/database"

_POSTGRESQL = ("postgresql", "postgres")
"""The two schemes that PostgreSQL's own programs accept."""

# To the last @: a password that should have been percent-encoded may have one itself. Rather too much is hidden.
_PASSWORD = re.compile(r"(?<=://)([^:]*):.*@", re.DOTALL)

# One slash: a URL that was taken for a path has lost the other.
_PASSWORD_IN_TEXT = re.compile(r"(?<=:/)(/?[^\s:/@]*):\S*@")
_PARAMETER_IN_TEXT = re.compile(r"([?&][^\s?&=]*pass[^\s?&=]*=)[^\s&'\")]+", re.IGNORECASE)


def is_postgresql(url: str) -> bool:
    """Whether the URL names a database on a PostgreSQL server, and not a file."""
    return url.partition("://")[0] in _POSTGRESQL and "://" in url


def shown(url: str) -> str:
    """The URL as errors, logs and JSON show it: `***` in place of passwords; a path stays as it is."""
    if "://" not in url:
        return url
    place, question, query = _PASSWORD.sub(r"\1:***@", url).partition("?")
    return place + question + "&".join(map(_shown_parameter, query.split("&")))


def without_passwords(text: str) -> str:
    """The text with `***` in place of the passwords of URLs in it; for what quotes whatever a user has typed."""
    return _PARAMETER_IN_TEXT.sub(r"\1***", _PASSWORD_IN_TEXT.sub(r"\1:***@", text))


def database_path(url: str) -> Path:
    """The file meant by `sqlite:///PATH` or a bare path.

    Raises:
        UserError: another kind of URL, a database in memory, or no path at all.
    """
    scheme, separator, rest = url.partition("://")
    if separator and scheme != "sqlite":
        # Only the scheme: the rest may hold a password.
        raise UserError(f"database URL {scheme}://…: only SQLite files and PostgreSQL are supported; {ACCEPTED}")
    if separator and not rest.startswith("/"):
        raise UserError(f"database URL {url!r}: three slashes come before the path; {ACCEPTED}")
    name = rest[1:] if separator else url
    if not name or "\0" in name or name == ":memory:":
        raise UserError(f"database URL {url!r} names no file; {ACCEPTED}")
    return Path(name)


def _shown_parameter(parameter: str) -> str:
    name, equals, _ = parameter.partition("=")
    return f"{name}=***" if equals and "pass" in unquote_plus(name).lower() else parameter
