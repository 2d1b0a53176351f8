"""Trains weight-normalized layers on batches that replicas share unequally; a program, since devices are set first.

python tests/support/unequal_replicas.py RESULT.npz '{"replicas": 2, "synchronized": true}'
"""

import json
import sys

import keras
import numpy as np
import tensorflow as tf

from keras_mt.layers import WeightNormalizedConv2D, WeightNormalizedDense

BATCHES = (8, 8, 1, 7, 1)  # The 17 rows of three batches of 8, and an odd one: 4 + 4, 1 + 0 and 4 + 3 rows.


def make_network(synchronized):
    return keras.Sequential(
        [
            keras.Input((6, 5, 2)),
            WeightNormalizedConv2D(4, 3, negative_slope=0.1, momentum=0.9, synchronized=synchronized),
            WeightNormalizedConv2D(4, 3, "valid", negative_slope=0.1, momentum=0.9, synchronized=synchronized),
            keras.layers.Flatten(),
            WeightNormalizedDense(3, momentum=0.9, synchronized=synchronized),
        ]
    )


def train(replicas, synchronized):
    strategy = tf.distribute.MirroredStrategy(tf.config.list_logical_devices("CPU")[:replicas])
    random = np.random.default_rng(0)
    images = random.normal(1.0, 1.0, (sum(BATCHES), 6, 5, 2)).astype("float32")
    labels = random.integers(0, 3, sum(BATCHES))
    keras.utils.set_random_seed(1)
    with strategy.scope():
        network = make_network(synchronized)
        optimizer = keras.optimizers.SGD(0.1)
        optimizer.build(network.trainable_variables)

    @tf.function(reduce_retracing=True)
    def step(x, y, rows):
        def of_replica(x, y):
            with tf.GradientTape() as tape:
                logits = network(x, training=True)
                losses = keras.losses.sparse_categorical_crossentropy(y, logits, from_logits=True)
                loss = tf.reduce_sum(losses) / rows
            optimizer.apply_gradients(
                zip(tape.gradient(loss, network.trainable_variables), network.trainable_variables, strict=True)
            )

        strategy.run(of_replica, (x, y))

    def shares(values):
        parts = np.array_split(values, replicas)
        return strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(parts[context.replica_id_in_sync_group])
        )

    def of_replicas():
        """Each weight `[replica, ...]`: assignments of a layer inside a replica stay there."""
        return [
            np.stack([copy.numpy() for copy in strategy.experimental_local_results(w.value)]) for w in network.weights
        ]

    history, start = [of_replicas()], 0
    for rows in BATCHES:
        batch = slice(start, start + rows)
        step(shares(images[batch]), shares(labels[batch]), tf.constant(rows, "float32"))
        history.append(of_replicas())
        start += rows
    return {w.path: np.stack(values) for w, values in zip(network.weights, zip(*history, strict=True), strict=True)}


if __name__ == "__main__":
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    np.savez(sys.argv[1], **train(**json.loads(sys.argv[2])))
