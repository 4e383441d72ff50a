"""The convolution with its normalisation and activation, from which every family of cells is made."""

from dataclasses import replace
from functools import lru_cache

from search_spaces.builder import GraphBuilder
from search_spaces.errors import unknown_name
from search_spaces.graph import Cell
from search_spaces.ops import Activation, BatchNorm, Conv, LayerNorm, Operation, conv2d

_NORMS: dict[str, tuple[BatchNorm | LayerNorm, ...]] = {"batch": (BatchNorm(),), "layer": (LayerNorm(),), "none": ()}

NORMALISATIONS = tuple(_NORMS)
"""The kinds of normalisation a unit may have; with `none` its convolution has a bias instead."""


@lru_cache(maxsize=4_096)
def conv_unit(
    channels: int,
    kernel: int,
    *,
    stride: int = 1,
    bias: bool = False,
    normalisation: str = "batch",
    activation: str | None = "relu",
    epsilon: float | None = None,
) -> Cell:
    """Convolution, normalisation, activation (the last left out for None); keeps the size at stride 1.

    The convolution has a bias if there is no normalisation, or if `bias` asks for one all the same. `epsilon` is that
    of the normalisation, where it is not the usual one.
    """
    conv = conv2d(channels, kernel, stride=stride, bias=bias or normalisation == "none")
    return unit_around(conv, normalisation=normalisation, activation=activation, epsilon=epsilon)


def unit_around(
    conv: Conv, *, normalisation: str = "batch", activation: str | None = "relu", epsilon: float | None = None
) -> Cell:
    """Any convolution (asymmetric, depthwise, …), then normalisation and activation as in `conv_unit`."""
    return _unit(
        ("conv", conv),
        *_norm(normalisation, epsilon),
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


def _norm(normalisation: str, epsilon: float | None = None) -> list[tuple[str, Operation]]:
    if normalisation not in _NORMS:
        raise unknown_name("normalisation", normalisation, NORMALISATIONS)
    norms = _NORMS[normalisation]
    if epsilon is not None:
        norms = tuple(replace(norm, epsilon=epsilon) for norm in norms)
    return [("norm", norm) for norm in norms]


def _unit(*operations: tuple[str, Operation]) -> Cell:
    builder = GraphBuilder()
    return builder.cell("unit", builder.chain(builder.input(), *operations))
