"""Batches from two data sets of one's own: labeled examples and others, so many of each in every batch."""

import math

import numpy as np
import tensorflow as tf

from keras_mt.data.image_memory import shared_tensor
from keras_mt.data.pipeline_options import without_autograph, without_copies, without_tuning
from keras_mt.data.sampling import SEEDS, is_whole
from keras_mt.data.shuffling import shuffled_places
from keras_mt.errors import ArgumentError
from keras_mt.losses.classification import UNLABELED

# Label dtypes that can't hold -1, and what they are cast to: `tf.cast(-1, "uint8")` is 255, and of a boolean True.
_SIGNED = {"bool": "int32", "uint8": "int32", "uint16": "int32", "uint32": "int64", "uint64": "int64"}


def two_stream(
    labeled: tf.data.Dataset | tuple,
    unlabeled: tf.data.Dataset | np.ndarray | tuple | dict,
    labeled_per_batch: int,
    batch_size: int,
    shuffle_buffer: int = 10_000,
    seed: int = 0,
    unlabeled_label=None,
) -> tf.data.Dataset:
    """Returns endless batches that begin with labeled examples; both streams repeat on their own.

    Args:
        labeled: Data set of single examples `(x, label)`, or a pair of arrays `[examples, ...]`. `x` is one tensor or a
            structure of them (a dict, for several inputs; a list becomes a tuple). So is `label` (a dict, for several
            outputs), and it is whole in every example: where an example has no label of one output, it holds that
            output's `unlabeled_label`. Labels are integers, booleans or numbers of any shape: classes, one-hot rows,
            maps of classes; their shapes may be unknown (`None`) as long as those of a batch are equal.
        unlabeled: Data set of single examples `x` as in `labeled`, or of `(x, anything)`, of which the second part is
            not looked at; or arrays of either. Arrays, memory-mapped ones (`np.load(path, mmap_mode="r")`) too, are not
            copied; `tf.data.Dataset.from_tensor_slices` would hold them two times more.
        labeled_per_batch: Labeled examples in each batch, from 1 to `batch_size - 1`.
        batch_size: Examples in each batch.
        shuffle_buffer: Examples that each data set is shuffled among; 0 for those that are shuffled already. Arrays are
            shuffled as a whole, unless it is 0.
        seed: Seed of the order.
        unlabeled_label: What stands for "no label": -1 (the default), or NaN for outputs of the task `"regression"`.
            One value, or a structure like that of the labels with a value for each output. Given NaN alone, outputs of
            integers, which can't be NaN, have -1. Where nothing is given, floats must look like classes: whole numbers
            or rows of probabilities. Ages and counts do as well: make floats of them, and give NaN.

    Returns:
        A data set of `(x, labels)`, each of shape `[batch_size, ...]`. The labels of the last
        `batch_size - labeled_per_batch` examples are `unlabeled_label` throughout. Boolean and unsigned labels, which
        can't hold -1, have become int32 (or int64).

    Raises:
        ValueError: If the numbers leave no room for either stream, a stream is empty, elements are no pairs or no dense
            tensors, `x` of both streams differ in structure, dtype or shape, or an output can't hold `unlabeled_label`.
        tf.errors.InvalidArgumentError: While reading, if `unlabeled_label` is not given and floats are no classes.

    Example:

    ```python
    import tensorflow as tf

    from keras_mt.data import two_stream

    labeled = tf.data.Dataset.from_tensor_slices((tf.random.normal((20, 8)), tf.range(20) % 4))
    unlabeled = tf.data.Dataset.from_tensor_slices(tf.random.normal((500, 8)))
    batches = two_stream(labeled, unlabeled, labeled_per_batch=8, batch_size=32)
    x, labels = next(iter(batches))  # labels: 8 classes, then 24 times -1.
    ```
    """
    if not is_whole(batch_size) or batch_size < 2:
        raise ArgumentError("batch_size", batch_size, "must be a whole number of at least 2")
    if not is_whole(labeled_per_batch) or not 1 <= labeled_per_batch < batch_size:
        raise ArgumentError(
            "labeled_per_batch", labeled_per_batch, f"must be from 1 to {batch_size - 1} for batches of {batch_size}"
        )
    if not is_whole(shuffle_buffer) or shuffle_buffer < 0:
        raise ArgumentError("shuffle_buffer", shuffle_buffer, "must be a number of examples, or 0")
    if not is_whole(seed) or not 0 <= seed < SEEDS:
        raise ArgumentError("seed", seed, f"must be a whole number from 0 to {SEEDS - 1}")
    labeled, unlabeled, unlabeled_label = _tuples(labeled), _tuples(unlabeled), _tuples(unlabeled_label)
    labeled, labeled_spec = _examples("labeled", labeled)
    unlabeled, unlabeled_spec = _examples("unlabeled", unlabeled)
    if not isinstance(labeled_spec, tuple) or len(labeled_spec) != 2:
        raise ArgumentError("labeled", f"elements {labeled_spec}", "must hold pairs (x, label)")
    if not all(isinstance(spec, tf.TensorSpec) for spec in tf.nest.flatten(labeled_spec)):
        raise ArgumentError("labeled", f"elements {labeled_spec}", "must hold dense tensors only")
    x_spec, label_spec = labeled_spec
    unlabeled = _only_x(unlabeled, unlabeled_spec, x_spec)
    no_label = _no_label_of_each_output(label_spec, unlabeled_label)
    num_unlabeled = batch_size - labeled_per_batch

    def with_no_label_added(labels, spec, value):
        if unlabeled_label is None and spec.dtype.is_floating:
            _check_that_floats_are_classes(labels, spec)
        labels = tf.cast(labels, _SIGNED.get(spec.dtype.name, spec.dtype))
        # The shape is that of the labeled rows: the static one may be unknown.
        shape = tf.concat([[num_unlabeled], tf.shape(labels)[1:]], axis=0)
        together = tf.concat([labels, tf.fill(shape, tf.cast(value, labels.dtype))], axis=0)
        return tf.ensure_shape(together, tf.TensorShape([batch_size]).concatenate(spec.shape))

    @without_autograph
    def together(labeled_rows, unlabeled_x):
        labeled_x, labels = labeled_rows
        x = tf.nest.map_structure(lambda *rows: tf.concat(rows, axis=0), labeled_x, unlabeled_x)
        return x, tf.nest.map_structure(with_no_label_added, labels, label_spec, no_label)

    streams = (
        _batches(labeled, labeled_per_batch, shuffle_buffer, seed, 0),
        _batches(unlabeled, num_unlabeled, shuffle_buffer, seed, 1),
    )
    batches = tf.data.Dataset.zip(*streams).map(together).prefetch(4)
    both_read = isinstance(labeled, tf.data.Dataset) and isinstance(unlabeled, tf.data.Dataset)
    return without_tuning(batches) if both_read else without_copies(batches)


