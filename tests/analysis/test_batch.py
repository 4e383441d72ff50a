"""The analysis of many networks at once: equal to that of each one, number by number."""

import itertools
import random
from collections.abc import Iterable

import numpy
import pytest
from numpy.typing import NDArray

from analysis import Report, analyze, analyze_batch
from search_spaces.architecture import Architecture
from search_spaces.builder import GraphBuilder
from search_spaces.choices import Chooser
from search_spaces.errors import UserError
from search_spaces.graph import Cell
from search_spaces.ops import (
    Activation,
    Add,
    BatchNorm,
    ChannelShuffle,
    Concat,
    Conv,
    Dropout,
    Flatten,
    GlobalPool,
    Identity,
    Linear,
    LocalResponseNorm,
    Multiply,
    Operation,
    Pool,
    Upsample,
    Zero,
)
from search_spaces.slots import Choice, Slots
from search_spaces.space import SearchSpace
from search_spaces.spaces.cellular import Cellular
from search_spaces.spaces.nasbench201 import NasBench201


def combinations(slots: Slots) -> NDArray[numpy.int64]:
    return numpy.array(list(itertools.product(*[range(domain.count) for domain in slots.domains])))


def filled(slots: Slots, row: Iterable[int]) -> Architecture:
    return slots.fill([domain.options[position] for domain, position in zip(slots.domains, row, strict=True)])


def row_of(report: Report) -> list[object]:
    windows = [list(window) for window in report.receptive_field or ()]
    return [*report.figures().values(), report.fvcore_flops, report.receptive_field is not None, windows]


def check(slots: Slots, choices: NDArray[numpy.int64], *, batch: int = 1, dtype: str = "float32") -> None:
    reports = analyze_batch(slots, choices, batch=batch, dtype=dtype)
    columns = [*reports.figures().values(), reports.fvcore_flops]
    assert all(column.shape == (len(choices),) and column.dtype == numpy.int64 for column in columns)
    for index, row in enumerate(choices.tolist()):
        seen = bool(reports.sees_input[index])
        found = [*(column[index] for column in columns), seen, reports.windows[index].tolist() if seen else []]
        assert found == row_of(analyze(filled(slots, row), batch=batch, dtype=dtype)), row


def test_all_networks_of_nasbench201_are_analysed_as_each_one() -> None:
    slots = NasBench201().slots()
    check(slots, combinations(slots))


def test_batch_and_type_are_those_of_the_report() -> None:
    slots = NasBench201(input_shape=(1, 28, 32), classes=7, channels=5, cells_per_stage=2).slots()
    choices = combinations(slots)[random.Random(0).sample(range(15_625), 200)]
    check(slots, choices, batch=3, dtype="float16")


def chain(*operations: Operation) -> Cell:
    builder = GraphBuilder()
    return builder.cell("chain", builder.chain(builder.input(), *[("step", operation) for operation in operations]))


def conv(
    kernel: int, *, stride: int = 1, padding: tuple[int, int] = (0, 0), dilation: int = 1, groups: int = 1
) -> Conv:
    return Conv(4, (kernel,), (stride,), (padding,), (dilation,), groups, bias=True)


SAME = (
    ("uneven", conv(3, padding=(2, 0))),
    ("dropout", Dropout(0.5)),
    ("zero", Zero()),
    ("lrn", LocalResponseNorm(3)),
    ("separable", chain(conv(3, padding=(1, 1), groups=4), conv(1), BatchNorm())),
    ("views", chain(Identity(), Dropout(0.1))),
)
SHORTER = (
    ("strided", conv(1, stride=2)),
    ("dilated", conv(3, dilation=2)),
    ("pooled", Pool("max", (3,), (2,), (1,))),
    ("dead", chain(Zero(), conv(1, stride=2))),
)
GATE = (
    ("sigmoid", Activation("sigmoid")),
    ("none", Zero()),
    ("same", Identity()),
    ("mixed", chain(conv(1), Activation())),
)


