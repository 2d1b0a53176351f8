import numpy as np
import pytest

from keras_mt.layers import GlobalContrastNormalization, ImageStandardization, ZCAWhitening


def test_it_is_the_identity_until_its_weights_are_set():
    images = np.random.default_rng(0).normal(size=(4, 3, 2, 2)).astype("float32")
    layer = ZCAWhitening()
    np.testing.assert_allclose(layer(images), images, rtol=1e-6)
    assert layer.trainable_weights == []


def test_it_subtracts_the_mean_and_multiplies_flat_images_by_the_matrix():
    random = np.random.default_rng(0)
    images, mean = random.normal(size=(4, 3, 2, 2)).astype("float32"), random.normal(size=12).astype("float32")
    matrix = random.normal(size=(12, 12)).astype("float32")
    layer = ZCAWhitening()
    layer.build(images.shape)
    layer.set_weights([mean, matrix])
    expected = ((images.reshape(4, 12) - mean) @ matrix).reshape(images.shape)
    np.testing.assert_allclose(layer(images), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("policy", ["float64", "bfloat16", "float16", "mixed_bfloat16"])
@pytest.mark.parametrize("make", [ZCAWhitening, GlobalContrastNormalization, ImageStandardization])
def test_preprocessing_is_computed_in_full_precision_under_every_dtype_policy(make, policy):
    images = np.random.default_rng(0).normal(100.0, 5.0, size=(4, 6, 6, 1))
    layer, reference = make(dtype=policy), make(dtype="float32")
    output = layer(images)
    assert output.dtype == layer.compute_dtype
    assert {w.dtype for w in layer.weights} <= {"float64" if policy == "float64" else "float32"}
    # Nothing but the result is rounded.
    rounding = {"bfloat16": 2**-8, "float16": 2**-11, "float64": 1e-5}[layer.compute_dtype]
    np.testing.assert_allclose(np.asarray(output, "float64"), reference(images), rtol=rounding, atol=1e-5)
