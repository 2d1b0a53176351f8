import numpy as np
import pytest

from keras_mt.errors import ArgumentError
from keras_mt.experiments.datasets import digits
from keras_mt.experiments.datasets.in_memory import load_in_memory


def test_the_validation_phase_never_touches_the_test_images():
    data = load_in_memory("digits", num_labels=50, phase="validation", data_seed=3)
    (train, _), _ = digits.load_digits(16)
    assert len(data.images) + len(data.evaluation_images) == len(train)
    assert len(data.evaluation_images) == 119
    everything = {image.tobytes() for image in train}
    assert {image.tobytes() for image in data.evaluation_images} <= everything
    assert (np.bincount(data.labels[data.labeled]) == 5).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_labels": 55}, "num_labels=55"),
        ({"num_labels": 5000}, "num_labels=5000"),
        ({"num_labels": 1190}, "num_labels=1190"),
        ({"num_extra_unlabeled": 5}, "num_extra_unlabeled=5"),
        ({"phase": "validation", "num_validation": 1198}, "num_validation=1198"),
    ],
)
def test_what_the_data_do_not_have_is_named(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        load_in_memory("digits", **arguments)


def test_cifar10_from_tfds(shared_tfds, tmp_path):
    data = load_in_memory("cifar10", shared_tfds, cache_dir=tmp_path, num_labels=4000)
    assert data.images.shape == (50_000, 32, 32, 3)
    assert data.evaluation_images.shape == (10_000, 32, 32, 3)
    assert (np.bincount(data.labels[data.labeled]) == 400).all()
    assert data.class_names[0] == "airplane"


def test_gray_mnist_from_tfds(shared_tfds, tmp_path):
    data = load_in_memory("mnist", shared_tfds, cache_dir=tmp_path, num_labels=100)
    assert data.images.shape == (8000, 28, 28, 1)
    assert len(data.evaluation_images) == 2000
