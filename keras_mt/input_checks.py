"""What arrays given to `fit` must be like: found before training, not in its curves."""

import warnings

import keras
import numpy as np

from keras_mt.losses.classification import UNLABELED


def check_examples(x, y, num_classes: int, rank: int = 2) -> None:
    """Checks arrays of examples and labels. Anything that is no array (a `tf.data.Dataset`, a generator) passes.

    Args:
        x: Examples, or a structure of arrays of them.
        y: Integer class labels `[examples]` or `[examples, 1]`, -1 for unlabeled; or one-hot labels.
        num_classes: Number of classes, C.
        rank: Number of axes of the network's outputs; 4 for one class a pixel.

    Raises:
        ValueError: If examples are not finite, or labels are no classes of the network, or all are hidden.
    """
    for array in keras.tree.flatten(x):
        if isinstance(array, np.ndarray) and not len(array):
            raise ValueError(f"Argument `x` must hold examples. Received: an array of shape {array.shape}")
        if isinstance(array, np.ndarray) and array.dtype.kind == "f" and not np.isfinite(array).all():
            where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
            raise ValueError(f"Argument `x` must hold finite numbers. Received: {array[where]} at index {where}")
    if isinstance(y, np.ndarray) and (y.ndim == rank - 1 or (y.ndim == rank and y.shape[-1] == 1)):
        _check_classes(y.reshape(-1), num_classes)
    elif isinstance(y, np.ndarray) and y.ndim == rank and y.shape[-1] == num_classes and (y == UNLABELED).all():
        _refuse_hidden()


def check_indices(example, num_examples: int) -> None:
    """Checks an array of indices of examples, which temporal ensembling needs.

    Raises:
        ValueError: If an index is no example's.
    """
    if isinstance(example, np.ndarray) and (example.min() < 0 or example.max() >= num_examples):
        wrong = example[(example < 0) | (example >= num_examples)][0]
        raise ValueError(f"Indices of examples must be from 0 to {num_examples - 1}. Received: {wrong}")


def _check_classes(labels, num_classes):
    if labels.dtype.kind not in "iub" and not (labels == np.round(labels)).all():
        wrong = labels[labels != np.round(labels)][0]
        raise ValueError(f"Argument `y` must hold integer class labels. Received: {wrong}")
    if len(labels) and (labels.min() < UNLABELED or labels.max() >= num_classes):
        wrong = labels[(labels < UNLABELED) | (labels >= num_classes)][0]
        raise ValueError(
            f"Argument `y` must hold class labels from 0 to {num_classes - 1}, or {UNLABELED} for unlabeled examples. "
            f"Received: {wrong}"
        )
    if (labels == UNLABELED).all():
        _refuse_hidden()
    missing = sorted(set(range(num_classes)) - set(np.unique(labels).astype(int)))
    if missing:
        # Not refused: a network may have outputs that this part of the data does not use.
        warnings.warn(
            f"No labeled example of class {', '.join(map(str, missing[:10]))} of {num_classes}.", stacklevel=4
        )


def _refuse_hidden():
    raise ValueError(f"Argument `y` must hold labeled examples. Received: {UNLABELED} (unlabeled) for all of them")
