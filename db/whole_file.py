"""A new file that appears whole, when everything has been written to it, or not at all."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from search_spaces.errors import Conflict, NotFound


@contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """Gives a path beside `target` to write to, which becomes `target` at the end and vanishes on any exception.

    Raises:
        NotFound: there is no such directory.
        Conflict: `target` exists, or appears meanwhile, or cannot be written.
    """
    if target.exists() or target.is_symlink():
        raise _taken(target)
    if not target.parent.is_dir():
        raise NotFound(f"there is no directory {str(target.parent)!r}; make it, or name another file")
    partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")
    try:
        partial.touch()
        yield partial
        _flush(partial)
        _appear(partial, target)
        _flush(target.parent)
    except FileExistsError as error:
        raise _taken(target) from error
    except OSError as error:
        raise Conflict(f"cannot write {str(target)!r}: {error.strerror}; name another file") from error
    finally:
        partial.unlink(missing_ok=True)


def _appear(partial: Path, target: Path) -> None:
    """Gives the file its name, unless something has appeared there meanwhile."""
    try:
        # Unlike a rename, a link never takes the place of another file.
        os.link(partial, target)
    except FileExistsError:
        raise
    except OSError as error:
        # A file system without links.
        if target.exists():
            raise FileExistsError from error
        partial.rename(target)


def _flush(path: Path) -> None:
    """Waits until the file or directory is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _taken(target: Path) -> Conflict:
    return Conflict(f"{str(target)!r} exists already; name a new file, or remove it first")
