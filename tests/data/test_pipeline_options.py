"""tf.data's tuner delays the end of an iterator by up to a minute: no pipeline of this package has one."""

import threading
import time

import numpy as np
import pytest
import tensorflow as tf

from keras_mt import data
from keras_mt.data.pipeline_options import without_tuning

IMAGES = np.zeros((40, 8, 8, 1), "uint8")
CLASSES = np.arange(40) % 4
LABELED = tf.data.Dataset.from_tensor_slices((np.zeros((8, 3), "float32"), CLASSES[:8]))
UNLABELED = tf.data.Dataset.from_tensor_slices(np.zeros((20, 3), "float32"))


@pytest.mark.parametrize(
    "pipeline",
    {
        "training": lambda: data.training_batches(IMAGES, CLASSES, np.arange(8), data.Sampling(10, 2, seed=0)),
        "evaluation": lambda: data.evaluation_batches(IMAGES, CLASSES, batch_size=20),
        "arrays": lambda: data.two_stream((IMAGES, CLASSES), IMAGES, 2, 10),
        "data sets": lambda: data.two_stream(LABELED, UNLABELED, 2, 10),
        "one data set": lambda: data.two_stream(LABELED, np.zeros((20, 3), "float32"), 2, 10),
    }.items(),
    ids=lambda pair: pair[0],
)
def test_the_pipelines_of_the_library_are_not_tuned(pipeline):
    _, make = pipeline
    assert make().options().autotune.enabled is False


def test_a_user_can_turn_tuning_on_again():
    options = tf.data.Options()
    options.autotune.enabled = True
    assert data.two_stream(LABELED, UNLABELED, 2, 10).with_options(options).options().autotune.enabled is True


def test_a_parallel_map_without_tuning_uses_all_threads():
    running, most, lock = 0, 0, threading.Lock()

    def count(x):
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.01)
        with lock:
            running -= 1
        return x

    options = tf.data.Options()
    options.threading.private_threadpool_size = 64  # As on a machine with as many cores.
    numbers = tf.data.Dataset.range(200)
    mapped = numbers.map(lambda x: tf.numpy_function(count, [x], "int64"), num_parallel_calls=tf.data.AUTOTUNE)
    read = [int(x) for x in without_tuning(mapped).with_options(options)]
    assert read == list(range(200))
    assert most > 16  # What tf.data takes by default.
