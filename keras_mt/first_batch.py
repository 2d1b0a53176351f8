"""What `fit` was given, looked into before training: arrays, tensors, pandas, data sets, generators."""

import itertools
import math

import keras
import numpy as np
import tensorflow as tf

from keras_mt import tasks
from keras_mt.structures import first_tensor, map_tensors

_FINITE = "Argument `x` must hold finite numbers."
# Where the student itself does, augmentation and mixing would spread what is missing before.
_REPLACE = (
    "replace them before `fit`, also where the student does so itself; a column of its own can say which they were"
)


def peek(x, y, count: int) -> tuple[list[tuple], object]:
    """Returns some first batches of what `fit` was given.

    Args:
        x: As `keras.Model.fit` takes it.
        y: Likewise.
        count: How many batches are wanted of what comes in batches.

    Returns:
        `(batches, x)`: a list of `(x, y)`, of arrays the whole in one, none of what can't be looked into; and what
        takes the place of `x`, since a generator gives nothing twice.
    """
    if isinstance(x, tf.data.Dataset):
        return [_pair(batch) for batch in x.take(count)], x
    if isinstance(x, keras.utils.PyDataset):
        length = x.num_batches
        return [_pair(x[i]) for i in range(count if length is None else min(count, length))], x
    if hasattr(x, "__next__"):
        first = list(itertools.islice(x, count))
        return [_pair(batch) for batch in first], _chained(first, x)
    if x is None or isinstance(x, tf.distribute.DistributedDataset) or not _is_array_like(x):
        return [], x
    return [(_arrays(x), None if y is None else _arrays(y))], x


def label_shapes(x, y):
    """Returns the shapes of labels without the number of examples, of what tells them before it is read; else None."""
    if isinstance(x, (tf.data.Dataset, tf.distribute.DistributedDataset)):
        _, labels = _pair(x.element_spec)
        specs = [getattr(spec, "shape", None) for spec in keras.tree.flatten(labels)]
        return tuple(None if shape is None or shape.rank is None else (shape.rank, shape[-1:]) for shape in specs)
    if y is None or not _is_array_like(y):
        return None
    # Keras makes a column of a pandas series.
    return tuple((_is_pandas(part), *part.shape[1:]) for part in keras.tree.flatten(y) if part is not None)


def is_batched(x) -> bool:
    """Whether what `fit` was given comes in batches, with its labels."""
    return not _is_array_like(x)


def _chained(first, rest):
    yield from first
    yield from rest


def _pair(batch):
    x, y, _ = keras.utils.unpack_x_y_sample_weight(batch)
    return x, y


def _is_array_like(x):
    flat = [part for part in keras.tree.flatten(x) if part is not None]
    return bool(flat) and all(hasattr(part, "shape") and hasattr(part, "dtype") or _is_pandas(part) for part in flat)


def _is_pandas(part):
    return type(part).__module__.split(".")[0] == "pandas"


def _is_scipy(part):
    return type(part).__module__.startswith("scipy.sparse")


def _arrays(values):
    def array(part):
        if isinstance(part, (np.ndarray, tf.SparseTensor, tf.RaggedTensor)) or _is_scipy(part):
            return part
        if _is_pandas(part):
            part = part.to_numpy()
            part = part[:, None] if part.ndim == 1 else part  # As Keras makes a column of a series.
            return part.astype("float32") if part.dtype == object else part
        return part.numpy() if hasattr(part, "numpy") else np.asarray(part)

    return map_tensors(array, values)


def rows_of(x, count: int):
    """Returns the first examples of a batch as tensors; sparse and ragged ones stay what they are."""

    def first(part):
        if _is_scipy(part):  # As Keras' own loop makes it a tensor.
            rows = part[:count].tocoo()
            indices = np.stack([rows.row, rows.col], axis=1).astype("int64")
            return tf.sparse.reorder(tf.SparseTensor(indices, rows.data, rows.shape))
        if isinstance(part, tf.SparseTensor):
            shape = part.dense_shape.numpy()
            return tf.sparse.slice(part, [0] * len(shape), [count, *shape[1:]])
        return part[:count] if isinstance(part, tf.RaggedTensor) else tf.convert_to_tensor(part[:count])

    return map_tensors(first, x)


def rows_of_training(x, validation_split: float) -> int:
    """Returns how many first rows of arrays are trained on, as `keras.Model.fit` cuts off the last for validation."""
    rows = first_tensor(x).shape[0]
    return math.floor(rows * (1.0 - validation_split))


def first_labels(y, count: int):
    """Returns the first of arrays of labels, of which some may be None."""
    return map_tensors(lambda part: part[:count], y)


def check_pandas(values, argument: str) -> None:
    """Raises a `ValueError` if columns of pandas hold what is no number of NumPy: Keras has no dtype for it either."""
    for part in keras.tree.flatten(values):
        columns = getattr(part, "dtypes", None) if _is_pandas(part) else None
        for dtype in columns if isinstance(getattr(columns, "dtype", None), np.dtype) else [columns]:
            if dtype is not None and not (isinstance(dtype, np.dtype) and dtype.kind in "biuf"):
                raise ValueError(
                    f"Argument `{argument}` must hold numbers of NumPy. Received: pandas dtype {str(dtype)!r}; of a "
                    "categorical `.cat.codes` are integers, with -1 for what is missing, and of a nullable one "
                    "`.to_numpy('int64', na_value=-1)`"
                )


def check_one_view(x, inputs: int) -> None:
    """Raises a `ValueError` if a pair of views is given where a network takes one.

    Args:
        x: What is given.
        inputs: How many tensors the network takes.
    """
    if isinstance(x, (tuple, list)) and len(x) == 2 and len(keras.tree.flatten(x)) == 2 * inputs:
        raise ValueError(
            "With two_views=True `fit` alone takes two views; `evaluate` and `predict` take plain examples. Received: "
            "a pair of views"
        )


def check_dense(labels, argument: str) -> None:
    """Raises a `ValueError` if labels are a sparse or ragged tensor, or a sparse matrix of SciPy."""
    if isinstance(labels, (tf.SparseTensor, tf.RaggedTensor)) or _is_scipy(labels):
        raise ValueError(
            f"Argument `{argument}` must be dense: `tf.sparse.to_dense(y)`, `y.toarray()`, or of a ragged tensor "
            f"`y.to_tensor(-1)`, where -1 is unlabeled. Received: {type(labels).__name__}"
        )


def require_finite(x) -> None:
    """Checks a batch inside of a step, as `check_finite` does arrays."""
    parts = [part for part in keras.tree.flatten(x) if isinstance(part, tf.Tensor) and part.dtype.is_floating]
    for part in parts:
        tasks.require(tf.reduce_all(tf.math.is_finite(part)), f"{_FINITE} Received: others; {_REPLACE}")


def check_finite(x) -> None:
    """Checks arrays of examples.

    Raises:
        ValueError: If there are none, or some of their numbers are not finite.
    """
    for array in keras.tree.flatten(x):
        if isinstance(array, np.ndarray) and not len(array):
            raise ValueError(f"Argument `x` must hold examples. Received: an array of shape {array.shape}")
        if isinstance(array, np.ndarray) and array.dtype.kind == "f" and not np.isfinite(array).all():
            where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
            raise ValueError(f"{_FINITE} Received: {array[where]} at index {where}; {_REPLACE}")
