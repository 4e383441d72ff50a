"""What every node of a Ray cluster is and can: asked of the nodes themselves, before a search relies on them."""

import platform
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from workers.ray_connection import Connection, existing_cluster, find_address, is_open

NODE_SECONDS = 60.0
"""How long a node may take to answer: it may have to start a process first."""

PACKAGES = ("nas", "torch", "ray", "numpy")
"""What must be there on every node, in the driver's version."""


@dataclass(frozen=True, slots=True)
class Node:
    """A node as it told itself, or why it did not; versions are empty where a package is absent."""

    address: str
    cpus: float
    gpus: float
    python: str = ""
    versions: tuple[tuple[str, str], ...] = ()
    gpu_names: tuple[str, ...] = ()
    gpu_bytes: tuple[int, ...] = ()
    trouble: str | None = None

    def differences(self, other: "Node") -> list[str]:
        """What is not as on the other node, in words."""
        theirs = {"python": other.python, **dict(other.versions)}
        mine = {"python": self.python, **dict(self.versions)}
        return [
            f"{name} {mine.get(name) or 'is absent'}, here {theirs[name]}"
            for name in theirs
            if mine.get(name) != theirs[name]
        ]


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster: whether it asks for a token, and its nodes that are alive."""

    address: str
    asks_for_token: bool
    nodes: tuple[Node, ...]


def check_cluster(connection: Connection) -> Cluster:
    """Asks every node of a cluster what it is; a cluster without token is looked at too, and says so.

    Raises:
        UserError: nobody answers, or our token is refused.
    """
    address = find_address(connection.address)
    asks = not is_open(address)
    with existing_cluster(Connection(address, insecure=True)):
        return Cluster(address, asks, tuple(_nodes()))


def this_machine() -> Node:
    """What this process would tell as a node."""
    return Node("here", 0, 0, python=platform.python_version(), versions=_versions())


def _nodes() -> Iterator[Node]:
    asked = []
    for node in ray.nodes():
        if node["Alive"]:
            where = NodeAffinitySchedulingStrategy(node_id=node["NodeID"], soft=False)
            asked.append((node, _tell.options(scheduling_strategy=where, num_cpus=0).remote()))
    for node, call in asked:
        resources: dict[str, float] = node["Resources"]
        known = {
            "address": node["NodeManagerAddress"],
            "cpus": resources.get("CPU", 0.0),
            "gpus": resources.get("GPU", 0.0),
        }
        try:
            told = ray.get(call, timeout=NODE_SECONDS)
        except RayError as error:
            yield Node(**known, trouble=" ".join(str(error).split())[:200])
        else:
            yield Node(**known, **told)


def _told() -> dict[str, Any]:
    """Runs on a node, where `nas` may be absent: what it uses is passed along with it."""
    names, sizes = _gpus()
    return {
        "python": platform.python_version(),
        "versions": _versions(),
        "gpu_names": names,
        "gpu_bytes": sizes,
    }


_tell: Any = ray.remote(max_retries=0)(_told)


def _versions() -> tuple[tuple[str, str], ...]:
    return tuple((name, _version(name)) for name in PACKAGES)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _gpus() -> tuple[tuple[str, ...], tuple[int, ...]]:
    try:
        import torch
    except ImportError:
        return (), ()
    devices = range(torch.cuda.device_count())
    found = [torch.cuda.get_device_properties(device) for device in devices]
    return tuple(each.name for each in found), tuple(each.total_memory for each in found)
