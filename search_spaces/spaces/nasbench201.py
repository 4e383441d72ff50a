"""The NAS-Bench-201 space: every cell of six edges and five operations, in the published macro skeleton.

A cell has four nodes; node 0 is its input, node `j` sums what the edges from all earlier nodes bring, and node 3 is
its output. The skeleton is a 3x3 convolution, three stages of equal cells with 16, 32 and 64 channels, a residual
block of stride 2 between stages, and a linear classifier on the global average.

References:
    Dong, Yang. NAS-Bench-201: Extending the Scope of Reproducible Neural Architecture Search. ICLR 2020.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import prod

from search_spaces.architecture import Architecture
from search_spaces.builder import GraphBuilder
from search_spaces.choices import Chooser, Genotype
from search_spaces.errors import UserError
from search_spaces.graph import Cell
from search_spaces.ops import (
    Activation,
    Add,
    BatchNorm,
    Flatten,
    GlobalPool,
    Identity,
    Linear,
    Operation,
    Shape,
    Zero,
    conv2d,
    pool2d,
)
from search_spaces.parameters import check_image, check_positive, check_subset
from search_spaces.slots import Choice, Slots
from search_spaces.space import SearchSpace

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
"""What an edge may do, in the benchmark's order and words."""

EDGES = ((1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2))
"""The edges as (to, from), in the order of the architecture string."""

_DECISIONS = tuple(f"edge_{target}_{source}" for target, source in EDGES)


@dataclass(frozen=True, slots=True)
class NasBench201(SearchSpace):
    """The 15,625 cells of NAS-Bench-201 (Dong & Yang 2020) in their 16/32/64-channel skeleton.

    `input_shape` is (channels, height, width), both sizes multiples of 4; `channels` are those of the first stage.
    `operations` are what an edge may do, fewer of them making a smaller space.
    """

    input_shape: Shape = (3, 32, 32)
    classes: int = 10
    channels: int = 16
    cells_per_stage: int = 5
    operations: tuple[str, ...] = OPERATIONS

    name = "nasbench201"

    def __post_init__(self) -> None:
        # Two reductions halve the sizes.
        check_image(self.name, self.input_shape, smallest=4, multiple=4)
        check_positive(self.name, classes=self.classes, channels=self.channels, cells_per_stage=self.cells_per_stage)
        check_subset(self.name, OPERATIONS, operations=self.operations)

    def slots(self) -> Slots:
        return _slots(self)

    def build(self, choose: Chooser) -> Architecture:
        slots = self.slots()
        return slots.fill([choose.decide(domain) for domain in slots.domains])

    def count(self) -> int:
        # The six questions are asked whatever the answers, so there is no tree to walk.
        return prod(len(self.operations) for _ in EDGES)

    def from_arch_str(self, text: str) -> Architecture:
        """The architecture of an official string, `|op~0|+|op~0|op~1|+|op~0|op~1|op~2|`.

        Raises:
            UserError: the text is not such a string; the message says what is wrong and where.
        """
        answers = _parse(text)
        for answer in answers:
            if answer not in self.operations:
                raise UserError(
                    f"architecture string {text!r}: this space leaves {answer!r} out; its operations are "
                    f"{', '.join(self.operations)}"
                )
        return self.slots().fill(answers)

    def to_arch_str(self, architecture: Architecture) -> str:
        """The official string of an architecture that this space made.

        Raises:
            UserError: the architecture is not of this space.
        """
        operations = _operations_of(architecture)
        if operations is None or self.slots().fill(operations) != architecture:
            raise UserError(
                "the architecture is none of this nasbench201 space; was it made by another space or simplified?"
            )
        return _render(operations)

    def published_name(self, genotype: Genotype) -> tuple[str, str] | None:
        return "arch_str", self.arch_str_of(genotype)

    @staticmethod
    def genotype_of(arch_str: str) -> Genotype:
        """The answers that make the architecture of an official string.

        Raises:
            UserError: the text is not such a string.
        """
        return Genotype(tuple(zip(_DECISIONS, _parse(arch_str), strict=True)))

    @staticmethod
    def arch_str_of(genotype: Genotype) -> str:
        """The official string of the architecture that these answers make.

        Raises:
            UserError: the genotype is of another space.
        """
        if tuple(name for name, _ in genotype.values) != _DECISIONS:
            raise UserError(f"a nasbench201 genotype answers {', '.join(_DECISIONS)}; got {genotype.to_json()}")
        for name, answer in genotype.values:
            if answer not in OPERATIONS:
                raise UserError(f"genotype: {name} must be one of {', '.join(OPERATIONS)}, got {answer!r}")
        return _render(tuple(str(answer) for _, answer in genotype.values))


def _parse(text: str) -> tuple[str, ...]:
    """The operations of the six edges of an official string."""
    form = "|op~0|+|op~0|op~1|+|op~0|op~1|op~2|"
    parts = text.split("+")
    if len(parts) != 3:
        raise UserError(f"architecture string {text!r}: {len(parts)} nodes joined by '+', needs 3, as in {form}")
    operations = []
    for target, part in enumerate(parts, start=1):
        edges = part.split("|")
        if len(edges) != target + 2 or edges[0] or edges[-1]:
            raise UserError(
                f"architecture string {text!r}: node {target} is {part!r}, needs {target} edges as in {form}"
            )
        for source, edge in enumerate(edges[1:-1]):
            operation, _, origin = edge.partition("~")
            if operation not in OPERATIONS:
                raise UserError(
                    f"architecture string {text!r}: node {target} has the unknown operation {operation!r}; "
                    f"choose one of: {', '.join(OPERATIONS)}"
                )
            if origin != str(source):
                raise UserError(
                    f"architecture string {text!r}: edge {edge!r} of node {target} must come from node {source}"
                )
            operations.append(operation)
    return tuple(operations)


