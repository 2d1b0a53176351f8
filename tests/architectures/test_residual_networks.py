import keras
import numpy as np
import pytest
import tensorflow as tf
from support.networks import values

import keras_mt
from keras_mt import losses
from keras_mt.architectures import resnext152, shake_shake26, wide_resnet28
from keras_mt.architectures.residual_layers import ResidualLayers
from keras_mt.architectures.shake_shake26 import shift_convolution
from keras_mt.layers import ShakeShake
from keras_mt.views import noise_variables, set_noise

SMALL = {
    "shake_shake26": lambda **kw: shake_shake26((8, 8, 3), 4, width=1 / 16, blocks=(1, 1, 1), translate=1, **kw),
    "resnext152": lambda **kw: resnext152((32, 32, 3), 4, width=1 / 16, blocks=(1, 1), **kw),
    "wide_resnet28": lambda **kw: wide_resnet28((8, 8, 3), 4, width=1 / 8, blocks=(1, 1, 1), translate=1, **kw),
}


def trainable_numbers(network):
    return sum(int(np.prod(w.shape)) for w in network.trainable_weights)


def test_shake_shake_has_the_papers_number_of_weights():
    assert trainable_numbers(shake_shake26((32, 32, 3), 10)) == 26_197_316


def test_wide_resnet_has_the_published_number_of_weights():
    assert trainable_numbers(wide_resnet28((32, 32, 3), 10)) == 1_469_642


def test_resnext_has_the_papers_number_of_weights():
    assert trainable_numbers(resnext152((224, 224, 3), 1000)) == 62_000_400


def test_the_shift_convolution_equals_the_golden_values(golden):
    value = golden("residual")
    inputs = value["shift_conv/input_nhwc"]
    images = keras.Input(inputs.shape[1:])
    network = keras.Model(images, shift_convolution(ResidualLayers("float32"), images, 8))
    kernel = value["shift_conv/kernel_oihw"].transpose(2, 3, 1, 0)
    halves = [layer for layer in network.layers if isinstance(layer, keras.layers.Conv2D)]
    for layer, part in zip(halves, (slice(0, 4), slice(4, 8)), strict=True):
        layer.set_weights([kernel[..., part], value["shift_conv/bias"][part]])
    np.testing.assert_allclose(network(inputs, training=False), value["shift_conv/output_nhwc"], atol=1e-5)


def test_costs_equal_the_golden_values_of_the_residual_networks(golden):
    value = golden("residual")
    student, teacher = value["student_logits"], value["teacher_logits"]
    for cost, name in (
        (losses.MSEConsistency("sum"), "mse_sum"),
        (losses.KLConsistency("sum"), "kl_sum"),
        (losses.LogitDistance("mean", "sum"), "logit_distance_sum"),
    ):
        np.testing.assert_allclose(float(cost(teacher, student)), value[name], rtol=1e-5)


def test_forward_and_backward_gates_are_drawn_apart_for_each_example():
    layer = ShakeShake(seed=1)
    first, second = tf.ones((500, 2, 2, 1)), tf.zeros((500, 2, 2, 1))
    with tf.GradientTape() as tape:
        tape.watch([first, second])
        output = layer([first, second], training=True)
        cost = tf.reduce_sum(output)
    forward = output.numpy()  # The gate itself: g·1 + (1 - g)·0.
    backward, other = (slope.numpy() for slope in tape.gradient(cost, [first, second]))
    np.testing.assert_allclose(backward + other, 1.0, atol=1e-6)
    for gates in (forward, backward):
        assert (gates == gates[:, :1, :1]).all()
        assert 0 < gates.min() < 0.02
        assert 0.98 < gates.max() < 1
        np.testing.assert_allclose([gates.mean(), gates.std()], [0.5, 12**-0.5], atol=0.03)
    assert abs(np.corrcoef(forward[:, 0, 0, 0], backward[:, 0, 0, 0])[0, 1]) < 0.15


def test_both_branches_count_half_in_evaluation():
    outputs = ShakeShake()([tf.fill((3, 2, 2, 1), 1.0), tf.fill((3, 2, 2, 1), 4.0)], training=False)
    np.testing.assert_array_equal(outputs, 2.5)


def test_a_stride_of_two_pads_both_sides():
    make = ResidualLayers("float32")
    images = keras.Input((6, 6, 1))
    network = keras.Model(images, make.convolution(images, 1, 3, 2))
    network.set_weights([np.ones((3, 3, 1, 1), "float32")])
    pixel = np.zeros((1, 6, 6, 1), "float32")
    pixel[0, 0, 0] = 1.0  # Seen by the output at (0, 0) only if rows -1 to 1 are.
    output = network(pixel).numpy()[0, :, :, 0]
    assert output.shape == (3, 3)
    assert output[0, 0] == 1.0


@pytest.mark.parametrize("heads", [pytest.param(1, marks=pytest.mark.slow), 2])
@pytest.mark.parametrize("name", SMALL)
def test_a_small_one_learns_with_a_teacher(name, heads):
    network = SMALL[name](num_heads=heads)
    random = np.random.default_rng(0)
    patterns = random.normal(size=(4, *network.input_shape[1:])).astype("float32")
    classes = np.arange(64) % 4
    images = patterns[classes] + 0.3 * random.normal(size=(64, *network.input_shape[1:])).astype("float32")
    labels = np.where(np.arange(64) < 32, classes, -1)
    model = keras_mt.MeanTeacher(network, logit_distance_weight=0.01 if heads == 2 else 0.0)
    model.compile(keras_mt.optimizers.NesterovSGD(0.05, l2_weight_decay=1e-4))
    callback = keras_mt.MeanTeacherCallback(1.0, ema_decay=0.9, ema_warmup=True, verbose=False)
    history = model.fit(images, labels, batch_size=32, epochs=20, verbose=0, callbacks=[callback]).history
    assert np.mean(history["classification_cost"][-3:]) < 0.6 * history["classification_cost"][0]
    statistics = [w for w in model.teacher.weights if "moving_mean" in w.path]
    assert statistics
    assert all(np.abs(w.numpy()).max() > 0 for w in statistics)  # The teacher's own passes move them.


@pytest.mark.parametrize("name", SMALL)
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


@pytest.mark.parametrize(
    ("make", "arguments"),
    [
        (shake_shake26, {"input_shape": (30, 32, 3)}),
        (shake_shake26, {"input_shape": (8, 8, 3), "num_heads": 3}),
        (resnext152, {"input_shape": (16, 32, 3)}),
        (wide_resnet28, {"input_shape": (8, 8, 3), "width": 0}),
    ],
)
def test_bad_arguments_are_named(make, arguments):
    with pytest.raises(ValueError, match="Received"):
        make(num_classes=4, **arguments)


@pytest.mark.slow
def test_resnext_152_takes_a_step_at_full_size():
    network = resnext152((224, 224, 3), 1000)
    model = keras_mt.MeanTeacher(network, consistency="kl", logit_distance_weight=0.01)
    model.compile(keras_mt.optimizers.NesterovSGD(0.025, l2_weight_decay=5e-5))
    images = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3)).astype("uint8")
    before = values(model.student.trainable_variables)
    callback = keras_mt.MeanTeacherCallback(10.0, ema_decay=0.9997, ema_warmup=True)
    history = model.fit(images, np.array([7, -1]), batch_size=2, verbose=0, callbacks=[callback]).history
    assert np.isfinite(history["loss"]).all()
    assert all((a != b.numpy()).any() for a, b in zip(before, model.student.trainable_variables, strict=True))