def _tuples(values):
    """Returns a structure with tuples in place of lists, each of which a data set would take for one tensor."""
    if type(values) in (list, tuple):
        return tuple(map(_tuples, values))
    if type(values) is dict:
        return {key: _tuples(value) for key, value in values.items()}
    return values


def _examples(name, data):
    """Returns `(data, spec of an example)`, where `data` is a data set or a structure of arrays."""
    if isinstance(data, tf.data.Dataset):
        if data.cardinality() == 0:
            raise ArgumentError(name, "none", "must hold at least one example")
        return data, data.element_spec
    arrays = tf.nest.map_structure(np.asarray, data)
    lengths = {array.shape[0] if array.ndim else None for array in tf.nest.flatten(arrays)}
    if len(lengths) != 1 or lengths & {None, 0}:
        shapes = tf.nest.map_structure(np.shape, arrays)
        raise ArgumentError(
            name, f"shapes {shapes}", "must be a data set, or arrays of as many examples each, at least one"
        )
    return arrays, tf.nest.map_structure(lambda array: tf.TensorSpec(array.shape[1:], array.dtype), arrays)


def _only_x(unlabeled, spec, x_spec):
    """The `x` of unlabeled examples; a pair is taken apart unless `x` itself is one."""
    if _alike(spec, x_spec):
        return unlabeled
    if isinstance(spec, tuple) and spec and _alike(spec[0], x_spec):
        if isinstance(unlabeled, tuple):
            return unlabeled[0]
        return unlabeled.map(lambda x, *_: x, num_parallel_calls=tf.data.AUTOTUNE)
    raise ArgumentError(
        "unlabeled",
        f"elements {spec}",
        f"must be a data set of x, or of pairs of x and anything, where x is what it is in `labeled`, {x_spec}",
    )


