"""Networks with slots: a graph in which some operations are a choice of several, so that a whole space is one graph.

Where every decision of a space does nothing but put one of several operations of the same output shape in its place,
all that is true of the structure and of the shapes is true of every network at once. It is verified once, when the
slots are made; `fill` only exchanges operations, and an analysis may go through all networks in step.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from search_spaces.architecture import Architecture
from search_spaces.choices import OneOf, Value
from search_spaces.errors import InvalidArchitecture, UserError
from search_spaces.graph import TEMPLATE, Cell, Graph, Node, TemplateMemory, node_shapes
from search_spaces.ops import Input, Operation, Shape
from search_spaces.verify import verify_graph


@dataclass(frozen=True, slots=True)
class Choice(Operation):
    """A slot: one of several operations on one value, by the answer to the decision of this name.

    The same decision may be asked in many places, each with operations of its own, but everywhere with the same
    answers in the same order.

    Raises:
        InvalidArchitecture: an operation does not take one input, or is a cell that breaks a rule of `verify`.
    """

    decision: str
    options: tuple[tuple[str, Operation], ...]

    def __post_init__(self) -> None:
        for answer, operation in self.options:
            try:
                verify_graph(Graph((Node("x", Input()), Node("option", operation, (0,))), (("y", 1),)))
            except InvalidArchitecture as error:
                raise InvalidArchitecture(f"{self.decision}={answer}: {error}") from None

    @property
    def domain(self) -> OneOf:
        """The question that is asked."""
        return OneOf(self.decision, tuple(answer for answer, _ in self.options))

    @property
    def has_weights(self) -> bool:
        return any(operation.has_weights for _, operation in self.options)

    def output_shape(self, *inputs: Shape) -> Shape:
        shapes = {operation.output_shape(*inputs): answer for answer, operation in self.options}
        if len(shapes) > 1:
            given = ", ".join(f"{answer} gives {shape}" for shape, answer in shapes.items())
            raise InvalidArchitecture(f"{self.decision}: the output shape must not depend on the answer, but {given}")
        return next(iter(shapes))


class _Template(NamedTuple):
    """A graph with slots in it or below it, and what has to be exchanged to fill it."""

    family: str
    graph: Graph
    known: dict[Hashable, Any]
    """What holds for every filling."""
    choices: list[tuple[int, int, dict[Value, Node]]]
    """The index of a node, the number of its decision, and the nodes that may stand there."""
    cells: list[tuple[int, str, tuple[int, ...], int]]
    """The index of a node, its name and inputs, and the number of the template that is its body."""


@dataclass(frozen=True, slots=True)
class Slots:
    """A verified network whose slots (`Choice`) are still open; `domains` are its decisions, in order of appearance.

    Raises:
        UserError: there is no slot, or two slots ask the same decision with different answers.
    """

    skeleton: Architecture
    domains: tuple[OneOf, ...] = field(init=False, repr=False, compare=False)
    _templates: tuple[_Template, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        domains: dict[str, OneOf] = {}
        templates: dict[Graph, _Template] = {}
        _survey("", self.skeleton.graph, self.skeleton.input_shapes, domains, templates)
        if not domains:
            raise UserError("the network has no slot: put a Choice where operations may differ")
        object.__setattr__(self, "domains", tuple(domains.values()))
        object.__setattr__(self, "_templates", tuple(templates.values()))

    def fill(self, answers: Sequence[Value]) -> Architecture:
        """The network that has in its slots what these answers, one for each of `domains`, mean."""
        cells: list[Cell] = []
        for family, graph, known, choices, inner in self._templates:
            nodes = list(graph.nodes)
            for index, decision, options in choices:
                nodes[index] = options[answers[decision]]
            for index, name, inputs, number in inner:
                nodes[index] = Node(name, cells[number], inputs)
            cells.append(Cell(family, graph.refilled(nodes, known)))
        return Architecture(cells[-1].body, self.skeleton.input_shapes)


def _survey(
    family: str,
    graph: Graph,
    input_shapes: tuple[Shape, ...],
    domains: dict[str, OneOf],
    templates: dict[Graph, _Template],
) -> None:
    """Adds the decisions in `graph`, and templates of it and of the cells in it, inner ones first, if slots are there."""
    shapes = node_shapes(graph, input_shapes)
    choices: list[tuple[int, int, dict[Value, Node]]] = []
    cells: list[tuple[int, str, tuple[int, ...], int]] = []
    for index, (name, operation, inputs) in enumerate(graph.nodes):
        if isinstance(operation, Choice):
            domain = domains.setdefault(operation.decision, operation.domain)
            if domain != operation.domain:
                raise UserError(f"two slots ask {domain.name!r}: {domain.options} and {operation.domain.options}")
            options: dict[Value, Node] = {answer: Node(name, option, inputs) for answer, option in operation.options}
            choices.append((index, list(domains).index(domain.name), options))
        elif isinstance(operation, Cell):
            body = operation.body
            _survey(operation.family, body, tuple([shapes[source] for source in inputs]), domains, templates)
            if body in templates:
                cells.append((index, name, inputs, list(templates).index(body)))
    if choices or cells:
        memory = TemplateMemory(frozenset(index for index, *_ in cells), {})
        known: dict[Hashable, Any] = {"valid": True, TEMPLATE: memory}
        template = templates.setdefault(graph, _Template(family, graph, known, choices, cells))
        template.known[input_shapes] = shapes
