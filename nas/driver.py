"""Who drives a search: how a process makes itself the driver, and how it knows that the one before is gone."""

import os
import socket
import time
from functools import cache

import psutil

from db.store import Store
from db.trial import Search, SearchState
from search_spaces.errors import Conflict

SAME_START_SECONDS = 1.0
"""How far two readings of one process's start may lie apart; a pid that started at another time is another process."""

WATCH_SECONDS = 15.0
"""For how long a driver on another host must show no sign of life: several times what it renews its lease after."""


def claim(store: Store, found: Search) -> None:
    """Makes this process the driver of a search, unless the one that was is alive.

    A driver on this machine is looked for. One on another host is gone when its lease is a minute old and is not
    renewed while it is watched: a clock that was put forward, or a database that was away, makes a lease look old.

    Raises:
        Conflict: another process drives it, or has claimed it in this moment.
    """
    if found.driver_host == host() and found.driver_pid != pid() and _is_alive(found):
        raise Conflict(
            f"search {found.name!r} is being driven by process {found.driver_pid} on this machine; "
            "wait for it, or end it first"
        )
    if found.driver_host not in (None, host()):
        _watch(store, found)
    store.claim_search(found, host=host(), pid=pid(), started_at=started_at(pid()))


def release(store: Store, name: str, state: SearchState) -> None:
    """Leaves a search of this process without a driver, in `state`."""
    store.release_search(name, host=host(), pid=pid(), started_at=started_at(pid()), state=state)


def host() -> str:
    """The name of this machine."""
    return socket.gethostname()


def pid() -> int:
    """The number of this process."""
    return os.getpid()


@cache
def started_at(process_id: int) -> float:
    """When a process was created, seconds since 1970; read once, for a release must repeat what the claim said."""
    return psutil.Process(process_id).create_time()


def _watch(store: Store, found: Search) -> None:
    """Waits whether the driver on another host, whose lease is old, renews it after all."""
    before = store.lease(found.name)
    if before is None or before.is_young:
        return
    time.sleep(WATCH_SECONDS)
    now = store.lease(found.name)
    if now is not None and (now.token, now.seen_at) != (before.token, before.seen_at):
        raise Conflict(
            f"search {found.name!r} is being driven by process {found.driver_pid} on {found.driver_host}; "
            "wait for it, or end it there first"
        )


def is_alive(found: Search) -> bool | None:
    """Whether the driver of a search runs; None where there is none, or it is on another machine."""
    return None if found.driver_pid is None or found.driver_host != host() else _is_alive(found)


def _is_alive(found: Search) -> bool:
    """Whether the driver of a search on this machine still runs; its pid may be another process's by now."""
    if found.driver_pid is None or found.driver_started_at is None:
        return False
    try:
        process = psutil.Process(found.driver_pid)
        # A killed process that its parent has not asked about keeps its pid, and drives nothing.
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        return abs(process.create_time() - found.driver_started_at) <= SAME_START_SECONDS
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        # What may not even be looked at belongs to another user than the driver of a database that this one may write.
        return False
