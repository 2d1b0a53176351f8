import keras
import numpy as np
import pytest
import tensorflow as tf

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


def test_config_round_trips_with_schedules():
    optimizer = ScheduledAdam(schedules.RampUpDown(0.1, 3), 0.8, schedules.StepSwitch(0.9, 0.99, 2))
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert keras.optimizers.serialize(again) == keras.optimizers.serialize(optimizer)
    assert float(again.beta_2(3)) == float(optimizer.beta_2(3))


def test_a_beta_out_of_range_is_refused():
    with pytest.raises(ValueError, match=r"beta_2=1\.0"):
        ScheduledAdam(beta_2=1.0)