def in_one_dimension() -> Slots:
    """Joins of different strides and of global paths, products, two inputs, two outputs, a decision asked twice."""
    builder = GraphBuilder()
    first, second = builder.input("first"), builder.input("second")
    before = builder.add("before", Choice("same", SAME), first)
    left = builder.add("left", Choice("shorter", SHORTER), before)
    right = builder.add("right", Choice("other", SHORTER), second)
    joined = builder.add("joined", Add(), left, right, left)
    pool = builder.add("pool", GlobalPool(), joined)
    gate = builder.add("gate", Choice("gate", GATE), pool)
    scaled = builder.add("scaled", Multiply(), joined, gate)
    again = builder.add("again", Choice("same", SAME), scaled)
    both = builder.add("both", Concat(), again, scaled)
    shuffled = builder.add("shuffled", Choice("deal", (("two", ChannelShuffle(2)), ("one", ChannelShuffle(1)))), both)
    end = builder.chain(shuffled, ("flatten", Flatten()), ("linear", Linear(3)))
    return Slots(Architecture(builder.graph(joined, end, names=("map", "class")), ((4, 9), (4, 9))))


def test_a_small_space_of_any_operations_is_analysed_as_each_network() -> None:
    slots = in_one_dimension()
    choices = combinations(slots)
    assert len(choices) == 6 * 4 * 4 * 4 * 2
    check(slots, choices)
    reports = analyze_batch(slots, choices)
    assert 0 < reports.sees_input.sum() < len(choices)


def test_networks_in_many_blocks_are_those_in_few() -> None:
    slots = NasBench201().slots()
    choices = numpy.random.default_rng(0).integers(0, 5, (40_000, 6), dtype=numpy.uint8)
    reports = analyze_batch(slots, choices)
    last = analyze_batch(slots, choices[-500:])
    for name, column in last.figures().items():
        assert (reports.figures()[name][-500:] == column).all()
    assert (reports.windows[-500:] == last.windows).all()
    assert (reports.flops == 2 * reports.macs).all()


class Pair(SearchSpace):
    """Two 1-D layers: a space of one's own takes its skeleton and two lines."""

    name = "pair"

    def slots(self) -> Slots:
        builder = GraphBuilder()
        end = builder.chain(builder.input(), ("a", Choice("a", SAME)), ("b", Choice("b", SAME)))
        return Slots(Architecture(builder.graph(end), ((4, 8),)))

    def build(self, choose: Chooser) -> Architecture:
        slots = self.slots()
        return slots.fill([choose.decide(domain) for domain in slots.domains])


def test_a_space_of_ones_own_has_the_form_in_a_few_lines() -> None:
    space = Pair()
    assert space.count() == 36
    reports = analyze_batch(space, combinations(space.slots()))
    for index, (_, architecture) in enumerate(space.enumerate()):
        assert reports.params[index] == analyze(architecture).params


def test_a_space_without_slots_is_refused() -> None:
    with pytest.raises(UserError, match="'cellular' is not one network with slots"):
        analyze_batch(Cellular(), numpy.zeros((1, 6), dtype=int))


@pytest.mark.parametrize(
    ("choices", "what"),
    [
        (numpy.zeros((2, 5), dtype=int), "each of 6 decisions"),
        (numpy.zeros((0, 6), dtype=int), "a row for each network"),
        (numpy.zeros(6, dtype=int), "each of 6 decisions"),
        (numpy.zeros((2, 6)), "whole numbers"),
        (numpy.array([[0, 0, 5, 0, 0, 0]]), "'edge_2_1' must be from 0 to 4"),
        (numpy.array([[0, 0, 0, 0, 0, -1]]), "'edge_3_2' must be from 0 to 4"),
    ],
)
def test_choices_of_another_form_are_refused(choices: NDArray[numpy.int64], what: str) -> None:
    with pytest.raises(UserError, match=what):
        analyze_batch(NasBench201(), choices)


def test_fractions_are_refused() -> None:
    builder = GraphBuilder()
    end = builder.chain(builder.input(), ("a", Choice("a", SAME)), ("up", Upsample(2)))
    slots = Slots(Architecture(builder.graph(end), ((4, 8),)))
    with pytest.raises(UserError, match="fractions"):
        analyze_batch(slots, numpy.zeros((1, 1), dtype=int))
