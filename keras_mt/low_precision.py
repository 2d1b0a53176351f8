"""Whether a processor computes faster in low precision, or emulates it: some are ten times slower, without a word."""

import functools
import time

import keras
import tensorflow as tf

from keras_mt.teacher import layers_of

_SIZE, _REPEATS = 512, 2  # A product of a few milliseconds.
_SLOWER = 1.5


def computes_in(dtype: str, network: keras.Model) -> bool:
    """Whether a network, or a layer of it, computes in a type.

    Args:
        dtype: `"float16"`, whose small gradients need loss scaling, or another.
        network: A built network.
    """
    return any(layer.compute_dtype == dtype for layer in [network, *layers_of(network)])


def slowness_sentence(network: keras.Model) -> str | None:
    """Returns what to say of a network that computes in a type that this processor only emulates; None otherwise.

    Args:
        network: A built network. Accelerators are taken to have the type.
    """
    dtype = next((name for name in ("bfloat16", "float16") if computes_in(name, network)), None)
    if dtype is None or any(device.device_type != "CPU" for device in tf.config.list_logical_devices()):
        return None
    factor = _seconds_over_float32(dtype)
    if factor < _SLOWER:
        return None
    return (
        f"The student computes in {dtype}, which this processor has no instructions for: a matrix product took "
        f"{factor:.1f} times as long as in float32. Train in float32 here."
    )


@functools.cache
def _seconds_over_float32(dtype):
    return _seconds_of_product(dtype) / _seconds_of_product("float32")


def _seconds_of_product(dtype):
    values = tf.cast(tf.random.stateless_normal((_SIZE, _SIZE), (0, 0)), dtype)
    tf.matmul(values, values).numpy()
    taken = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        tf.matmul(values, values).numpy()
        taken.append(time.perf_counter() - start)
    return min(taken)
