"""The gated family: a causal convolution whose result is let through by a gate, as in WaveNet.

References:
    van den Oord et al. WaveNet: A Generative Model for Raw Audio. arXiv:1609.03499, 2016 (equation 2, figure 4).
"""

from functools import lru_cache

from search_spaces.builder import GraphBuilder
from search_spaces.graph import Cell
from search_spaces.ops import Activation, Conv, Multiply


@lru_cache(maxsize=4_096)
def gated_cell(channels: int, *, kernel: int = 2, dilation: int = 1) -> Cell:
    """tanh(W_f * x) ⊙ σ(W_g * x) (equation 2) along one axis; keeps the length, and sees nothing of the future."""
    conv = Conv(channels, (kernel,), dilation=(dilation,), padding=((dilation * (kernel - 1), 0),))
    builder = GraphBuilder()
    value = builder.input()
    filtered = builder.chain(value, ("filter", conv), ("tanh", Activation("tanh")))
    gate = builder.chain(value, ("gate", conv), ("sigmoid", Activation("sigmoid")))
    return builder.cell("gated", builder.add("product", Multiply(), filtered, gate))
