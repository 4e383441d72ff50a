"""Costs of single operations in closed form, and that every table of rules knows every operation."""

import pytest

from analysis.cost import COST_RULES, Cost, operation_cost
from analysis.describe import DETAILS
from analysis.memory import STORAGE_RULES
from analysis.receptive_field import TAPS_RULES
from search_spaces.ops import (
    LEAF_OPERATIONS,
    Activation,
    AdaptivePool,
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
        (conv2d(64, 7, stride=2), (3, 224, 224), Cost(params=9_408, macs=118_013_952, activations=64 * 112 * 112)),
        (conv2d(8, 1, bias=True), (4, 5, 5), Cost(params=40, macs=800, activations=200)),
        (conv2d(32, 3, groups=32), (32, 8, 8), Cost(params=288, macs=18_432, activations=2_048)),
        (Conv(6, (3,), padding=((2, 0),), groups=2), (4, 9), Cost(params=36, macs=324, activations=54)),
        (Linear(10), (64,), Cost(params=650, macs=640, activations=10)),
        (Linear(10, bias=False), (64,), Cost(params=640, macs=640, activations=10)),
        (BatchNorm(), (16, 4, 4), Cost(params=32, buffers=32, counters=1, fvcore_extra=512, activations=256)),
        (BatchNorm(affine=False), (16, 4, 4), Cost(buffers=32, counters=1, fvcore_extra=256, activations=256)),
        (LayerNorm(), (16, 4, 4), Cost(params=32, fvcore_extra=1_280, activations=256)),
        (LayerNorm(affine=False), (16, 4, 4), Cost(fvcore_extra=1_024, activations=256)),
        (GlobalPool("average"), (16, 4, 4), Cost(fvcore_extra=256, activations=16)),
        (GlobalPool("average"), (16, 4), Cost(activations=16)),
        (GlobalPool("max"), (16, 4, 4), Cost(activations=16)),
        (AdaptivePool("average", (3, 7)), (16, 4, 4), Cost(fvcore_extra=256, activations=16 * 21)),
        (AdaptivePool("average", (3,)), (16, 4), Cost(activations=48)),
        (AdaptivePool("max", (2, 2)), (16, 4, 4), Cost(activations=64)),
        (Pool("max", (2, 2)), (16, 4, 4), Cost(activations=64)),
        (Activation(), (16, 4, 4), Cost(activations=256)),
        (Embedding(50, 8), (12,), Cost(params=400, activations=96)),
        (Upsample(2), (4, 3, 3), Cost(fvcore_extra=144, activations=144)),
        (Upsample(2, "bilinear"), (4, 3, 3), Cost(fvcore_extra=576, activations=144)),
        (Upsample(2, "bilinear"), (4, 3), Cost(activations=24)),
        (LocalResponseNorm(5), (16, 4, 4), Cost(activations=256)),
    ],
)
def test_costs_in_closed_form(operation: Operation, shape: Shape, expected: Cost) -> None:
    assert operation_cost(operation, shape, operation.output_shape(shape)) == expected


def test_an_operation_without_a_rule_is_an_error_and_not_free() -> None:
    class Unknown(Add):
        pass

    with pytest.raises(KeyError, match="Unknown"):
        operation_cost(Unknown(), (4, 2, 2), (4, 2, 2))
