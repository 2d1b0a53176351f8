import keras
import numpy as np
import pytest
import tensorflow as tf
from support.forked import Forked

from keras_mt import schedules
from keras_mt.optimizers import ScheduledAdam


def steps_of(optimizer, start, slopes):
    variable = keras.Variable(start)
    for slope in slopes:
        optimizer.apply([tf.constant(slope)], [variable])
    return variable.numpy()


@pytest.fixture
def slopes():
    return np.random.default_rng(0).normal(size=(12, 5)).astype("float32")


def test_with_constant_betas_it_is_adam_of_tensorflow_1(slopes):
    start = np.ones(5, "float32")
    reference = tf.Variable(start)
    adam = tf.compat.v1.train.AdamOptimizer(0.01, 0.8, 0.95, 1e-3)
    for slope in slopes:
        adam.apply_gradients([(tf.constant(slope), reference)])
    ours = steps_of(ScheduledAdam(0.01, 0.8, 0.95, epsilon=1e-3), start, slopes)
    np.testing.assert_allclose(ours, reference.numpy(), rtol=1e-5)


def test_changing_betas_are_corrected_by_their_products(slopes):
    beta_1, beta_2 = schedules.StepSwitch(0.9, 0.5, 4), schedules.StepSwitch(0.99, 0.999, 6)
    ours = steps_of(ScheduledAdam(0.01, beta_1, beta_2), np.ones(5, "float32"), slopes)
    theta, m, v, product_1, product_2 = np.ones(5), np.zeros(5), np.zeros(5), 1.0, 1.0
    for t, slope in enumerate(slopes.astype("float64")):
        b1, b2 = (0.9 if t < 4 else 0.5), (0.99 if t < 6 else 0.999)
        product_1, product_2 = product_1 * b1, product_2 * b2
        m, v = b1 * m + (1 - b1) * slope, b2 * v + (1 - b2) * slope**2
        theta -= 0.01 * np.sqrt(1 - product_2) / (1 - product_1) * m / (np.sqrt(v) + 1e-8)
    np.testing.assert_allclose(ours, theta, rtol=1e-5)


def test_accumulated_gradients_make_one_step_and_move_the_products_once(slopes):
    plain = ScheduledAdam(0.01)
    accumulating = ScheduledAdam(0.01, gradient_accumulation_steps=2)
    expected = steps_of(plain, np.ones(5, "float32"), (slopes[0::2] + slopes[1::2]) / 2)
    actual = steps_of(accumulating, np.ones(5, "float32"), slopes)
    np.testing.assert_allclose(actual, expected, rtol=1e-5)


def products(optimizer):
    return [float(variable) for variable in optimizer.variables if "product" in variable.name]


@pytest.mark.parametrize("missing", [0, 1])
def test_a_variable_without_a_gradient_does_not_keep_the_products_from_moving(slopes, missing):
    variables = [keras.Variable(np.ones(5, "float32")) for _ in range(2)]
    gradients = [tf.constant(slopes[0])] * 2
    gradients[missing] = None
    optimizer = ScheduledAdam(0.01, 0.8, 0.95)
    with pytest.warns(UserWarning, match="Gradients do not exist"):
        optimizer.apply(gradients, variables)
    np.testing.assert_allclose(products(optimizer), [0.8, 0.95], rtol=1e-6)


@pytest.mark.parametrize("run", [lambda step: step, tf.function], ids=["eager", "graph"])
def test_each_variable_may_have_a_learning_rate_of_its_own(slopes, run):
    class OfLayers(ScheduledAdam):
        def update_step(self, gradient, variable, learning_rate):
            super().update_step(gradient, variable, learning_rate * (1.0, 0.1)[self._get_variable_index(variable)])

    variables = [keras.Variable(np.zeros(5, "float32")) for _ in range(2)]
    optimizer = OfLayers(0.01)
    optimizer.build(variables)
    run(lambda: optimizer.apply([tf.constant(slopes[0])] * 2, variables))()
    np.testing.assert_allclose(variables[1], 0.1 * variables[0].numpy(), rtol=1e-6)
    assert np.abs(variables[0]).min() > 1e-3


def test_a_step_that_failed_leaves_nothing_to_those_after_it(slopes):
    variable = keras.Variable(np.zeros(5, "float32"))
    optimizer = ScheduledAdam(0.01, beta_1=schedules.StepSwitch(0.5, 0.9, 1))
    optimizer.build([variable])
    with pytest.raises(tf.errors.InvalidArgumentError):
        optimizer.apply([tf.zeros(3)], [variable])
    optimizer.iterations.assign(1)
    optimizer.update_step(tf.constant(slopes[0]), variable, 0.01)
    np.testing.assert_allclose(optimizer._momentums[0], 0.1 * slopes[0], rtol=1e-5)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_step_that_is_skipped_for_an_infinite_gradient_moves_no_product(slopes, jit_compile):
    inner = ScheduledAdam(0.01, 0.8, 0.95)
    optimizer = keras.optimizers.LossScaleOptimizer(inner)
    variable = keras.Variable(np.ones(5, "float32"))
    optimizer.build([variable])
    step = tf.function(lambda slope: optimizer.apply([slope], [variable]), jit_compile=jit_compile)
    for slope in (slopes[0], np.full(5, np.inf, "float32"), slopes[1]):
        step(tf.constant(slope))
    np.testing.assert_allclose(products(inner), [0.8**2, 0.95**2], rtol=1e-6)


# Two replicas, each with half of a batch, against one that has all of it.
UNDER_A_STRATEGY = """
import keras, numpy as np, tensorflow as tf
from keras_mt import optimizers, schedules
device = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(device, [tf.config.LogicalDeviceConfiguration()] * 2)
x = np.random.default_rng(0).normal(size=(64, 6)).astype("float32")
weights = []
for devices in (["CPU:0"], ["CPU:0", "CPU:1"]):
    keras.utils.set_random_seed(1)
    with tf.distribute.MirroredStrategy(devices).scope():
        model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(8, activation="tanh"), keras.layers.Dense(1)])
        betas = schedules.StepSwitch(0.9, 0.5, 4), schedules.StepSwitch(0.99, 0.999, 6)
        optimizer = optimizers.ScheduledAdam(0.05, *betas)
        model.compile(optimizer, "mse")
    model.fit(x, x @ np.arange(6.0), batch_size=8, shuffle=False, verbose=0)
    weights.append(np.concatenate([weight.numpy().ravel() for weight in model.weights]))
    products = [variable.numpy() for variable in optimizer.variables if "product" in variable.name]
    np.testing.assert_allclose(products, [0.9**4 * 0.5**4, 0.99**6 * 0.999**2], rtol=1e-6)
np.testing.assert_allclose(*weights, rtol=1e-5, atol=1e-6)
"""


def test_two_replicas_make_the_steps_of_one(tmp_path):
    # In a process of its own, since devices are set before any use.
    (tmp_path / "code.py").write_text(UNDER_A_STRATEGY)
    process = Forked(tmp_path / "code.py")
    errors = process.communicate(timeout=300)[1]
    assert process.returncode == 0, errors


def test_config_round_trips_with_schedules():
    optimizer = ScheduledAdam(schedules.RampUpDown(0.1, 3), 0.8, schedules.StepSwitch(0.9, 0.99, 2))
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert keras.optimizers.serialize(again) == keras.optimizers.serialize(optimizer)
    assert float(again.beta_2(3)) == float(optimizer.beta_2(3))


def test_a_beta_out_of_range_is_refused():
    with pytest.raises(ValueError, match=r"beta_2=1\.0"):
        ScheduledAdam(beta_2=1.0)