def _alike(spec, other):
    try:
        tf.nest.assert_same_structure(spec, other)
    except (TypeError, ValueError):
        return False
    return all(
        isinstance(a, tf.TensorSpec) and a.dtype == b.dtype and a.shape.is_compatible_with(b.shape)
        for a, b in zip(tf.nest.flatten(spec), tf.nest.flatten(other), strict=True)
    )


def _batches(data, size, shuffle_buffer, seed, stream):
    """Batches of a stream that repeats, its examples in another order in each pass."""
    if isinstance(data, tf.data.Dataset):
        return _repeated(data, shuffle_buffer, 2 * seed + stream).batch(size, drop_remainder=True)
    tensors = tf.nest.map_structure(shared_tensor, data)
    length = len(tf.nest.flatten(data)[0])
    if shuffle_buffer:  # All of them: a buffer of all indices would take 200 bytes for each, this takes nothing.
        places_of = without_autograph(lambda step: shuffled_places(length, size, seed, stream, step))
        batches = tf.data.Dataset.counter().map(places_of)
    else:
        batches = tf.data.Dataset.range(length).repeat().batch(size, drop_remainder=True)
    return batches.map(
        without_autograph(lambda places: tf.nest.map_structure(lambda rows: tf.gather(rows, places), tensors))
    )


def _repeated(data, shuffle_buffer, seed):
    """A data set without end, in another order in each pass, and each time that it is read anew (by each `fit`)."""
    if not shuffle_buffer:
        return data.repeat()
    # `data.shuffle(...).repeat()` would go on with the draws of whoever read it before, whose threads read ahead as
    # far as they happen to get. Here each reader draws one seed.
    seeds = tf.data.Dataset.random(seed, rerandomize_each_iteration=True).take(1)

    def shuffled(drawn):
        tf.compat.v1.set_random_seed(1)  # Of this function: under a program's seed of 0 a drawn one can't be used.
        return data.shuffle(shuffle_buffer, seed=drawn).repeat()

    return seeds.flat_map(shuffled).apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))


def _no_label_of_each_output(label_spec, value):
    """What stands for "no label", in the structure of the labels.

    Raises:
        ValueError: If there is none for an output.
    """
    specs = tf.nest.flatten(label_spec)
    for spec in specs:
        if not (spec.dtype.is_floating or spec.dtype.is_integer or spec.dtype.is_bool):
            raise ArgumentError("labeled", f"labels of {spec.dtype.name}", "must have labels that are numbers")
    values = UNLABELED if value is None else value
    if not tf.nest.is_nested(values):
        some_are_numbers = any(spec.dtype.is_floating for spec in specs)
        for_integers = UNLABELED if some_are_numbers and math.isnan(values) else values
        values = tf.nest.map_structure(lambda spec: values if spec.dtype.is_floating else for_integers, label_spec)
    try:
        tf.nest.assert_same_structure(values, label_spec)
    except (TypeError, ValueError):
        raise ArgumentError(
            "unlabeled_label", value, f"must be a value, or a structure of values like that of the labels, {label_spec}"
        ) from None
    for spec, one in zip(specs, tf.nest.flatten(values), strict=True):
        if one != UNLABELED and not (spec.dtype.is_floating and math.isnan(one)):
            allowed = f"{UNLABELED} or NaN" if spec.dtype.is_floating else str(UNLABELED)
            raise ArgumentError("unlabeled_label", one, f"must be {allowed} for labels of {spec.dtype.name}")
    return values


def _check_that_floats_are_classes(labels, spec):
    """Fails in the pipeline if the labels of a batch are numbers: -1 would be a number like others."""
    whole = (labels == tf.floor(labels)) & (labels >= UNLABELED)
    if spec.shape.rank != 0:  # Rows of probabilities are labels of classes, too.
        total = tf.reduce_sum(labels, axis=-1, keepdims=True)
        whole |= (tf.abs(total - 1) < 1e-2) & (labels >= 0)
    tf.debugging.Assert(
        tf.reduce_all(whole),
        [
            "Argument `unlabeled_label` must be given for labels that are numbers: NaN for the task regression, -1 for "
            "shares of yes and no. Received labels:",
            labels,
        ],
    )
