"""The highway family: a layer beside its own input, and a gate that decides how much of each goes on.

References:
    Srivastava, Greff, Schmidhuber. Training Very Deep Networks. NIPS 2015 (equation 3).
"""

from functools import lru_cache

from search_spaces.builder import GraphBuilder
from search_spaces.graph import Cell
from search_spaces.ops import Activation, Add, Linear, Multiply


@lru_cache(maxsize=4_096)
def highway_cell(features: int, *, activation: str = "relu") -> Cell:
    """Gives t ⊙ g(W_H y + b_H) + (1 - t) ⊙ y with t = σ(W_T y + b_T), on a vector of `features`."""
    builder = GraphBuilder()
    value = builder.input()
    new = builder.chain(value, ("transform", Linear(features)), ("activation", Activation(activation)))
    gate = builder.chain(value, ("gate", Linear(features)), ("sigmoid", Activation("sigmoid")))
    carry = builder.add("carry", Activation("complement"), gate)
    taken = builder.add("taken", Multiply(), gate, new)
    kept = builder.add("kept", Multiply(), carry, value)
    return builder.cell("highway", builder.add("sum", Add(), taken, kept))
