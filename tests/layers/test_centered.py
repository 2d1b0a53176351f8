"""The mean of each channel, known before the map is done, and its gradient; also over replicas with unequal shares."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from support.programs import ROOT

from keras_mt.layers import WeightNormalizedConv2D, WeightNormalizedDense
from keras_mt.layers.centered import mean_of_convolution


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(("size", "kernel_size"), [((8, 8), 3), ((5, 9), 3), ((6, 7), 4), ((3, 4), 1), ((2, 3), 2)])
def test_the_mean_known_before_the_convolution_is_the_mean_after_it(padding, size, kernel_size):
    images = 3.0 + tf.random.stateless_normal((5, *size, 2), [1, 2])
    kernel = tf.random.stateless_normal((kernel_size, kernel_size, 2, 4), [3, 4])
    after = tf.reduce_mean(tf.nn.conv2d(images, kernel, 1, padding.upper()), axis=(0, 1, 2))
    np.testing.assert_allclose(mean_of_convolution(images, kernel, padding), after, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rows", [0, None], ids=["known to be none", "unknown"])
def test_no_rows_have_a_gradient_of_zero(rows):
    layer = WeightNormalizedDense(3)
    layer.build((None, 4))

    @tf.function(input_signature=[tf.TensorSpec((rows, 4))])
    def slopes(inputs):
        with tf.GradientTape() as tape:
            cost = tf.reduce_sum(layer(inputs, training=True))
        return tape.gradient(cost, [w.value for w in layer.trainable_weights])

    for slope in slopes(tf.zeros((0, 4))):
        np.testing.assert_array_equal(slope, tf.zeros_like(slope))


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


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Trains in a process of its own (devices are set before any use) and returns the weights after each step."""
    folder, done = tmp_path_factory.mktemp("replicas"), {}
    # oneDNN's convolution of a batch without rows has the shape of its input, and fails (TensorFlow 2.21).
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_ENABLE_ONEDNN_OPTS": "0"}

    def train(**settings):
        key = json.dumps(settings)
        if key not in done:
            path = folder / f"{len(done)}.npz"
            command = [sys.executable, str(ROOT / "tests" / "support" / "unequal_replicas.py"), str(path), key]
            process = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
            assert process.returncode == 0, process.stderr[-3000:]
            done[key] = dict(np.load(path))
        return done[key]

    return train


def test_replicas_with_unequal_and_empty_shares_reproduce_the_weights_of_one_device(trained):
    one, two = trained(replicas=1, synchronized=True), trained(replicas=2, synchronized=True)
    for name, weights in one.items():
        np.testing.assert_allclose(two[name], np.repeat(weights, 2, axis=1), atol=1e-6, err_msg=name)


def test_a_replica_without_rows_keeps_its_own_running_mean_where_it_is(trained):
    weights = trained(replicas=2, synchronized=False)
    assert all(np.isfinite(values).all() for values in weights.values())
    statistics = [values for name, values in weights.items() if name.endswith("running_mean")]
    assert len(statistics) == 3
    for values in statistics:
        updated = np.diff(values, axis=0).any(axis=-1)
        # Of the five batches the third and the fifth have one row.
        np.testing.assert_array_equal(updated, [[1, 1], [1, 1], [1, 0], [1, 1], [1, 0]])
