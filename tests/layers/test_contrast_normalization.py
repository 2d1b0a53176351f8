import numpy as np
import pytest

from keras_mt.layers import GlobalContrastNormalization


def test_images_have_mean_0_and_the_asked_for_norm_and_flat_ones_stay_finite():
    images = np.random.default_rng(0).integers(0, 256, (3, 6, 5, 2)).astype("uint8")
    images[2] = 7
    output = GlobalContrastNormalization(norm=3.0)(images).numpy()
    np.testing.assert_allclose(output.mean(axis=(1, 2, 3)), 0.0, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(output[:2].reshape(2, -1), axis=1), 3.0, rtol=1e-5)
    np.testing.assert_array_equal(output[2], 0.0)


@pytest.mark.parametrize("norm", [0.0, -1.0])
def test_a_norm_that_is_not_positive_is_named(norm):
    with pytest.raises(ValueError, match=f"`norm` must be positive. Received: norm={norm}"):
        GlobalContrastNormalization(norm)
