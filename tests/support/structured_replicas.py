"""Trains students of several kinds on arrays that replicas share unequally; a program, since devices are set first.

One strategy serves all of them: the collectives of several strategies in one process get into each other's way.

python tests/support/structured_replicas.py RESULT.npz '{"replicas": 2, "examples": 17}'
"""

import json
import sys

import keras
import numpy as np
import tensorflow as tf
from keras import layers

import keras_mt


def dice(y_true, y_pred):
    """One number for each example, of classes `[n]` and logits `[n, 3]`."""
    y_true, y_pred = keras.ops.one_hot(keras.ops.reshape(y_true, (-1,)), 3), keras.ops.softmax(y_pred)
    return 1.0 - 2.0 * keras.ops.sum(y_true * y_pred, -1) / keras.ops.sum(y_true**2 + y_pred**2, -1)


def largest_logit(_, y_pred):
    return keras.ops.max(y_pred, axis=-1)


def summed():
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="sum")


def through_keras(y_true, y_pred):
    """One number, which a loss of Keras divides by the number of replicas."""
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)(y_true, y_pred)


class Doubled(keras.losses.SparseCategoricalCrossentropy):
    def __call__(self, y_true, y_pred, sample_weight=None):
        return 2.0 * super().__call__(y_true, y_pred, sample_weight)


class DoubledByItself(keras.losses.Loss):
    def __call__(self, y_true, y_pred, sample_weight=None):
        costs = keras.losses.sparse_categorical_crossentropy(y_true, y_pred, from_logits=True)
        return 2.0 * keras.ops.mean(costs if sample_weight is None else costs * sample_weight)


def plain(outputs=3):
    hidden = layers.Dense(8, activation="tanh", kernel_regularizer="l2")
    return keras.Sequential([keras.Input((4,)), hidden, layers.Dense(outputs)])


def normalized():
    return keras.Sequential(
        [keras.Input((4,)), layers.Dense(8), layers.BatchNormalization(synchronized=True), layers.Dense(3)]
    )


def structured():
    inputs = keras.Input((4,))
    hidden = layers.Dense(5, activation="tanh")(inputs)
    return keras.Model(inputs, {"frame": layers.Dense(3)(hidden), "clip": layers.Dense(2)(hidden)})


def two_heads():
    inputs = keras.Input((4,))
    hidden = layers.Dense(5, activation="tanh")(inputs)
    return keras.Model(inputs, [layers.Dense(3)(hidden), layers.Dense(3)(hidden)])


def per_pixel():
    inputs = keras.Input((4, 4, 2))
    return keras.Model(inputs, layers.Dense(3)(layers.Dense(5, activation="tanh")(inputs)))


def cases(n):
    """Student, arguments of `MeanTeacher`, of `compile` and of `fit`, examples and labels."""
    random, index = np.random.default_rng(5), np.arange(n)
    x = random.normal(size=(n, 4)).astype("float32")
    pixels = random.normal(size=(n, 4, 4, 2)).astype("float32")
    classes, pairs = np.where(index % 2, index % 3, -1), np.where(index % 3, index % 2, -1)
    numbers = np.where(index[:, None] % 2, x[:, :2], np.nan)
    both = {"frame": classes, "clip": pairs}
    labeled = {"reduction": "labeled", "consistency_on_labeled": False}
    metrics = {"frame": ["accuracy", largest_logit], "clip": ["accuracy"]}
    weights = {"class_weight": {0: 2.0, 1: 0.5}}
    return {
        "structured": (structured, {}, {"metrics": metrics, "loss_weights": {"frame": 0.5, "clip": 2}}, {}, x, both),
        "structured, by labeled": (structured, labeled, {}, {}, x, both),
        "loss and metrics of a user": (plain, {}, {"loss": dice, "metrics": ["accuracy"]}, {}, x, classes),
        "loss by labeled": (plain, labeled, {"loss": dice}, {}, x, classes),
        "Keras' loss": (plain, labeled, {"loss": through_keras}, {}, x, classes),
        "a loss called whole": (plain, labeled, {"loss": Doubled(from_logits=True)}, {}, x, classes),
        "a loss called whole, weighted": (plain, labeled, {"loss": Doubled(from_logits=True)},
                                          {"sample_weight": np.linspace(0.5, 1, n)}, x, classes),
        "a loss that reduces": (plain, labeled, {"loss": DoubledByItself()}, {}, x, classes),
        "sums": (plain, {"consistency": keras_mt.losses.MSEConsistency("sum")}, {"loss": summed()}, {}, x, classes),
        "sums by labeled": (plain, labeled | {"consistency": keras_mt.losses.KLConsistency("sum")},
                            {"loss": summed()}, {}, x, classes),
        "sums of two heads": (
            two_heads,
            {"two_heads": True, "logit_distance_weight": 0.1,
             "logit_distance": keras_mt.losses.LogitDistance(reduction="sum")}, {}, {}, x, classes),
        "class weights": (plain, labeled, {"weighted_metrics": ["accuracy"]}, weights, x, classes),
        "sample weights": (plain, {}, {}, {"sample_weight": np.linspace(0, 1, n)}, x, classes),
        "pixels": (per_pixel, labeled, {}, {}, pixels, random.integers(-1, 3, (n, 4, 4))),
        "two heads": (two_heads, {"two_heads": True, "logit_distance_weight": 0.1}, {}, {}, x, classes),
        "pi": (plain, {"method": "pi"}, {}, {}, x, classes),
        "numbers": (lambda: plain(2), {"task": "regression"}, {}, {}, x, numbers),
        "statistics": (normalized, {"teacher_statistics": "copy"}, {}, {}, x, classes),
        "past predictions": (
            structured, {"method": "temporal_ensembling", "num_examples": n}, {}, {}, (x, index), both),
    }  # fmt: skip


def train(replicas, examples, kinds=None):
    strategy = tf.distribute.get_strategy()
    if replicas > 1:
        strategy = tf.distribute.MirroredStrategy(tf.config.list_logical_devices("CPU")[:replicas])
    results = {}
    for name, (make, arguments, compiled, fitted, x, y) in cases(examples).items():
        if kinds is not None and name not in kinds:
            continue
        keras.utils.set_random_seed(1)
        with strategy.scope():
            student = make()
            model = keras_mt.MeanTeacher(student, **arguments)
            model.compile(keras.optimizers.SGD(0.1), **compiled)
            # Weights that are loaded after wrapping reach the teacher on each replica.
            student.set_weights([1.5 * weight for weight in student.get_weights()])
        callback = keras_mt.MeanTeacherCallback(5.0, rampup_steps=4, ema_decay=0.9, verbose=False)
        # Out of the scope, as is usual.
        history = model.fit(x, y, 8, epochs=2, shuffle=False, verbose=0, callbacks=[callback], **fitted).history
        evaluation = model.evaluate(x, y, batch_size=8, verbose=0, return_dict=True)
        for i, weight in enumerate([*student.weights, *model.teacher.weights]):
            results[f"{name}/weight {i}"] = weight.numpy()
        for metric, values in (history | {f"evaluated {m}": v for m, v in evaluation.items()}).items():
            results[f"{name}/{metric}"] = np.array(values)
    return results


if __name__ == "__main__":
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    np.savez(sys.argv[1], **train(**json.loads(sys.argv[2])))
