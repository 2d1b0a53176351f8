import numpy as np
import tensorflow as tf

from keras_mt.layers import ShakeShake


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
