"""A small space with a table of its own: cells of NAS-Bench-201 with three of its operations, narrow and for small images.

Of its 729 cells 459 are distinct by their canonical keys, few enough to train them all; `benchmarks/digits_table.py`
did, on the handwritten digits, and the table comes with nas (`--table digits201`).
"""

from dataclasses import dataclass

from search_spaces.ops import Shape
from search_spaces.spaces.nasbench201 import NasBench201


@dataclass(frozen=True, slots=True)
class Digits201(NasBench201):
    """NAS-Bench-201 with skip, 3x3 convolution and 3x3 pooling alone, 4 channels, one cell a stage; trained whole on the digits."""

    input_shape: Shape = (1, 8, 8)
    channels: int = 4
    cells_per_stage: int = 1
    operations: tuple[str, ...] = ("skip_connect", "nor_conv_3x3", "avg_pool_3x3")

    name = "digits201"
