"""The data sets that candidates are trained on, each with a fixed split whose test part no search can reach.

`load_data` gives training and validation images alone; `load_test` gives the test images, and only the final
measurement of an exported model asks for them. What a data set looks like (`describe`) is known without loading it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search_spaces.errors import unknown_name
from search_spaces.ops import Shape


@dataclass(frozen=True, slots=True)
class DataDescription:
    """What is known of a data set before it is loaded; `split` counts the versions of its split, from 1."""

    name: str
    input_shape: Shape
    """Channels, height and width of an image."""
    classes: int
    split: int


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One part of a data set: `images` float32 (N, C, H, W) and `labels` int64 (N,), neither writable."""

    images: NDArray[np.float32]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True, eq=False)
class DataSet:
    """What a search sees of a data set.

    Images are standardised by the mean and deviation of the training images; `background` is the value of an empty
    pixel after that. `fingerprint` is the SHA-256 of the raw content and of the split.
    """

    description: DataDescription
    train: Part
    validation: Part
    background: float
    preprocessing: str
    """How raw images became these, as a Python expression of `images`."""
    fingerprint: str


@dataclass(frozen=True, slots=True)
class SplitIndices:
    """The places of the images of each part in the whole data set, in ascending order."""

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]


def data_names() -> tuple[str, ...]:
    """The data sets there are."""
    return tuple(sorted(_SOURCES))


def describe(name: str) -> DataDescription:
    """The shape of the images of a data set and the number of its classes, without loading it.

    Raises:
        UserError: there is no data set of this name.
    """
    return _source(name)[0]


def load_data(name: str) -> DataSet:
    """The training and validation parts of a data set; loaded once per process.

    Raises:
        UserError: there is no data set of this name.
    """
    _source(name)
    return _load(name)[0]


def load_test(name: str) -> Part:
    """The test part of a data set, for the final measurement of a finished model and nothing else.

    Raises:
        UserError: there is no data set of this name.
    """
    _source(name)
    return _load(name)[1]


def split_indices(labels: NDArray[np.int64], *, salt: str) -> SplitIndices:
    """Cuts every class into 60 % training, 20 % validation and 20 % test images, each to the nearest whole number.

    Within a class the images are ordered by the SHA-256 of `salt` and their place, so the split depends on no random
    number generator and stays the same for ever.
    """
    train: list[int] = []
    validation: list[int] = []
    test: list[int] = []
    for label in np.unique(labels):
        places = [int(place) for place in np.flatnonzero(labels == label)]
        places.sort(key=lambda place: sha256(f"{salt}:{place}".encode()).digest())
        first, second = round(0.6 * len(places)), round(0.8 * len(places))
        train += places[:first]
        validation += places[first:second]
        test += places[second:]
    return SplitIndices(*(np.array(sorted(places), dtype=np.int64) for places in (train, validation, test)))


def _digits() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    from sklearn.datasets import load_digits

    digits: Any = load_digits()
    return digits.images[:, None].astype(np.float32) / SCALES["digits"], digits.target.astype(np.int64)


Reader = Callable[[], tuple[NDArray[np.float32], NDArray[np.int64]]]
"""Gives all images, from 0 (empty) to 1, and their labels."""

_SOURCES: dict[str, tuple[DataDescription, Reader]] = {
    "digits": (DataDescription("digits", (1, 8, 8), 10, split=1), _digits),
}


SCALES = {"digits": 16}
"""The raw value of a full pixel; `Reader` gives images divided by it."""


def _source(name: str) -> tuple[DataDescription, Reader]:
    if name not in _SOURCES:
        raise unknown_name("data", name, _SOURCES)
    return _SOURCES[name]


@lru_cache
def _load(name: str) -> tuple[DataSet, Part]:
    description, read = _source(name)
    images, labels = read()
    split = split_indices(labels, salt=f"{name} split {description.split}")
    mean, deviation = images[split.train].mean(), images[split.train].std()

    def part(places: NDArray[np.int64]) -> Part:
        chosen = Part(((images[places] - mean) / deviation).astype(np.float32), labels[places])
        chosen.images.flags.writeable = False
        chosen.labels.flags.writeable = False
        return chosen

    digest = sha256()
    for array in (images, labels, split.train, split.validation, split.test):
        digest.update(np.ascontiguousarray(array).tobytes())
    data = DataSet(
        description,
        part(split.train),
        part(split.validation),
        background=float(-mean / deviation),
        preprocessing=f"(images / {SCALES[name]} - {float(mean):.8g}) / {float(deviation):.8g}",
        fingerprint=digest.hexdigest(),
    )
    return data, part(split.test)
