"""The roofline: how fast a network can run at most on a device, operation by operation.

An operation takes at least the time of its arithmetic at the device's peak, and at least the time of reading its inputs
and weights and writing its result once at full bandwidth; the longer of the two bounds it. Operations run one after the
other, unfused, as eager execution does; views take no time. What launching an operation takes is left out, so the sum
is a bound from below, far off where networks are small.

References:
    Williams, Waterman, Patterson: Roofline: An Insightful Visual Performance Model. CACM 52(4), 2009.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

from analysis.cost import ELEMENT_BYTES, FLOPS_PER_MAC
from analysis.device_profile import DeviceProfile
from analysis.totals import node_totals
from search_spaces.architecture import Architecture
from search_spaces.graph import flatten, node_shapes


@dataclass(frozen=True, slots=True)
class RooflineEstimate:
    """The bound on the latency of a network on a device, and how much of it is arithmetic."""

    profile: str
    latency_ms: float
    compute_bound_ms: float
    """The part that is spent in operations which arithmetic bounds; the rest waits for memory."""

    def to_dict(self) -> dict[str, Any]:
        """The estimate under its JSON names."""
        return {
            "profile": self.profile,
            "latency_ms": self.latency_ms,
            "compute_bound_ms": self.compute_bound_ms,
        }


def roofline(
    architecture: Architecture, profile: DeviceProfile, *, batch: int = 1, dtype: str = "float32"
) -> RooflineEstimate:
    """The bound for `batch` inputs at once, in inference.

    Raises:
        UserError: the profile has no figure for this number type.
    """
    return bound(_costs(architecture, batch, ELEMENT_BYTES[dtype]), profile, dtype)


def _costs(architecture: Architecture, batch: int, element_bytes: int) -> Iterator[tuple[int, int]]:
    graph = flatten(architecture.graph)
    shapes = node_shapes(graph, architecture.input_shapes)
    for node, part, shape in zip(
        graph.nodes, node_totals(graph, architecture.input_shapes, element_bytes), shapes, strict=True
    ):
        if node.inputs and part.storage.view_of is None:
            elements = prod(shape) + sum(prod(shapes[source]) for source in node.inputs)
            yield batch * part.cost.macs, part.cost.weight_bytes(element_bytes) + batch * element_bytes * elements


def bound(costs: Iterable[tuple[int, int]], profile: DeviceProfile, dtype: str) -> RooflineEstimate:
    """The bound for operations that each take so many MACs and move so many bytes.

    Raises:
        UserError: the profile has no figure for this number type.
    """
    peak = profile.peak(dtype)
    compute_bound = memory_bound = 0.0
    for macs, moved_bytes in costs:
        computing = FLOPS_PER_MAC * macs / peak
        moving = moved_bytes / profile.bytes_per_second
        if computing > moving:
            compute_bound += computing
        else:
            memory_bound += moving
    return RooflineEstimate(profile.name, 1e3 * (compute_bound + memory_bound), 1e3 * compute_bound)
