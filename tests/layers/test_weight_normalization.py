import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mt.layers import Dropout, WeightNormalizedConv2D, WeightNormalizedDense, initialize_from_batch

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


class MovingMean(keras.layers.Layer):
    """A layer of a user's, with a statistic and noise of its own."""

    def build(self, input_shape):
        self.mean = self.add_weight(shape=(input_shape[-1],), initializer="zeros", trainable=False)
        self.seen = self.add_weight(shape=(), initializer="zeros", dtype="int32", trainable=False)
        self.seed_generator = keras.random.SeedGenerator(1)

    def call(self, inputs, training=None):
        if training:
            self.mean.assign(0.9 * self.mean + 0.1 * keras.ops.mean(inputs, axis=(0, 1, 2)))
            self.seen.assign_add(1)
            inputs = inputs + keras.random.normal(keras.ops.shape(inputs), seed=self.seed_generator)
        return inputs


@pytest.mark.parametrize(
    "make",
    [
        keras.layers.BatchNormalization,
        lambda: keras.layers.BatchNormalization(renorm=True),
        lambda: keras.layers.GroupNormalization(2),
        keras.layers.UnitNormalization,
        lambda: keras.layers.SpectralNormalization(keras.layers.Conv2D(4, 3)),
        lambda: keras.layers.Dropout(0.5, seed=1),
        lambda: Dropout(0.5, seed=1),
        MovingMean,
        lambda: keras.Sequential([keras.layers.Conv2D(4, 1), MovingMean(), keras.layers.BatchNormalization()]),
    ],
)
def test_initialization_leaves_all_but_g_and_b_as_it_was(make):
    first, last = WeightNormalizedConv2D(4, 3), WeightNormalizedDense(3)
    network = keras.Sequential([keras.Input((9, 9, 2)), first, make(), keras.layers.Flatten(), last])
    images = np.random.default_rng(0).normal(3.0, 2.0, size=(20, 9, 9, 2)).astype("float32")
    network(images, training=True)  # So that statistics are no longer those of the start.
    before = {v.path: np.array(v) for v in network.variables}
    initialize_from_batch(network, images)
    changed = {v.path for v in network.variables if (np.array(v) != before[v.path]).any()}
    assert changed == {first.g.path, last.g.path}  # b was zero before.


def test_an_initialization_that_fails_changes_nothing():
    network = keras.Sequential(
        [
            keras.Input((9, 9, 2)),
            keras.layers.BatchNormalization(),
            WeightNormalizedConv2D(4, 3),
            keras.layers.Flatten(),
        ]
    )
    before = network.get_weights()
    with pytest.raises(ValueError, match="incompatible"):
        initialize_from_batch(network, np.ones((4, 9, 9, 3), "float32"))
    for old, new in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(new, old)


def test_a_batch_without_rows_initializes_nothing_and_is_named():
    network = keras.Sequential([keras.Input((4,)), WeightNormalizedDense(3)])
    with pytest.raises(ValueError, match=r"`batch` must have at least one row.*\(0, 4\)"):
        initialize_from_batch(network, np.ones((0, 4), "float32"))


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


# Statistics and weights are of float32, and under float64 of float64: (dtype policy, dtype of what is computed).
PRECISIONS = [
    ("float32", "float32"),
    ("float64", "float64"),
    ("bfloat16", "bfloat16"),
    ("float16", "float16"),
    ("mixed_bfloat16", "bfloat16"),
    ("mixed_float16", "float16"),
]


@pytest.mark.parametrize(("policy", "computed"), PRECISIONS)
def test_layers_train_under_every_dtype_policy_with_weights_in_full_precision(policy, computed):
    layers = [
        WeightNormalizedConv2D(4, 3, negative_slope=0.1, dtype=policy),
        keras.layers.Flatten(dtype=policy),
        WeightNormalizedDense(3, dtype=policy),
    ]
    network = keras.Sequential([keras.Input((8, 8, 1), dtype=computed), *layers])
    images = np.random.default_rng(0).normal(size=(12, 8, 8, 1)).astype("float32")
    initialize_from_batch(network, images)
    network.compile(
        keras.optimizers.SGD(0.05), keras.losses.SparseCategoricalCrossentropy(from_logits=True), auto_scale_loss=False
    )
    losses = network.fit(images, np.arange(12) % 3, batch_size=6, epochs=6, verbose=0).history["loss"]
    assert float(losses[-1]) < 0.8 * float(losses[0])
    assert network(images).dtype == computed
    assert {w.dtype for w in network.weights} == {"float64" if policy == "float64" else "float32"}


def test_float64_is_computed_in_float64_throughout():
    """The outputs and the running mean are those of NumPy to 12 digits, which no float32 on the way has."""
    random = np.random.default_rng(0)
    x = random.normal(3.0, 1.0, (7, 5))
    layer = WeightNormalizedDense(3, momentum=0.0, dtype="float64")
    output = layer(x, training=True).numpy()
    v = layer.v.numpy()
    mapped = x @ (v / np.linalg.norm(v, axis=0))
    np.testing.assert_allclose(output, mapped - mapped.mean(0), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(layer.running_mean, (x @ v).mean(0), rtol=1e-12)
    images, layer = random.normal(3.0, 1.0, (4, 7, 7, 2)), WeightNormalizedConv2D(3, 3, dtype="float64")
    output = layer(images, training=True).numpy()
    np.testing.assert_allclose(output.mean(axis=(0, 1, 2)), 0.0, atol=1e-13)


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


@pytest.mark.parametrize("shape", [(2, 30), (2, 7, 30), (2, 1, 20, 30), (2, 3, 1, 20, 30)])
@pytest.mark.parametrize("training", [False, True])
def test_a_dense_layer_treats_each_position_alike(shape, training):
    """`tf.matmul` of four axes is wrong in TensorFlow 2.21 with oneDNN."""
    x = np.random.default_rng(0).normal(size=shape).astype("float32")
    layer = WeightNormalizedDense(16)
    layer.build(shape)
    flat = layer(x.reshape(-1, shape[-1]), training=training).numpy()
    np.testing.assert_allclose(layer(x, training=training).numpy().reshape(flat.shape), flat, atol=1e-5)
