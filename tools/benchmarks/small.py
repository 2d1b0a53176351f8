"""What `fit` with `MeanTeacher` costs over plain `fit` of the same small network, batch and loss."""

import dataclasses
import functools
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from keras import layers

import keras_mt
from benchmarks.timing import ratio
from keras_mt.data.pipeline_options import without_tuning


@dataclasses.dataclass(frozen=True)
class Small:
    """A small network and its batch.

    Attributes:
        make: Makes the network.
        shape: Shape of a batch.
        labels: Shape of its labels.
        classes: Number of classes, by the name of the output where there are several.
        steps: Steps of a repetition.
        words: Number of words, for token indices; 0 for numbers.
    """

    make: Callable[[], keras.Model]
    shape: tuple[int, ...]
    labels: tuple[int, ...]
    classes: int | dict[str, int]
    steps: int
    words: int = 0


def mlp() -> keras.Model:
    hidden = [layers.Dense(64, activation="relu") for _ in range(2)]
    return keras.Sequential([keras.Input((32,)), *hidden, layers.Dense(10)])


def cnn() -> keras.Model:
    x = inputs = keras.Input((16, 16, 3))
    for filters in (16, 32):
        x = layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
        x = layers.MaxPooling2D()(x)
    return keras.Model(inputs, layers.Dense(10)(layers.Flatten()(x)))


def gru() -> keras.Model:
    return keras.Sequential([keras.Input((32, 16)), layers.GRU(64), layers.Dense(10)])


def transformer() -> keras.Model:
    inputs = keras.Input((64,), dtype="int32")
    x = layers.Embedding(1000, 64)(inputs)
    for _ in range(2):
        x = layers.LayerNormalization()(x + layers.MultiHeadAttention(4, 16)(x, x))
        x = layers.LayerNormalization()(x + layers.Dense(64)(layers.Dense(128, activation="relu")(x)))
    return keras.Model(inputs, layers.Dense(4)(layers.GlobalAveragePooling1D()(x)))


def unet() -> keras.Model:
    convolution = functools.partial(layers.Conv2D, kernel_size=3, padding="same", activation="relu")
    inputs = keras.Input((64, 64, 3))
    first = convolution(16)(inputs)
    second = convolution(32)(layers.MaxPooling2D()(first))
    x = convolution(64)(layers.MaxPooling2D()(second))
    x = convolution(32)(layers.Concatenate()([layers.UpSampling2D()(x), second]))
    x = convolution(16)(layers.Concatenate()([layers.UpSampling2D()(x), first]))
    return keras.Model(inputs, layers.Conv2D(3, 1)(x))


def two_outputs() -> keras.Model:
    x = inputs = keras.Input((32, 32, 3))
    x = layers.MaxPooling2D()(layers.Conv2D(32, 3, activation="relu")(x))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(64, 3, activation="relu")(x))
    return keras.Model(inputs, {"a": layers.Dense(10)(x), "b": layers.Dense(4)(x)})


NETWORKS = {
    "mlp": Small(mlp, (64, 32), (64,), 10, 500),
    "cnn": Small(cnn, (64, 16, 16, 3), (64,), 10, 100),
    "gru": Small(gru, (64, 32, 16), (64,), 10, 60),
    "transformer": Small(transformer, (32, 64), (32,), 4, 60, words=1000),
    "unet": Small(unet, (8, 64, 64, 3), (8, 64, 64), 3, 40),
    "two_outputs": Small(two_outputs, (64, 32, 32, 3), (64,), {"a": 10, "b": 4}, 60),
}


class SmallNetworks:
    """The actions to compare, and the figures that follow from their times.

    Args:
        quick: Whether two steps are enough.
    """

    def __init__(self, quick: bool):
        self.steps = {name: 2 if quick else network.steps for name, network in NETWORKS.items()}
        self.actions = {}
        for name, network in NETWORKS.items():
            actions = _actions(network, self.steps[name])
            self.actions |= {f"{name}_{what}": action for what, action in actions.items()}

    def figures(self, seconds: dict[str, list[float]]) -> dict[str, float]:
        """Returns the figures by their names in the JSON file."""
        figures = {}
        for name, steps in self.steps.items():
            plain, teacher, forward = (
                1000 * np.array(seconds[f"{name}_{what}"]) / steps for what in ("plain", "mean_teacher", "forward")
            )
            figures |= {
                f"{name}_mean_teacher_over_plain": ratio(seconds, f"{name}_mean_teacher", f"{name}_plain"),
                f"{name}_with_a_forward_pass_over_plain": float(np.median((plain + forward) / plain)),
                f"{name}_plain_milliseconds": float(np.median(plain)),
                f"{name}_forward_milliseconds": float(np.median(forward)),
                f"{name}_more_milliseconds": float(np.median(teacher - plain - forward)),
            }
        return figures


def _actions(network, steps):
    x, y = _batch(network)
    data = without_tuning(tf.data.Dataset.from_tensors((x, y)).repeat())
    plain, student = network.make(), network.make()
    losses = tf.nest.map_structure(
        lambda _: keras.losses.SparseCategoricalCrossentropy(from_logits=True), network.classes
    )
    plain.compile("adam", loss=losses)
    model = keras_mt.MeanTeacher(student)
    model.compile("adam")
    callback = keras_mt.MeanTeacherCallback(1.0, verbose=False)
    fit = functools.partial(plain.fit, data, steps_per_epoch=steps, verbose=0, shuffle=False)
    fit_teacher = functools.partial(model.fit, data, steps_per_epoch=steps, verbose=0, shuffle=False)
    inputs = tf.constant(x)

    @tf.function
    def forward():
        return [tf.reduce_sum(output) for output in tf.nest.flatten(model.teacher(inputs, training=True))]

    def passes():
        for _ in range(steps):
            forward()[0].numpy()

    return {"plain": fit, "mean_teacher": functools.partial(fit_teacher, callbacks=[callback]), "forward": passes}


def _batch(network):
    random = np.random.default_rng(0)
    if network.words:
        x = random.integers(0, network.words, network.shape).astype("int32")
    else:
        x = random.normal(size=network.shape).astype("float32")
    return x, tf.nest.map_structure(lambda classes: random.integers(0, classes, network.labels), network.classes)
