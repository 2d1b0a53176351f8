import hashlib

import numpy as np

from keras_mt.experiments.datasets import digits


def test_digits_are_real_uint8_images_with_a_fixed_test_split():
    (train, train_labels), (test, test_labels) = digits.load_digits(16)
    assert train.shape == (1198, 16, 16, 1)
    assert test.shape == (599, 16, 16, 1)
    assert train.dtype == np.uint8
    assert np.bincount(test_labels).min() > 50
    assert hashlib.sha256(test.tobytes() + train_labels.tobytes()).hexdigest()[:16] == "be09f7cb415ec682"
