"""What a loss of the user's gives on several replicas: its value, or the share of it that Keras makes.

A loss of Keras that is called whole divides by the number of replicas, since Keras adds up the gradients of all. One
that is asked for its values alone does not. What a user's loss does shows when it is called.
"""

import functools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import tensorflow as tf

_ROWS = 64


def times_replicas(function, y_true, y_pred) -> float:
    """Returns what the value of a loss is to be multiplied by, so that it is the one it has on a single device.

    Args:
        function: What computes it of labels and predictions: a loss, or the `call` of one.
        y_true: The labels that it is given, a tensor.
        y_pred: The predictions, likewise.

    Raises:
        ValueError: If the loss is seen to be divided by the number of replicas in part.
    """
    strategy = tf.distribute.get_strategy()
    if strategy.num_replicas_in_sync == 1:
        return 1.0
    specs = tuple((tuple(size or _ROWS for size in t.shape), t.dtype) for t in (y_true, y_pred))
    try:
        return _times_replicas(function, strategy, specs)
    except TypeError:  # It can't be hashed.
        return _times_replicas.__wrapped__(function, strategy, specs)


@functools.lru_cache(maxsize=64)
def _times_replicas(function, strategy, specs):
    replicas = float(strategy.num_replicas_in_sync)
    # No other thread is inside of the strategy, or of what is being traced.
    with ThreadPoolExecutor(1) as thread:
        pairs = thread.submit(_tried_out, function, strategy, specs).result()
    for alone, shared in pairs:
        if not np.isfinite([alone, shared]).all() or not np.any(alone):
            continue  # Such labels or predictions show nothing.
        for factor in (1.0, replicas):
            if np.allclose(alone, factor * shared, rtol=1e-3, atol=0.0):
                return factor
        of_class = getattr(function, "__self__", function)
        name = getattr(of_class, "__name__", type(of_class).__name__)
        raise ValueError(
            f"A part of the loss {name} is divided by the number of devices: it calls losses of Keras, which divide. "
            "Give those `reduction=None` and take the mean, so that none of it is. "
            f"Received: {replicas:g} replicas"
        )
    return 1.0


def _tried_out(function, strategy, specs):
    """Pairs of the values of a loss without and with replicas; none where it can't take what it is given."""
    pairs = []
    for largest in (1.0, 10.0):
        examples = [tf.constant(values) for values in _examples(specs, largest)]
        try:
            alone = _value(function, examples)
            again = _value(function, examples)
            with strategy.scope():
                shared = _value(function, examples)
        except Exception:  # What it says of labels and predictions of the user's is another thing.
            continue
        if np.array_equal(alone, again):  # Else it is random.
            pairs.append((alone, shared))
    return pairs


def _value(function, examples):
    """The value of a loss, whose variables and seeds are put back."""
    traced = tf.function(function, autograph=False).get_concrete_function(*examples)
    kept = [(variable, variable.numpy()) for variable in traced.graph.variables]
    try:
        return np.asarray(tf.cast(traced(*examples), "float64"))
    finally:
        for variable, value in kept:
            variable.assign(value)


def _examples(specs, largest):
    """Labels of two classes, yes or no, and predictions that can be probabilities if none is above 1."""
    (shape, dtype), (shape_of_predictions, dtype_of_predictions) = specs
    if shape == shape_of_predictions and len(shape) > 1 and shape[-1] > 1:
        labels = np.eye(shape[-1])[np.arange(np.prod(shape[:-1], dtype=int)) % 2]
    else:
        labels = np.arange(np.prod(shape, dtype=int)) % 2
    numbers = np.random.default_rng(0).uniform(0.05, 0.95, shape_of_predictions)
    if len(numbers.shape) > 1 and numbers.shape[-1] > 1:
        numbers /= numbers.sum(axis=-1, keepdims=True)
    return labels.reshape(shape).astype(dtype.as_numpy_dtype), (largest * numbers).astype(
        dtype_of_predictions.as_numpy_dtype
    )
