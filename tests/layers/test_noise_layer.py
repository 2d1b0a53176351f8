"""What all layers with noise have in common."""

import numpy as np
import pytest
import tensorflow as tf

from keras_mt.layers import Dropout, GaussianNoise, RandomHorizontalFlip, RandomPixelTranslation

LAYERS = [
    Dropout(0.3, seed=1),
    GaussianNoise(0.5, seed=1),
    RandomHorizontalFlip(seed=1),
    RandomPixelTranslation(2, seed=1),
]


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)
def test_noise_is_off_in_evaluation(layer):
    images = np.random.default_rng(0).normal(size=(8, 6, 6, 2)).astype("float32")
    np.testing.assert_array_equal(layer(images), images)
    assert (layer(images, training=True).numpy() != images).any()


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)
def test_draws_are_the_same_with_and_without_xla(layer):
    # Keras' own Dropout and GaussianNoise draw other numbers under XLA.
    images = np.random.default_rng(0).normal(size=(8, 6, 6, 2)).astype("float32")
    outputs = []
    for jit_compile in (False, True):
        again = type(layer).from_config(layer.get_config())
        outputs.append(tf.function(lambda x, again=again: again(x, training=True), jit_compile=jit_compile)(images))
    np.testing.assert_allclose(*outputs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)
def test_noise_layers_keep_the_compute_dtype(layer):
    config = {**layer.get_config(), "dtype": "mixed_bfloat16"}
    config["name"] = "again"
    output = type(layer).from_config(config)(tf.ones((2, 6, 6, 1)), training=True)
    assert output.dtype == tf.bfloat16


@pytest.mark.parametrize(
    "make",
    [lambda: Dropout(1.0), lambda: Dropout(-0.1), lambda: GaussianNoise(-1.0), lambda: RandomPixelTranslation(-1)],
)
def test_bad_arguments_are_named(make):
    with pytest.raises(ValueError, match="Received"):
        make()
