"""The input pipeline alone."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

import keras_mt
from benchmarks.machine import Size
from benchmarks.timing import interleaved
from keras_mt.data import Sampling, training_batches
from keras_mt.data.image_memory import empty_images

BATCHES = 200


def batches(examples: int, batch_size: int) -> tf.data.Dataset:
    """Returns training batches of made-up images: what they show costs nothing more or less."""
    images = empty_images((examples, 32, 32, 3))
    images.reshape(-1)[:] = 127
    return training_batches(
        images,
        (np.arange(examples) % 10).astype("int32"),
        np.arange(500),
        Sampling(batch_size, max(1, batch_size // 100), seed=0),
    )


def _two_views(data: tf.data.Dataset) -> tf.data.Dataset:
    """Adds what the network's own layers do to each of the two views of a batch."""
    layers = [
        keras_mt.layers.ImageStandardization(),
        keras_mt.layers.RandomPixelTranslation(2),
        keras_mt.layers.GaussianNoise(0.15),
    ]
    for layer in layers:
        layer.build((None, 32, 32, 3))

    def view(images):
        for layer in layers[:1]:
            images = layer(tf.cast(images, "float32"))
        for layer in layers[1:]:
            images = layer(images, training=True)
        return images

    return data.map(lambda images, labels: (view(images), view(images), labels), num_parallel_calls=1)


def _taking(data: tf.data.Dataset) -> Callable[[], None]:
    iterator = iter(data)

    def take():
        for _ in range(BATCHES):
            next(iterator)

    return take


def measure(size: Size, most: float) -> dict[str, float]:
    """Returns images a second with one view and with two augmented ones, for both numbers of examples.

    Args:
        size: How large.
        most: Seconds after which it ends.
    """
    actions = {}
    for suffix, examples in (("", size.examples), ("_604388", size.examples_with_extra)):
        data = batches(examples, size.batch_size)
        actions[f"pipeline_images_per_second{suffix}"] = _taking(data)
        actions[f"pipeline_images_per_second_two_views{suffix}"] = _taking(_two_views(data))
    seconds = interleaved(actions, size.repetitions, most)
    return {name: BATCHES * size.batch_size / float(np.median(times)) for name, times in seconds.items()}
