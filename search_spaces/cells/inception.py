"""The inception family: parallel convolutions of several sizes and a pooling, side by side, as in GoogLeNet.

GoogLeNet has no normalisation; it is a parameter here. A cell may leave branches out, but keeps at least two.

References:
    Szegedy et al. Going Deeper with Convolutions. CVPR 2015 (figure 2b and table 1).
"""

from dataclasses import dataclass
from functools import lru_cache

from search_spaces.builder import GraphBuilder
from search_spaces.cells.units import conv_unit
from search_spaces.errors import UserError
from search_spaces.graph import Cell
from search_spaces.ops import Concat, pool2d

BRANCHES = ("conv1x1", "conv3x3", "conv5x5", "pool")
"""The parallel branches, in the order in which their results are joined."""

_SHARES = {"conv1x1": 2, "conv3x3": 4, "conv5x5": 1, "pool": 1}
"""How module 3a, the first of table 1, shares 256 channels among the branches: 64, 128, 32 and 32."""


@dataclass(frozen=True, slots=True)
class InceptionWidths:
    """The channels of every convolution, as the columns of table 1; 0 channels leave a branch out."""

    conv1x1: int
    reduce3x3: int
    conv3x3: int
    reduce5x5: int
    conv5x5: int
    pool: int


def inception_widths(channels: int, branches: tuple[str, ...] = BRANCHES) -> InceptionWidths:
    """Shares `channels` among `branches` in the proportions of module 3a.

    The 1x1 convolution before the 3x3 has 3/4 of its channels, the one before the 5x5 has 1/2.

    Raises:
        UserError: an unknown branch, fewer than two, or too few channels for one in each.
    """
    chosen = [branch for branch in BRANCHES if branch in branches]
    if len(chosen) != len(branches) or len(chosen) < 2:
        raise UserError(f"inception cell: branches must be at least two of {', '.join(BRANCHES)}, got {branches}")
    whole = sum(_SHARES[branch] for branch in chosen)
    widths = dict.fromkeys(BRANCHES, 0)
    share = taken = 0
    for branch in chosen:
        share += _SHARES[branch]
        widths[branch] = channels * share // whole - taken
        taken += widths[branch]
        if widths[branch] < 1:
            raise UserError(f"inception cell: {channels} channels are too few for the branches {', '.join(chosen)}")
    return InceptionWidths(
        conv1x1=widths["conv1x1"],
        reduce3x3=-(-3 * widths["conv3x3"] // 4),
        conv3x3=widths["conv3x3"],
        reduce5x5=-(-widths["conv5x5"] // 2),
        conv5x5=widths["conv5x5"],
        pool=widths["pool"],
    )


@lru_cache(maxsize=4_096)
def inception_cell(
    widths: InceptionWidths,
    *,
    large_kernel: int = 5,
    normalisation: str = "batch",
    activation: str = "relu",
    epsilon: float | None = None,
) -> Cell:
    """The branches of nonzero width side by side along the channels; keeps the size.

    `large_kernel` is that of the branch `conv5x5`, and `epsilon` that of the normalisation, where they are not the
    usual ones.

    Raises:
        InvalidArchitecture: fewer than two branches.
    """

    def unit(channels: int, kernel: int) -> Cell:
        return conv_unit(channels, kernel, normalisation=normalisation, activation=activation, epsilon=epsilon)

    builder = GraphBuilder()
    value = builder.input()
    ends = []
    if widths.conv1x1:
        ends.append(builder.add("conv1x1", unit(widths.conv1x1, 1), value))
    if widths.conv3x3:
        reduced = builder.add("reduce3x3", unit(widths.reduce3x3, 1), value)
        ends.append(builder.add("conv3x3", unit(widths.conv3x3, 3), reduced))
    if widths.conv5x5:
        reduced = builder.add("reduce5x5", unit(widths.reduce5x5, 1), value)
        ends.append(builder.add("conv5x5", unit(widths.conv5x5, large_kernel), reduced))
    if widths.pool:
        pooled = builder.add("pool", pool2d("max", 3, stride=1, padding=1), value)
        ends.append(builder.add("projection", unit(widths.pool, 1), pooled))
    return builder.cell("inception", builder.add("concat", Concat(), *ends))
