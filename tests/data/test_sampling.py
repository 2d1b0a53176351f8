import dataclasses

import numpy as np
import pytest

from keras_mt.data import Sampling

RIGHT = {"batch_size": 8, "labeled_per_batch": 2, "seed": 0}


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        *[("batch_size", value) for value in (0, -1, 1.5, 8.0, "8", None, True)],
        *[("labeled_per_batch", value) for value in (0, -1, 9, 1.5, 2.0, "some", "2", None, True)],
        *[("seed", value) for value in (-1, 2**31, 0.5, "0", None, False)],
        *[("unlabeled_stream", value) for value in ("labeled", "", None)],
    ],
)
def test_a_value_that_cannot_be_right_is_named(argument, value):
    with pytest.raises(ValueError, match=f"Argument `{argument}` must be .*Received: {argument}=") as raised:
        Sampling(**{**RIGHT, argument: value})
    assert raised.value.argument == argument
    assert raised.value.value is value


@pytest.mark.parametrize("labeled_per_batch", ["vary", "all", 8])
def test_a_stream_of_unlabeled_examples_needs_rows_for_it(labeled_per_batch):
    with pytest.raises(ValueError, match="Argument `unlabeled_stream` must be all .*unlabeled_stream=unlabeled"):
        Sampling(8, labeled_per_batch, 0, "unlabeled")


@pytest.mark.parametrize(("labeled_per_batch", "rows"), [(1, (1, 7)), (8, (8, 0)), ("all", (8, 0)), ("vary", (0, 8))])
def test_the_rows_of_a_batch_are_of_two_streams(labeled_per_batch, rows):
    sampling = Sampling(8, labeled_per_batch, 2**31 - 1)
    assert (sampling.from_labeled, sampling.from_unlabeled) == rows


def test_numbers_of_numpy_are_numbers():
    assert Sampling(np.int64(8), np.int32(2), np.uint8(1)) == Sampling(8, 2, 1)


def test_it_cannot_be_changed_afterwards():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Sampling(**RIGHT).batch_size = 0
