import numpy as np
import pytest

from keras_mt.data import contrast_normalize, fit_zca
from keras_mt.layers import GlobalContrastNormalization, ZCAWhitening


def test_contrast_normalization_and_zca_equal_the_golden_values(golden):
    values = golden("zca")
    images = values["images"]
    mean, matrix = fit_zca(images)
    normalized = GlobalContrastNormalization()(images)
    np.testing.assert_allclose(np.reshape(normalized, (400, -1)), values["contrast_normalized"], atol=1e-3)
    np.testing.assert_allclose(contrast_normalize(images), values["contrast_normalized"], atol=1e-3)
    layer = ZCAWhitening()
    layer.build((None, 8, 8, 3))
    layer.set_weights([mean, matrix])
    np.testing.assert_allclose(np.reshape(layer(normalized), (400, -1)), values["whitened"], atol=1e-3)


def test_whitening_is_not_fitted_to_a_single_image():
    with pytest.raises(ValueError, match="Argument `images` must hold at least two images. Received: 1"):
        fit_zca(np.zeros((1, 4, 4, 3), "uint8"))
