"""The proxies by name: where each one's function is, found without importing torch.

A proxy is a function of a `Candidate` that gives one number, larger for networks that it takes for better. It may
change the candidate's module, which is its own, and may draw from torch's random numbers, which are seeded before.
"""

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

from search_spaces.errors import unknown_name

if TYPE_CHECKING:
    from workers.zero_cost.candidate import Candidate

PROXIES = {
    "synflow": "synflow:synflow",
    "log10_synflow": "synflow:log10_synflow",
    "snip": "gradients:snip",
    "grasp": "gradients:grasp",
    "fisher": "gradients:fisher",
    "grad_norm": "gradients:grad_norm",
    "jacob_cov": "jacobian:jacob_cov",
    "naswot": "codes:naswot",
    "zen": "zen:zen",
    "params": "size:params",
    "macs": "size:macs",
}
"""Where each proxy is: the file in this package and the function in it."""

BASELINES = ("params", "macs")
"""What every other proxy has to beat: the size alone."""


def check_names(names: tuple[str, ...]) -> None:
    """Refuses a name that is no proxy's.

    Raises:
        UserError: there is no such proxy; the message has the nearest.
    """
    for name in names:
        if name not in PROXIES:
            raise unknown_name("proxy", name, PROXIES)


def find_proxy(name: str) -> "Callable[[Candidate], float]":
    """The function of the proxy of this name."""
    file, _, function = PROXIES[name].partition(":")
    found: Callable[[Candidate], float] = getattr(import_module(f"workers.zero_cost.{file}"), function)
    return found
