"""A new directory that appears whole, when everything in it has been written, or not at all."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

from search_spaces.errors import Conflict, UserError

_TARGET_TAKEN = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR)


@contextmanager
def whole_directory(out: Path) -> Iterator[Path]:
    """Gives a directory to write to, which becomes `out` at the end and vanishes on any exception.

    Raises:
        Conflict: `out` is a file, or a directory that is not empty.
        UserError: it cannot be written.
    """
    target = _absolute(out)
    try:
        refuse_taken(target)
        # A sibling, so that the last step is a rename; the directories between are only made when all has gone well.
        beside = next(parent for parent in target.parents if parent.exists())
        scratch = Path(mkdtemp(prefix=".nas-", dir=beside))
        try:
            # mkdtemp's own directory is for its owner alone; one made inside it has the usual permissions.
            partial = scratch / "partial"
            partial.mkdir()
            yield partial
            target.parent.mkdir(parents=True, exist_ok=True)
            partial.replace(target)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    except OSError as error:
        if error.errno in _TARGET_TAKEN:
            refuse_taken(target)
        raise UserError(f"cannot write {str(out)!r}: {error.strerror or error}; choose another directory") from None


def refuse_taken(out: Path) -> None:
    """Refuses a place where there is something already that a rename would not replace.

    Raises:
        Conflict: it is a file, a link, the working directory, or a directory that is not empty.
    """
    target = _absolute(out)
    if target == Path.cwd():
        raise Conflict(f"{str(target)!r} is the working directory; name a new directory in it")
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise Conflict(f"{str(target)!r} exists and is not a directory; choose another or remove it first")
    if target.is_dir() and any(target.iterdir()):
        raise Conflict(f"the directory {str(target)!r} is not empty; choose another or remove it first")


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would follow a link that is to be refused
