import numpy as np
import tensorflow as tf

from keras_mt.data.shuffling import shuffled_places


def test_every_order_of_a_small_stream_can_occur():
    step = tf.constant(0, "int64")
    orders = {tuple(shuffled_places(3, 3, seed, 0, step).numpy()) for seed in range(200)}
    assert len(orders) == 6


def test_the_two_streams_of_a_seed_and_the_passes_of_a_stream_have_orders_of_their_own():
    orders = [
        tuple(shuffled_places(50, 50, seed, stream, tf.constant(step, "int64")).numpy())
        for seed, stream, step in np.ndindex(3, 2, 4)
    ]
    assert len(set(orders)) == len(orders)
    assert all(sorted(order) == list(range(50)) for order in orders)
