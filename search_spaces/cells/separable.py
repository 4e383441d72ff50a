"""The separable family: one axis after the other, a kx1 convolution and a 1xk one, in place of one of kxk.

The pair costs 2k instead of k² multiplications for each pair of channels, and sees the same window.

References:
    Rigamonti, Sironi, Lepetit, Fua. Learning Separable Filters. CVPR 2013.
    Szegedy et al. Rethinking the Inception Architecture for Computer Vision. CVPR 2016 (section 3.2).
"""

from functools import lru_cache

from search_spaces.builder import GraphBuilder
from search_spaces.cells.units import unit_around
from search_spaces.graph import Cell
from search_spaces.ops import Conv


@lru_cache(maxsize=4_096)
def separable_cell(
    channels: int, *, kernel: int = 3, normalisation: str = "batch", activation: str | None = "relu"
) -> Cell:
    """Two convolutions of `channels` each with nothing between them, then normalisation and activation."""
    margin = kernel // 2
    bias = normalisation == "none"
    across = Conv(channels, (1, kernel), padding=((0, 0), (margin, margin)), bias=bias)
    builder = GraphBuilder()
    end = builder.chain(
        builder.input(),
        ("down", Conv(channels, (kernel, 1), padding=((margin, margin), (0, 0)))),
        ("across", unit_around(across, normalisation=normalisation, activation=activation)),
    )
    return builder.cell("separable", end)
