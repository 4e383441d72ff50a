from hashlib import sha256

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from search_spaces.errors import UserError
from workers.data import data_names, describe, load_data, load_test, split_indices

# The split of the digits is part of every stored result, so it may never change under the same version.
DIGITS_SPLIT_1_SHA256 = "26b50fd6ea3e10422d9f123a1caa0c2e2ece0b7ecbfc3297a02ae9bf610cf6ea"


def digits_split():
    return split_indices(load_digits().target.astype(np.int64), salt="digits split 1")


def test_the_split_of_the_digits_is_fixed() -> None:
    split = digits_split()
    text = "|".join(",".join(map(str, part)) for part in (split.train, split.validation, split.test))
    assert sha256(text.encode()).hexdigest() == DIGITS_SPLIT_1_SHA256


def test_the_parts_are_the_digits_of_the_split_each_once() -> None:
    digits, split, data = load_digits(), digits_split(), load_data("digits")
    parts = [(split.train, data.train), (split.validation, data.validation), (split.test, load_test("digits"))]
    assert sorted(place for places, _ in parts for place in places) == list(range(1797))
    for places, part in parts:
        assert (part.labels == digits.target[places]).all()
        # Undoing the standardisation by two known pixels gives the raw images back.
        raw = digits.images[places][:, None]
        scale = (part.images[raw == 16][0] - data.background) / 16
        np.testing.assert_allclose((part.images - data.background) / scale, raw, atol=1e-4)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=300), st.text(max_size=5))
def test_a_split_is_disjoint_complete_and_stratified(labels: list[int], salt: str) -> None:
    array = np.array(labels, dtype=np.int64)
    split = split_indices(array, salt=salt)
    assert sorted([*split.train, *split.validation, *split.test]) == list(range(len(labels)))
    for label in set(labels):
        count = labels.count(label)
        for part, share in ((split.train, 0.6), (split.validation, 0.2), (split.test, 0.2)):
            assert abs((array[part] == label).sum() - share * count) <= 1


def test_training_images_are_standardised() -> None:
    data = load_data("digits")
    assert data.train.images.shape == (len(data.train), *data.description.input_shape)
    assert data.train.images.mean() == pytest.approx(0, abs=1e-5)
    assert data.train.images.std() == pytest.approx(1, abs=1e-5)
    assert data.background == data.train.images.min()


def test_data_are_loaded_once_and_cannot_be_written() -> None:
    data = load_data("digits")
    assert load_data("digits") is data
    with pytest.raises(ValueError, match="read-only"):
        data.train.images[0] = 0
    assert len(data.fingerprint) == 64


def test_what_a_search_is_given_has_no_test_part() -> None:
    data, test = load_data("digits"), load_test("digits")
    seen = {image.tobytes() for part in (data.train, data.validation) for image in part.images}
    assert not [image for image in test.images if image.tobytes() in seen]
    assert not any("test" in name for name in dir(data))


def test_an_unknown_name_is_one_line_with_a_remedy() -> None:
    for function in (describe, load_data, load_test):
        with pytest.raises(UserError, match="unknown data 'digit'; did you mean 'digits'\\?"):
            function("digit")
    assert data_names() == ("digits",)
