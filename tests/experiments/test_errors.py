"""What the library says of arguments is told of flags."""

import pytest

from keras_mt.errors import ArgumentError
from keras_mt.experiments.errors import DataError, in_flags

FLAGS = ("num_labels", "labels_file", "phase", "cache_dir", "dataset")


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ArgumentError("num_labels", 13, "must be a multiple of 10"), "--num_labels=13 must be a multiple of 10"),
        (ArgumentError("labels_file", "a b", ", line 3: no class"), "--labels_file=a b, line 3: no class"),
        (
            ArgumentError("dataset", "folder", "needs `phase=validation`, see `shape`"),
            "--dataset=folder needs --phase=validation, see `shape`",
        ),
        (
            ArgumentError("num_replicas", 4, "must be at most 3"),
            "Argument `num_replicas` must be at most 3. Received: num_replicas=4",
        ),
        (DataError("`cache_dir=/a b` can't keep it, nor `phase`"), "--cache_dir=/a b can't keep it, nor --phase"),
    ],
)
def test_arguments_are_told_as_flags(error, sentence):
    assert in_flags(error, FLAGS) == sentence


def test_an_argument_error_is_a_value_error_of_keras_form():
    error = ArgumentError("num_labels", 13, "must be a multiple of 10")
    assert isinstance(error, ValueError)
    assert str(error) == "Argument `num_labels` must be a multiple of 10. Received: num_labels=13"
    assert (error.argument, error.value, error.reason) == ("num_labels", 13, "must be a multiple of 10")
