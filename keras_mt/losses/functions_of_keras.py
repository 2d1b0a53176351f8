"""Losses and metrics that are functions of Keras: whether they take outputs for logits or for probabilities."""

import functools
import inspect
from collections.abc import Callable

import keras

# They have no argument `from_logits`, and take what they are given for probabilities.
OF_PROBABILITIES = (
    keras.losses.kl_divergence,
    keras.losses.poisson,
    keras.losses.dice,
    keras.losses.tversky,
    keras.losses.categorical_generalized_cross_entropy,
    keras.metrics.binary_accuracy,
)

# They take integer classes, which others say by their names.
_OF_INTEGERS = (keras.losses.categorical_generalized_cross_entropy, keras.losses.circle)


def takes_integers(function) -> bool:
    """Whether a loss or metric of Keras takes classes as integers, not as one-hot labels."""
    return function in _OF_INTEGERS or getattr(function, "__name__", "").startswith("sparse_")


def function_of(given) -> Callable | None:
    """Returns the function of Keras that a loss or metric computes; None if it computes something else."""
    return _unwrapped(given)[0]


def takes_logits(given) -> bool | None:
    """Whether a loss or metric takes outputs for logits; None if it takes them as they are, or is not of Keras."""
    function, keywords = _unwrapped(given)
    if function is keras.metrics.binary_accuracy and not keywords.get("threshold", 0.5) > 0:
        return None  # As thresholds of 0 of other metrics: those of logits.
    if function is None or function in OF_PROBABILITIES:
        return None if function is None else False
    of_logits = inspect.signature(function).parameters.get("from_logits")
    return None if of_logits is None else bool(keywords.get("from_logits", of_logits.default))


def bound(function, from_logits: bool):
    """Returns a function that is told what outputs are, if it is one of Keras that asks for it and was not told."""
    of_keras, keywords = _unwrapped(function)
    is_object = isinstance(function, (keras.losses.Loss, keras.metrics.Metric))
    if is_object or takes_logits(function) is None or of_keras in OF_PROBABILITIES or "from_logits" in keywords:
        return function
    return functools.partial(function, from_logits=from_logits)


def is_of_keras(function) -> bool:
    """Whether a function or method was defined by Keras."""
    # Not `__module__`, which `functools.wraps` copies to a function of the user's.
    return getattr(function, "__globals__", {}).get("__name__", "").startswith("keras.")


def _unwrapped(given):
    """The function of Keras inside of what wraps it, and the keyword arguments that it is called with."""
    keywords = {}
    while not inspect.isfunction(given):
        loss, metric = isinstance(given, keras.losses.Loss), isinstance(given, keras.metrics.Metric)
        if loss and not (is_of_keras(type(given).call) and is_of_keras(type(given).__call__)):
            return None, {}  # A class of the user's may convert outputs before it calls Keras'.
        if metric and not is_of_keras(type(given).update_state):
            return None, {}
        of_keras = loss or metric or isinstance(given, functools.partial)
        inner = next((getattr(given, n) for n in ("fn", "_fn", "func") if of_keras and hasattr(given, n)), None)
        if inner is None:
            return None, {}
        keywords = {**getattr(given, "_fn_kwargs", {}), **getattr(given, "keywords", {}), **keywords}
        given = inner
    return (given, keywords) if is_of_keras(given) else (None, {})
