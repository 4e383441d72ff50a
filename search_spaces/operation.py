"""What an operation is: the contract that all of them fulfil, and the shapes that they speak of."""

from dataclasses import dataclass
from math import isfinite, prod
from typing import ClassVar

from search_spaces.errors import InvalidArchitecture

Shape = tuple[int, ...]
"""Sizes without the batch axis: `(channels, *spatial)` with one or two spatial axes, or `(features,)`."""

MOST_ELEMENTS = (1 << 63) - 1
"""Of one value: no tensor has more, for they are counted in 64 bits."""


@dataclass(frozen=True, slots=True)
class Operation:
    """What a node does: a pure function of tensors, perhaps with weights.

    Subclasses say how many inputs they take (`arity`, least and most), whether the order of the inputs matters
    (`commutative`), whether they own weights (`has_weights`) and what shape comes out (`output_shape`).
    """

    arity: ClassVar[tuple[int, int | None]] = (1, 1)
    commutative: ClassVar[bool] = False

    @property
    def has_weights(self) -> bool:
        """Whether two equal operations on equal inputs may still give different results."""
        return False

    def output_shape(self, *inputs: Shape) -> Shape:
        """The shape of the result for inputs of these shapes.

        Raises:
            InvalidArchitecture: the inputs do not fit this operation.
        """
        raise NotImplementedError(type(self).__name__)


def check_kind(operation: Operation, kind: str, known: tuple[str, ...]) -> None:
    """Refuses a `kind` that is not among those known."""
    if kind not in known:
        raise InvalidArchitecture(
            f"{type(operation).__name__}: unknown kind {kind!r}; choose one of: {', '.join(known)}"
        )


def check_shape(what: str, shape: Shape) -> None:
    """Refuses what is no shape; `what` says whose it is."""
    if not 1 <= len(shape) <= 3 or min(shape) < 1:
        raise InvalidArchitecture(
            f"{what} {shape} must be of positive sizes, (features,) or (channels, *spatial) with 1 or 2 spatial axes"
        )
    if prod(shape) > MOST_ELEMENTS:
        raise InvalidArchitecture(f"{what} {shape} has more elements than a tensor can hold; make it smaller")


def check_not_negative(operation: Operation, **values: float) -> None:
    """Refuses all but finite numbers from 0 on."""
    for name, value in values.items():
        if not isfinite(value) or value < 0:
            raise InvalidArchitecture(
                f"{type(operation).__name__}: {name} must be a finite number of at least 0, got {value}"
            )
