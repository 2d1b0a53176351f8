"""What all residual networks have in common."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_mt
from keras_mt import losses
from keras_mt.architectures import resnext152, shake_shake26, wide_resnet28
from keras_mt.views import noise_variables, set_noise

SMALL = {
    "shake_shake26": lambda **kw: shake_shake26((8, 8, 3), 4, width=1 / 16, blocks=(1, 1, 1), translate=1, **kw),
    "resnext152": lambda **kw: resnext152((32, 32, 3), 4, width=1 / 16, blocks=(1, 1), **kw),
    "wide_resnet28": lambda **kw: wide_resnet28((8, 8, 3), 4, width=1 / 8, blocks=(1, 1, 1), translate=1, **kw),
}


def test_costs_equal_the_golden_values_of_the_residual_networks(golden):
    value = golden("residual")
    student, teacher = value["student_logits"], value["teacher_logits"]
    for cost, name in (
        (losses.MSEConsistency("sum"), "mse_sum"),
        (losses.KLConsistency("sum"), "kl_sum"),
        (losses.LogitDistance("mean", "sum"), "logit_distance_sum"),
    ):
        np.testing.assert_allclose(float(cost(teacher, student)), value[name], rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("heads", [1, 2])
@pytest.mark.parametrize("name", sorted(SMALL))
def test_a_small_one_learns_with_a_teacher(name, heads):
    network = SMALL[name](num_heads=heads)
    random = np.random.default_rng(0)
    patterns = random.normal(size=(4, *network.input_shape[1:])).astype("float32")
    classes = np.arange(64) % 4
    images = patterns[classes] + 0.3 * random.normal(size=(64, *network.input_shape[1:])).astype("float32")
    labels = np.where(np.arange(64) < 32, classes, -1)
    model = keras_mt.MeanTeacher(network, two_heads=heads == 2, logit_distance_weight=0.01 if heads == 2 else 0.0)
    model.compile(keras_mt.optimizers.NesterovSGD(0.05, l2_weight_decay=1e-4))
    callback = keras_mt.MeanTeacherCallback(1.0, ema_decay=0.9, ema_warmup=True, verbose=False)
    history = model.fit(images, labels, batch_size=32, epochs=20, verbose=0, callbacks=[callback]).history
    assert np.mean(history["classification_cost"][-3:]) < 0.6 * history["classification_cost"][0]
    statistics = [w for w in model.teacher.weights if "moving_mean" in w.path]
    assert statistics
    assert all(np.abs(w.numpy()).max() > 0 for w in statistics)  # The teacher's own passes move them.


@pytest.mark.parametrize(
    "name", ["wide_resnet28", *(pytest.param(name, marks=pytest.mark.slow) for name in ("resnext152", "shake_shake26"))]
)
def test_gradients_are_the_same_each_time_bit_for_bit(name):
    # Deep and large enough for work of its branches to overlap: with gradients of three parts this failed.
    network = {
        "shake_shake26": lambda: shake_shake26((32, 32, 3), 4, width=1 / 8),
        "resnext152": lambda: resnext152((32, 32, 3), 4, width=1 / 32, blocks=(2, 2)),
        "wide_resnet28": lambda: wide_resnet28((32, 32, 3), 4, width=1 / 4),
    }[name]()
    images = tf.random.stateless_normal((128, 32, 32, 3), [1, 2])
    variables = noise_variables(network)

    @tf.function
    def gradients():
        set_noise(variables, 1, tf.constant(0, "int64"), 0)
        with tf.GradientTape() as tape:
            cost = tf.add_n([tf.reduce_sum(tf.sin(head)) for head in tf.nest.flatten(network(images, training=True))])
        return tape.gradient(cost, network.trainable_variables)

    first = [slope.numpy() for slope in gradients()]
    for _ in range(4):
        for slope, again in zip(first, gradients(), strict=True):
            np.testing.assert_array_equal(slope, again)


@pytest.mark.parametrize("name", SMALL)
def test_a_network_survives_saving(tmp_path, name):
    network = SMALL[name](num_heads=2, flip=True)
    images = np.random.default_rng(0).normal(size=(3, *network.input_shape[1:])).astype("float32")
    network.save(tmp_path / "network.keras")
    again = keras.models.load_model(tmp_path / "network.keras")
    for ours, theirs in zip(again(images), network(images), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


@pytest.mark.parametrize("name", SMALL)
def test_logits_stay_float32_under_bfloat16(name):
    network = SMALL[name](num_heads=1, dtype="mixed_bfloat16")
    assert network(np.zeros((2, *network.input_shape[1:]), "uint8")).dtype == "float32"
    assert {w.dtype for w in network.weights} == {"float32"}
