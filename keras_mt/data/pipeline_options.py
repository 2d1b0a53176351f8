"""How tf.data runs the pipelines of this package: with threads that are not tuned, and without copies."""

import tensorflow as tf

# What `num_parallel_calls=AUTOTUNE` is without tuning, and by default 16; tf.data takes no more than there are cores.
_ALL_CORES = 1024

# Autograph would translate each function of a pipeline for the sake of control flow that these do not have.
without_autograph = tf.autograph.experimental.do_not_convert


def without_tuning(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Turns off tf.data's tuning of its threads, and lets parallel maps use all cores at once.

    The thread that tunes sleeps 10, 20, 40, ... ms, up to a minute, and the end of an iterator may wait until it wakes:
    the same evaluation took 6.3 or 10.23 s (10 ms × 1023), and a run of 600 steps on one core 36 seconds to end
    (TensorFlow 2.21). Elements and their order are the same; `with_options` on what is returned turns it on again.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    options.autotune.initial_parallelism = _ALL_CORES
    return dataset.with_options(options)


def without_copies(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Turns off tf.data's rewriting of a pipeline, which copies the tensors it holds, and its tuning of threads."""
    options = tf.data.Options()
    options.experimental_optimization.apply_default_optimizations = False
    return without_tuning(dataset.with_options(options))
