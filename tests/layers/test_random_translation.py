import keras
import numpy as np
import pytest

from keras_mt.layers import RandomPixelTranslation
from keras_mt.layers.random_translation import translate


def test_translation_equals_the_golden_values(golden):
    values = golden("translate")
    moved = translate(values["images"], values["vertical_offset"], values["horizontal_offset"])
    np.testing.assert_array_equal(moved, values["translated"])


def test_translation_is_uniform_over_whole_pixels_and_independent_on_each_axis():
    image = np.zeros((4000, 11, 11, 1), "float32")
    image[:, 5, 5] = 1.0
    moved = RandomPixelTranslation(2, seed=3)(image, training=True).numpy()[..., 0]
    counts = moved.sum(axis=0)[3:8, 3:8]
    assert counts.sum() == 4000
    # 25 places, 160 expected of each, standard deviation 12.4.
    assert counts.min() > 100
    assert counts.max() < 220


def test_a_translation_beyond_the_image_is_refused():
    with pytest.raises(ValueError, match="max_pixels=4"):
        RandomPixelTranslation(4)(keras.Input((4, 4, 1)))
