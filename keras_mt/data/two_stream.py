"""Batches from two data sets of one's own: labeled examples and others, so many of each in every batch."""

import math

import tensorflow as tf

from keras_mt.data.sampling import is_whole
from keras_mt.errors import ArgumentError
from keras_mt.losses.classification import UNLABELED

# Label dtypes that can't hold -1, and what they are cast to: `tf.cast(-1, "uint8")` is 255, and of a boolean True.
_SIGNED = {"bool": "int32", "uint8": "int32", "uint16": "int32", "uint32": "int64", "uint64": "int64"}


def two_stream(
    labeled: tf.data.Dataset,
    unlabeled: tf.data.Dataset,
    labeled_per_batch: int,
    batch_size: int,
    shuffle_buffer: int = 10_000,
    seed: int = 0,
    unlabeled_label=None,
) -> tf.data.Dataset:
    """Returns endless batches that begin with labeled examples; both streams repeat on their own.

    Args:
        labeled: Single examples `(x, label)`, neither of them batched. `x` is a tensor or a structure of them (a dict,
            for several inputs). So is `label` (a dict, for several outputs), and it is whole in every example: where an
            example has no label of one output, it holds that output's `unlabeled_label`. Labels are integers, booleans
            or numbers of any shape: classes, one-hot rows, maps of classes; their shapes may be unknown (`None`) as
            long as those of a batch are equal.
        unlabeled: Single examples `x` as in `labeled`, or `(x, anything)`, of which the second part is not looked at.
        labeled_per_batch: Labeled examples in each batch, from 1 to `batch_size - 1`.
        batch_size: Examples in each batch.
        shuffle_buffer: Examples that each stream is shuffled among; 0 for streams that are shuffled already.
        seed: Seed of the order.
        unlabeled_label: What stands for "no label": -1 (the default), or NaN for outputs of the task `"regression"`.
            One value, or a structure like that of the labels with a value for each output. Given NaN alone, outputs of
            integers, which can't be NaN, have -1. Where nothing is given, floats must look like classes: whole numbers
            or rows of probabilities.

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
    for name, stream in (("labeled", labeled), ("unlabeled", unlabeled)):
        if stream.cardinality() == 0:
            raise ArgumentError(name, "no example", "must hold at least one example")
    if not isinstance(labeled.element_spec, tuple) or len(labeled.element_spec) != 2:
        raise ArgumentError("labeled", f"elements {labeled.element_spec}", "must be a data set of pairs (x, label)")
    x_spec, label_spec = labeled.element_spec
    for spec in tf.nest.flatten(labeled.element_spec):
        if not isinstance(spec, tf.TensorSpec):
            raise ArgumentError("labeled", f"elements {labeled.element_spec}", "must hold dense tensors only")
    no_label = _no_label_of_each_output(label_spec, unlabeled_label)
    sizes = (labeled_per_batch, batch_size - labeled_per_batch)

    def with_signed_labels(x, label):
        for y in tf.nest.flatten(label) if unlabeled_label is None else ():
            if y.dtype.is_floating:
                _check_that_floats_are_classes(y)
        return x, tf.nest.map_structure(lambda y: tf.cast(y, _SIGNED.get(y.dtype.name, y.dtype)), label)

    parts = []
    streams = (labeled.map(with_signed_labels, num_parallel_calls=tf.data.AUTOTUNE), _only_x(unlabeled, x_spec))
    for place, (stream, size) in enumerate(zip(streams, sizes, strict=True)):
        if shuffle_buffer:
            stream = stream.shuffle(shuffle_buffer, seed=2 * seed + place)
        parts.append(stream.repeat().batch(size, drop_remainder=True))

    def followed_by_no_label(labels, value):
        # The shape is that of the labeled rows: the static one may be unknown.
        shape = tf.concat([[sizes[1]], tf.shape(labels)[1:]], axis=0)
        together = tf.concat([labels, tf.fill(shape, tf.cast(value, labels.dtype))], axis=0)
        return tf.ensure_shape(together, tf.TensorShape([batch_size]).concatenate(labels.shape[1:]))

    def together(labeled_rows, unlabeled_x):
        labeled_x, labels = labeled_rows
        x = tf.nest.map_structure(lambda *rows: tf.concat(rows, axis=0), labeled_x, unlabeled_x)
        return x, tf.nest.map_structure(followed_by_no_label, labels, no_label)

    return tf.data.Dataset.zip(*parts).map(together).prefetch(tf.data.AUTOTUNE)


def _only_x(unlabeled, x_spec):
    """The `x` of unlabeled examples; a pair is taken apart unless `x` itself is one."""
    spec = unlabeled.element_spec
    if _alike(spec, x_spec):
        return unlabeled
    if isinstance(spec, tuple) and spec and _alike(spec[0], x_spec):
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


def _check_that_floats_are_classes(labels):
    """Fails in the pipeline if labels are numbers: -1 would be a number like others."""
    whole = (labels == tf.floor(labels)) & (labels >= UNLABELED)
    if labels.shape.rank != 0:  # Rows of probabilities are labels of classes, too.
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