def _render(operations: tuple[str, ...]) -> str:
    nodes: dict[int, str] = {}
    for (target, source), operation in zip(EDGES, operations, strict=True):
        nodes[target] = nodes.get(target, "|") + f"{operation}~{source}|"
    return "+".join(nodes.values())


def _operations_of(architecture: Architecture) -> tuple[str, ...] | None:
    """The names of the operations on the edges of the first cell, or None where there is no such cell."""
    stages = (node.operation for node in architecture.graph.nodes if node.name == "stage1")
    stage = next(stages, None)
    if not isinstance(stage, Cell) or not isinstance(stage.body.nodes[-1].operation, Cell):
        return None
    body = stage.body.nodes[-1].operation.body
    edges = {node.name: node.operation for node in body.nodes}
    names: list[str] = []
    for decision in _DECISIONS:
        match edges.get(decision):
            case Zero():
                names.append("none")
            case Identity():
                names.append("skip_connect")
            case Cell(family) if family in OPERATIONS:
                names.append(family)
            case operation if operation == _edge("avg_pool_3x3", 1):
                names.append("avg_pool_3x3")
            case _:
                return None
    return tuple(names)


@lru_cache
def _edge(operation: str, channels: int) -> Operation:
    """The operation on an edge between values of `channels` channels."""
    match operation:
        case "none":
            return Zero()
        case "skip_connect":
            return Identity()
        case "avg_pool_3x3":
            return pool2d("average", 3, stride=1, padding=1)
        case _:
            return _relu_conv_norm(operation, channels, 1 if operation == "nor_conv_1x1" else 3, 1)


@lru_cache
def _relu_conv_norm(family: str, channels: int, kernel: int, stride: int) -> Cell:
    builder = GraphBuilder()
    end = builder.chain(
        builder.input(),
        ("relu", Activation("relu")),
        ("conv", conv2d(channels, kernel, stride=stride)),
        ("norm", BatchNorm()),
    )
    return builder.cell(family, end)


@lru_cache
def _slots(space: NasBench201) -> Slots:
    """The skeleton with a slot for each edge; so a network is made by exchanging operations in what is verified once."""
    builder = GraphBuilder()
    value = builder.add("stem", _stem(space.channels), builder.input())
    for stage in range(3):
        channels = space.channels * 2**stage
        if stage:
            value = builder.add(f"reduction{stage}", _reduction(channels), value)
        value = builder.add(f"stage{stage + 1}", _stage(channels, space.cells_per_stage, space.operations), value)
    value = builder.add("head", _head(space.classes), value)
    return Slots(Architecture(builder.graph(value), (space.input_shape,)))


def _stage(channels: int, cells: int, operations: tuple[str, ...]) -> Cell:
    builder = GraphBuilder()
    cell = _cell(channels, operations)
    return builder.cell("stage", builder.chain(builder.input(), *[(f"cell{index}", cell) for index in range(cells)]))


def _cell(channels: int, operations: tuple[str, ...]) -> Cell:
    builder = GraphBuilder()
    values = [builder.input()]
    arriving: list[int] = []
    for (target, source), decision in zip(EDGES, _DECISIONS, strict=True):
        options = tuple((operation, _edge(operation, channels)) for operation in operations)
        arriving.append(builder.add(decision, Choice(decision, options), values[source]))
        if source == target - 1:
            values.append(arriving[0] if len(arriving) == 1 else builder.add(f"node_{target}", Add(), *arriving))
            arriving = []
    return builder.cell("nasbench201", values[-1])


@lru_cache
def _reduction(channels: int) -> Cell:
    """The residual block of stride 2 that halves the sizes and gives `channels` channels."""
    builder = GraphBuilder()
    value = builder.input()
    inner = builder.chain(
        value,
        ("conv_a", _relu_conv_norm("nor_conv_3x3", channels, 3, 2)),
        ("conv_b", _relu_conv_norm("nor_conv_3x3", channels, 3, 1)),
    )
    shortcut = builder.chain(value, ("pool", pool2d("average", 2)), ("projection", conv2d(channels, 1)))
    return builder.cell("reduction", builder.add("sum", Add(), shortcut, inner))


@lru_cache
def _stem(channels: int) -> Cell:
    builder = GraphBuilder()
    return builder.cell("stem", builder.chain(builder.input(), ("conv", conv2d(channels, 3)), ("norm", BatchNorm())))


@lru_cache
def _head(classes: int) -> Cell:
    builder = GraphBuilder()
    end = builder.chain(
        builder.input(),
        ("norm", BatchNorm()),
        ("relu", Activation("relu")),
        ("pool", GlobalPool("average")),
        ("flatten", Flatten()),
        ("linear", Linear(classes)),
    )
    return builder.cell("head", end)
