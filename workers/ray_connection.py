"""Connects to a Ray cluster that exists: refuses one that is open to everybody, and says in one line what is in the way."""

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import ray

from db.url import without_passwords
from search_spaces.errors import UserError

PROBE_SECONDS = 20.0
"""How long a cluster may take to answer whether it asks for a token."""

_PROBE = "import sys, ray; client = ray._raylet.GcsClient(address=sys.argv[1]); client.internal_kv_keys(b'', None, timeout=10)"
"""What a cluster answers whom it takes: run without a token, only one that asks for none."""

_IS_OPEN, _IS_CLOSED, _IS_ABSENT = "open", "closed", "absent"


@dataclass(frozen=True, slots=True)
class Connection:
    """A Ray cluster that exists: `auto` or `HOST:PORT`, and whether it may be one that asks for no token."""

    address: str
    insecure: bool = False


def check(connection: Connection) -> None:
    """Looks whether a cluster may be connected to, without doing so.

    Raises:
        UserError: see `existing_cluster`.
    """
    address = find_address(connection.address)
    if not connection.insecure:
        refuse_open(address)
    _refuse_without_token(address)
    _refuse_wrong_token(address)


@contextmanager
def existing_cluster(connection: Connection) -> Iterator[None]:
    """This process as a driver of the cluster, for the time of the `with` block.

    Raises:
        UserError: the address is of a kind that cannot be used, nobody answers there, the cluster asks for no token and
            `insecure` is not set, or refuses ours.
    """
    address = find_address(connection.address)
    if not connection.insecure:
        refuse_open(address)
    _refuse_without_token(address)
    sigterm_handler = signal.getsignal(signal.SIGTERM)
    _connect(address)
    try:
        if threading.current_thread() is threading.main_thread():
            # Ray has put its own in the place of whatever the driver does on SIGTERM.
            signal.signal(signal.SIGTERM, sigterm_handler)
        yield
    finally:
        ray.shutdown()


def find_address(address: str) -> str:
    """`HOST:PORT` of a cluster; `auto` is the one that this machine is a node of.

    Raises:
        UserError: it is a Ray Client address, no address, or there is no cluster here.
    """
    if address.startswith("ray://"):
        raise UserError(
            f"cluster {address!r}: a search runs on a node of the cluster; start it there with --cluster auto, "
            "or as a job (docs/cluster.md)"
        )
    if address == "auto":
        # Clusters of single searches, ours among them, speak over loopback and end with their search.
        found = sorted(each for each in ray._private.services.find_gcs_addresses() if not each.startswith("127."))
        if not found:
            raise UserError("cluster 'auto': no Ray runs here; start one with `ray start`, or give HOST:PORT")
        if len(found) > 1:
            raise UserError(f"cluster 'auto': several run on this machine; give one of: {', '.join(found)}")
        return str(found[0])
    host, colon, port = address.rpartition(":")
    if not host or not colon or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise UserError(f"cluster {address!r}: give HOST:PORT, like 10.0.0.1:6379, or auto")
    return address


def is_open(address: str) -> bool:
    """Whether the cluster asks for no token.

    Raises:
        UserError: nobody answers.
    """
    state = _probe(address)
    if state == _IS_ABSENT:
        raise UserError(f"cluster {address}: nobody answers there; check the address, and that its head runs")
    return state == _IS_OPEN


def refuse_open(address: str) -> None:
    """Makes sure that the cluster asks for a token.

    Raises:
        UserError: it does not, or nobody answers.
    """
    if is_open(address):
        raise UserError(
            f"cluster {address} asks for no token: whoever reaches it can run code as you. Start it with "
            "RAY_AUTH_MODE=token (docs/cluster.md), or give --insecure where nobody else can reach it"
        )


def _probe(address: str, environment: dict[str, str] | None = None) -> str:
    """Whether the cluster takes a process with this environment; with ours without any token, unless told."""
    host, _, port = address.rpartition(":")
    try:
        # Ray itself would try again for as long as it is let.
        socket.create_connection((host, int(port)), timeout=PROBE_SECONDS / 4).close()
    except OSError:
        return _IS_ABSENT
    without = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
    try:
        ended = subprocess.run(
            [sys.executable, "-P", "-c", _PROBE, address],
            capture_output=True,
            text=True,
            timeout=PROBE_SECONDS,
            check=False,
            # Not even the token that may lie in the home directory.
            env=environment or {**without, "RAY_AUTH_MODE": "disabled"},
        )
    except subprocess.TimeoutExpired:
        return _IS_ABSENT
    if ended.returncode == 0:
        return _IS_OPEN
    return _IS_CLOSED if "auth" in ended.stderr.lower() else _IS_ABSENT


def _refuse_without_token(address: str) -> None:
    """Says what is missing where a cluster asks for a token and this process would send none: Ray's own words are many."""
    if os.environ.get("RAY_AUTH_MODE") != "token" and _probe(address) == _IS_CLOSED:
        raise UserError(
            f"cluster {address} asks for a token; set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN_PATH to the token's file"
        )


def _refuse_wrong_token(address: str) -> None:
    """Says so where a cluster asks for another token than ours: Ray itself would write to the terminal for a minute."""
    if os.environ.get("RAY_AUTH_MODE") == "token" and _probe(address, dict(os.environ)) == _IS_CLOSED:
        raise UserError(
            f"cluster {address} refuses our token; make sure that RAY_AUTH_TOKEN, the file that RAY_AUTH_TOKEN_PATH "
            "names, or else ~/.ray/auth_token has the token of the cluster"
        )


@contextmanager
def command_line_without_passwords() -> Iterator[None]:
    """Has Ray, which shows the command line of every driver to the whole cluster, record ours without passwords."""
    utilities = ray._private.utils
    original = utilities.get_entrypoint_name
    utilities.get_entrypoint_name = lambda: without_passwords(original())
    try:
        yield
    finally:
        utilities.get_entrypoint_name = original


def _connect(address: str) -> None:
    try:
        with command_line_without_passwords():
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:  # noqa: BLE001 - whatever Ray raises, the user learns it in one line
        reason = " ".join(str(error).split())[:300]
        remedy = "run this on a node of the cluster, with the Python and Ray of the cluster, and its token"
        raise UserError(f"cluster {address}: {type(error).__name__}: {reason}; {remedy}") from None
