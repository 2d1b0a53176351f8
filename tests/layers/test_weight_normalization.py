import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mt.layers import WeightNormalizedConv2D, WeightNormalizedDense, initialize_from_batch
from keras_mt.layers.centered import mean_of_convolution

LAYERS = {
    "conv_3x3_same": lambda: WeightNormalizedConv2D(4, 3, negative_slope=0.1),
    "conv_3x3_valid": lambda: WeightNormalizedConv2D(4, 3, padding="valid", negative_slope=0.1),
    "conv_1x1": lambda: WeightNormalizedConv2D(4, 1, negative_slope=0.1),
    "dense": lambda: WeightNormalizedDense(4),
}


@pytest.mark.parametrize("kind", LAYERS)
def test_layers_equal_the_golden_values(golden, kind):
    values = golden("weight_normalization")
    batches = "dense" if kind == "dense" else "conv"
    first, second = (tf.constant(values[f"{batches}_{n}_batch"]) for n in ("first", "second"))
    layer = LAYERS[kind]()
    inputs = keras.Input(first.shape[1:])
    network = keras.Model(inputs, layer(inputs))
    layer.v.assign(values[f"{kind}/V"])

    initialize_from_batch(network, first)
    np.testing.assert_allclose(layer.g.numpy(), values[f"{kind}/g"], atol=1e-5, rtol=1e-5)
    np.testing.assert_allclose(layer.b.numpy(), values[f"{kind}/b"], atol=1e-5)
    np.testing.assert_array_equal(layer.running_mean.numpy(), 0.0)
    for update in (1, 2, 3):
        output = network(second, training=True)
        np.testing.assert_allclose(output, values[f"{kind}/training_output"], atol=1e-5, rtol=1e-5)
        expected = values[f"{kind}/running_mean_after_{update}_updates"]
        np.testing.assert_allclose(layer.running_mean.numpy(), expected, atol=1e-5, rtol=1e-3)
    output = network(first, training=False)
    np.testing.assert_allclose(output, values[f"{kind}/evaluation_output"], atol=1e-5, rtol=1e-5)


def test_the_first_batch_leaves_with_mean_0_and_variance_1():
    inputs = keras.Input((9, 9, 3))
    network = keras.Model(inputs, WeightNormalizedConv2D(6, 3)(WeightNormalizedConv2D(5, 3)(inputs)))
    images = np.random.default_rng(0).normal(3.0, 2.0, size=(40, 9, 9, 3)).astype("float32")
    initialize_from_batch(network, images)
    output = network(images, training=True).numpy()
    np.testing.assert_allclose(output.mean(axis=(0, 1, 2)), 0.0, atol=1e-4)
    np.testing.assert_allclose(output.std(axis=(0, 1, 2)), 1.0, atol=1e-3)


def test_the_length_of_v_does_not_matter_and_gradients_reach_v_g_and_b():
    layer = WeightNormalizedConv2D(4, 3)
    images = tf.random.stateless_normal((5, 8, 8, 2), [1, 2])
    before = layer(images, training=True)
    layer.v.assign(layer.v * 7.0)
    np.testing.assert_allclose(layer(images, training=True), before, atol=1e-5)
    with tf.GradientTape() as tape:
        cost = tf.reduce_sum(tf.square(layer(images, training=True) - 1.0))
    for slope in tape.gradient(cost, layer.trainable_variables):
        assert np.abs(slope.numpy()).max() > 0


def test_statistics_and_weights_stay_float32_under_bfloat16():
    layer = WeightNormalizedConv2D(4, 3, dtype="mixed_bfloat16")
    output = layer(tf.zeros((2, 8, 8, 1)), training=True)
    assert output.dtype == tf.bfloat16
    assert {w.dtype for w in layer.weights} == {"float32"}


def test_shapes_and_configs_of_the_layers():
    layer = WeightNormalizedConv2D(4, 3, padding="valid", momentum=0.9)
    again = WeightNormalizedConv2D.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    assert layer.compute_output_shape((None, 8, 7, 2)) == (None, 6, 5, 4)
    assert layer(tf.zeros((2, 8, 7, 2))).shape == (2, 6, 5, 4)


@pytest.mark.parametrize(
    "arguments", [{"filters": 0, "kernel_size": 3}, {"filters": 2, "kernel_size": 3, "padding": "x"}]
)
def test_bad_arguments_are_named(arguments):
    with pytest.raises(ValueError, match="Received"):
        WeightNormalizedConv2D(**arguments)


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(("size", "kernel_size"), [((8, 8), 3), ((5, 9), 3), ((6, 7), 4), ((3, 4), 1), ((2, 3), 2)])
def test_the_mean_known_before_the_convolution_is_the_mean_after_it(padding, size, kernel_size):
    images = 3.0 + tf.random.stateless_normal((5, *size, 2), [1, 2])
    kernel = tf.random.stateless_normal((kernel_size, kernel_size, 2, 4), [3, 4])
    after = tf.reduce_mean(tf.nn.conv2d(images, kernel, 1, padding.upper()), axis=(0, 1, 2))
    np.testing.assert_allclose(mean_of_convolution(images, kernel, padding), after, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("negative_slope", [1.0, 0.1, 0.0])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_the_gradient_of_the_centered_layer_equals_automatic_differentiation(padding, negative_slope):
    layer = WeightNormalizedConv2D(4, 3, padding, negative_slope=negative_slope)
    images = tf.random.stateless_normal((5, 8, 8, 2), [1, 2])
    layer(images)
    layer.b.assign([0.1, -0.2, 0.3, 0.0])
    slopes = []
    for automatic in (False, True):
        with tf.GradientTape() as tape:
            tape.watch(images)
            if automatic:
                kernel = layer.v * layer.g / tf.sqrt(tf.reduce_sum(tf.square(layer.v), axis=(0, 1, 2)))
                plain = tf.nn.conv2d(images, kernel, 1, padding.upper())
                output = tf.nn.leaky_relu(plain - tf.reduce_mean(plain, axis=(0, 1, 2)) + layer.b, negative_slope)
            else:
                output = layer(images, training=True)
            cost = tf.reduce_sum(tf.sin(output))
        variables = [images, *(v.value for v in layer.trainable_variables)]
        slopes.append(tape.gradient(cost, variables))
    for ours, reference in zip(*slopes, strict=True):
        np.testing.assert_allclose(ours, reference, rtol=1e-4, atol=1e-4)
