"""What a loss of the user's gives on several replicas: its value, or the share of it that Keras makes.

A loss of Keras that is called whole divides by the number of replicas, since Keras adds up the gradients of all. One
that is asked for its values alone does not. What a user's loss does shows when it is called.
"""

from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import tensorflow as tf

_ROWS = 16


def times_replicas(function, y_true, y_pred) -> float:
    """Returns what the value of a loss is to be multiplied by, so that it is the one it has on a single device.

    Args:
        function: What computes it of labels and predictions: a loss, or the `call` of one.
        y_true: The labels that it is given, a tensor.
        y_pred: The predictions, likewise.

    Raises:
        ValueError: If the loss is neither divided by the number of replicas as a whole nor left as it is.
    """
    strategy = tf.distribute.get_strategy()
    replicas = strategy.num_replicas_in_sync
    if replicas == 1:
        return 1.0
    examples = _examples(y_true, integers=0), _examples(y_pred, integers=1)

    def both():
        alone = _value(function, examples)
        with strategy.scope():
            return alone, _value(function, examples)

    # No other thread is inside of the strategy, or of what is being traced.
    with ThreadPoolExecutor(1) as thread:
        try:
            alone, shared = thread.submit(both).result()
        except Exception:  # It can't take the examples: what it says of those of the user's is another thing.
            alone = shared = np.nan
    for factor in (1.0, float(replicas)):
        if np.any(alone) and np.allclose(alone, factor * shared, rtol=1e-3, atol=0.0):
            return factor
    of_class = getattr(function, "__self__", function)
    name = getattr(of_class, "__name__", type(of_class).__name__)
    raise ValueError(
        f"On several devices a loss must be divided by their number as a whole or not at all, and {name} can't be seen "
        f"to be either. Losses of Keras that are called inside of it divide; give those `reduction=None` and take the "
        f"mean. Received: {replicas} replicas"
    )


def _value(function, examples):
    return keras.ops.convert_to_numpy(keras.ops.cast(function(*map(tf.constant, examples)), "float64"))


def _examples(tensor, integers):
    """Numbers of the shape and type of a tensor that labels, logits and probabilities can be."""
    shape = [size or _ROWS for size in tensor.shape]
    dtype = tensor.dtype.as_numpy_dtype
    if not tensor.dtype.is_floating:
        return np.full(shape, integers, dtype)
    numbers = np.random.default_rng(integers).uniform(0.05, 0.95, shape)
    return (numbers / numbers.sum(axis=-1, keepdims=True) if shape[-1] > 1 and len(shape) > 1 else numbers).astype(
        dtype
    )
