"""Proxies that look at nothing but the size of a network: the baseline of all others."""

from typing import TYPE_CHECKING

from analysis import analyze

if TYPE_CHECKING:
    from workers.zero_cost.candidate import Candidate


def params(candidate: "Candidate") -> float:
    """The number of parameters."""
    return float(analyze(candidate.architecture).params)


def macs(candidate: "Candidate") -> float:
    """The multiply-accumulates for one input."""
    return float(analyze(candidate.architecture).macs)
