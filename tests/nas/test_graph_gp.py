"""The graph Gaussian process searches by features of the graph and denoises what it has seen."""

from typing import ClassVar

from tests.contracts.controller import ControllerContract


class TestContract(ControllerContract):
    controller = "graph-gp"
    settings: ClassVar = {"initial": 5}
