import numpy as np

from keras_mt import layers


def test_standardized_images_have_mean_0_and_deviation_1_and_flat_ones_stay_finite():
    images = np.random.default_rng(0).integers(0, 255, (3, 12, 12, 3)).astype("uint8")
    images[2] = 7
    output = layers.ImageStandardization()(images).numpy()
    np.testing.assert_allclose(output[:2].mean(axis=(1, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(output[:2].std(axis=(1, 2, 3)), 1, atol=1e-5)
    np.testing.assert_array_equal(output[2], 0)
