"""The pooling family: cells that halve the size and keep the channels.

VGG halves by the maximum of windows of 2, GoogLeNet by that of overlapping windows of 3, and DenseNet by the average
of windows of 2.

References:
    Simonyan, Zisserman. Very Deep Convolutional Networks for Large-Scale Image Recognition. ICLR 2015.
    Szegedy et al. Going Deeper with Convolutions. CVPR 2015.
    Huang, Liu, van der Maaten, Weinberger. Densely Connected Convolutional Networks. CVPR 2017.
"""

from functools import lru_cache

from search_spaces.builder import GraphBuilder
from search_spaces.errors import unknown_name
from search_spaces.graph import Cell
from search_spaces.ops import pool2d

_POOLS = {
    "max_pool": pool2d("max", 2),
    "overlapping_max_pool": pool2d("max", 3, stride=2, padding=1),
    "average_pool": pool2d("average", 2),
}

POOLINGS = tuple(_POOLS)
"""The ways of halving the size that have no weights."""


@lru_cache
def pooling_cell(kind: str) -> Cell:
    """One pooling with stride 2.

    Raises:
        UserError: `kind` is none of `POOLINGS`.
    """
    if kind not in _POOLS:
        raise unknown_name("pooling", kind, POOLINGS)
    builder = GraphBuilder()
    return builder.cell("pooling", builder.add("pool", _POOLS[kind], builder.input()))
