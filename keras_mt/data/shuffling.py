"""The order of a stream of examples as a function of (seed, step): nothing is replayed to continue at a step.

A stream runs through passes over its examples, without replacement, reshuffled for each pass, across batch borders:
position `p` of a stream is place `p mod n` of pass `p div n`, and a pass's order is a pseudorandom permutation of which
any place can be computed alone (`RandomIndexShuffle`; O(1) memory).
"""

import tensorflow as tf


def shuffled_places(size: int | tf.Tensor, count: int, seed: int, stream: int, step: tf.Tensor) -> tf.Tensor:
    """Returns which examples of a stream are those of a step.

    Args:
        size: Number of examples in the stream, int64.
        count: Number of them in each step.
        seed: Seed of the order, from 0 to 2^31 - 1.
        stream: 0 or 1: another order under the same seed.
        step: Number of the step, scalar int64.

    Returns:
        Places in the stream, from 0 to `size - 1`, int64 `[count]`.
    """
    position = step * count + tf.range(count, dtype="int64")
    number, place = position // size, position % size  # Of the pass, and in it.
    # One seed a row: `tf.random.experimental.index_shuffle` pads batched seeds wrongly, the raw operation does not.
    seeds = tf.fill([count], tf.constant(seed * 2 + stream, "int64"))
    key = tf.stack([seeds, number // 2**31, number % 2**31], axis=1)
    return tf.raw_ops.RandomIndexShuffle(index=place, seed=tf.cast(key, "uint32"), max_index=size - 1)
