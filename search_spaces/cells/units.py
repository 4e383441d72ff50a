"""The convolution with its normalisation and activation, from which every family of cells is made."""

from functools import lru_cache

from search_spaces.builder import GraphBuilder
from search_spaces.errors import unknown_name
from search_spaces.graph import Cell
from search_spaces.ops import Activation, BatchNorm, LayerNorm, Operation, conv2d

_NORMS: dict[str, tuple[Operation, ...]] = {"batch": (BatchNorm(),), "layer": (LayerNorm(),), "none": ()}

NORMALISATIONS = tuple(_NORMS)
"""The kinds of normalisation a unit may have; with `none` its convolution has a bias instead."""


@lru_cache(maxsize=4_096)
def conv_unit(
    channels: int, kernel: int, *, stride: int = 1, normalisation: str = "batch", activation: str | None = "relu"
) -> Cell:
    """Convolution, normalisation, activation (the last left out for None); keeps the size at stride 1."""
    return _unit(
        ("conv", conv2d(channels, kernel, stride=stride, bias=normalisation == "none")),
        *_norm(normalisation),
        *([] if activation is None else [("activation", Activation(activation))]),
    )


@lru_cache(maxsize=4_096)
def pre_activation_unit(channels: int, kernel: int, *, normalisation: str = "batch", activation: str = "relu") -> Cell:
    """Normalisation, activation, convolution: the order of He et al. 2016, which DenseNet uses."""
    return _unit(
        *norm_activation(normalisation=normalisation, activation=activation),
        ("conv", conv2d(channels, kernel, bias=normalisation == "none")),
    )


def norm_activation(*, normalisation: str, activation: str) -> list[tuple[str, Operation]]:
    """Normalisation and activation as named operations, to be chained."""
    return [*_norm(normalisation), ("activation", Activation(activation))]


def _norm(normalisation: str) -> list[tuple[str, Operation]]:
    if normalisation not in _NORMS:
        raise unknown_name("normalisation", normalisation, NORMALISATIONS)
    return [("norm", norm) for norm in _NORMS[normalisation]]


def _unit(*operations: tuple[str, Operation]) -> Cell:
    builder = GraphBuilder()
    return builder.cell("unit", builder.chain(builder.input(), *operations))
