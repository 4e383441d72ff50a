"""Costs of single operations in closed form, and that every table of rules knows every operation."""

import pytest

from analysis.cost import COST_RULES, Cost, operation_cost
from analysis.memory import STORAGE_RULES
from analysis.receptive_field import TAPS_RULES
from analysis.report import DETAILS
from search_spaces.ops import (
    LEAF_OPERATIONS,
    Activation,
    Add,
    BatchNorm,
    Conv,
    Embedding,
    GlobalPool,
    LayerNorm,
    Linear,
    LocalResponseNorm,
    Operation,
    Pool,
    Shape,
    Upsample,
    conv2d,
)


@pytest.mark.parametrize("table", [COST_RULES, STORAGE_RULES, TAPS_RULES, DETAILS])
def test_every_table_has_a_rule_for_every_operation_and_no_other(table: dict[type[Operation], object]) -> None:
    assert set(table) == set(LEAF_OPERATIONS)


@pytest.mark.parametrize(
    ("operation", "shape", "expected"),
    [
        (conv2d(64, 7, stride=2), (3, 224, 224), Cost(9_408, 0, 118_013_952, 0, 4 * 64 * 112 * 112)),
        (conv2d(8, 1, bias=True), (4, 5, 5), Cost(40, 0, 800, 0, 800)),
        (conv2d(32, 3, groups=32), (32, 8, 8), Cost(288, 0, 18_432, 0, 8_192)),
        (Conv(6, (3,), padding=((2, 0),), groups=2), (4, 9), Cost(36, 0, 324, 0, 216)),
        (Linear(10), (64,), Cost(650, 0, 640, 0, 40)),
        (Linear(10, bias=False), (64,), Cost(640, 0, 640, 0, 40)),
        (BatchNorm(), (16, 4, 4), Cost(32, 136, 0, 512, 1_024)),
        (BatchNorm(affine=False), (16, 4, 4), Cost(0, 136, 0, 256, 1_024)),
        (LayerNorm(), (16, 4, 4), Cost(32, 0, 0, 1_280, 1_024)),
        (LayerNorm(affine=False), (16, 4, 4), Cost(0, 0, 0, 1_024, 1_024)),
        (GlobalPool("average"), (16, 4, 4), Cost(0, 0, 0, 256, 64)),
        (GlobalPool("average"), (16, 4), Cost(0, 0, 0, 0, 64)),
        (GlobalPool("max"), (16, 4, 4), Cost(0, 0, 0, 0, 64)),
        (Pool("max", (2, 2)), (16, 4, 4), Cost(0, 0, 0, 0, 256)),
        (Activation(), (16, 4, 4), Cost(0, 0, 0, 0, 1_024)),
        (Embedding(50, 8), (12,), Cost(400, 0, 0, 0, 384)),
        (Upsample(2), (4, 3, 3), Cost(0, 0, 0, 144, 576)),
        (Upsample(2, "bilinear"), (4, 3, 3), Cost(0, 0, 0, 576, 576)),
        (Upsample(2, "bilinear"), (4, 3), Cost(0, 0, 0, 0, 96)),
        (LocalResponseNorm(5), (16, 4, 4), Cost(0, 0, 0, 0, 1_024)),
    ],
)
def test_costs_in_closed_form(operation: Operation, shape: Shape, expected: Cost) -> None:
    assert operation_cost(operation, shape, operation.output_shape(shape)) == expected


def test_an_operation_without_a_rule_is_an_error_and_not_free() -> None:
    class Unknown(Add):
        pass

    with pytest.raises(KeyError, match="Unknown"):
        operation_cost(Unknown(), (4, 2, 2), (4, 2, 2))
