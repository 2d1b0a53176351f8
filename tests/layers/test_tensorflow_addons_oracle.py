"""This package's layers against tensorflow-addons, by the numbers of `tools/tensorflow_addons_oracle.py`."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mt.layers import WeightNormalizedConv2D, WeightNormalizedDense, initialize_from_batch
from keras_mt.layers.random_translation import translate

LAYERS = {
    "conv_same": (lambda: WeightNormalizedConv2D(4, 3), "images"),
    "conv_valid": (lambda: WeightNormalizedConv2D(4, 3, "valid"), "images"),
    "dense": (lambda: WeightNormalizedDense(4), "vectors"),
}


@pytest.mark.parametrize("name", LAYERS)
def test_weight_normalization_and_its_gradients_equal_tensorflow_addons(golden, name):
    numbers = golden("tensorflow_addons")
    make, inputs = LAYERS[name]
    layer = make()
    layer.build(numbers[inputs].shape)
    for weight in "vgb":
        getattr(layer, weight).assign(numbers[f"{name}_{weight}"])
    with tf.GradientTape() as tape:
        # In evaluation with running means of 0: tensorflow-addons has no mean-only batch normalization.
        outputs = layer(numbers[inputs], training=False)
        loss = tf.reduce_sum(outputs * numbers[f"{name}_slope"])
    gradients = tape.gradient(loss, [layer.v.value, layer.g.value, layer.b.value])
    np.testing.assert_allclose(outputs, numbers[f"{name}_outputs"], rtol=1e-5, atol=2e-6)
    for weight, gradient in zip("vgb", gradients, strict=True):
        expected = numbers[f"{name}_gradient_{weight}"]
        np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("name", LAYERS)
def test_initialization_normalizes_the_first_batch_and_that_of_tensorflow_addons_does_not(golden, name):
    numbers = golden("tensorflow_addons")
    make, inputs = LAYERS[name]
    layer = make()
    network = keras.Sequential([keras.Input(numbers[inputs].shape[1:]), layer])
    layer.v.assign(numbers[f"{name}_v"])
    initialize_from_batch(network, numbers[inputs])
    ours, theirs = network(numbers[inputs], training=True).numpy(), numbers[f"{name}_first_outputs"]
    axes = tuple(range(ours.ndim - 1))
    np.testing.assert_allclose(ours.mean(axes), 0, atol=1e-5)
    np.testing.assert_allclose(ours.std(axes), 1, atol=1e-4)
    # It measures with V as it is and normalizes V afterwards. BUILD.md has these figures.
    assert np.abs(theirs.mean(axes)).max() > 0.2
    assert np.abs(theirs.std(axes) - 1).max() > 0.1


def test_translation_equals_tensorflow_addons_where_no_border_is_filled(golden):
    numbers = golden("tensorflow_addons")
    horizontal, vertical = numbers["offsets"].astype(int).T
    ours = translate(tf.constant(numbers["images"]), tf.constant(vertical), tf.constant(horizontal)).numpy()
    inner = slice(2, -2)
    np.testing.assert_array_equal(ours[:, inner, inner], numbers["translated"][:, inner, inner])
    # At the border "reflect" there repeats the edge pixel, `tf.pad`'s REFLECT and this package's do not.
    assert not np.array_equal(ours[3], numbers["translated"][3])
