"""Batches from two data sets of one's own: labeled examples and others, so many of each in every batch."""

import tensorflow as tf

from keras_mt.losses.classification import UNLABELED


def two_stream(
    labeled: tf.data.Dataset,
    unlabeled: tf.data.Dataset,
    labeled_per_batch: int,
    batch_size: int,
    shuffle_buffer: int = 10_000,
    seed: int = 0,
    unlabeled_label: float = UNLABELED,
) -> tf.data.Dataset:
    """Returns endless batches that begin with `labeled_per_batch` labeled examples; both streams repeat on their own.

    Args:
        labeled: Single examples `(x, label)`; labels are integers, one-hot, maps of classes, or numbers.
        unlabeled: Single examples `x`, or `(x, anything)`, of which the second part is not looked at.
        labeled_per_batch: Labeled examples in each batch.
        batch_size: Examples in each batch.
        shuffle_buffer: Examples that each stream is shuffled among; 0 for streams that are shuffled already.
        seed: Seed of the order.
        unlabeled_label: What stands for "no label": -1, or NaN for the task `"regression"`.

    Returns:
        A data set of `(x, labels)`. The labels of unlabeled examples are `unlabeled_label` throughout.

    Raises:
        ValueError: If the numbers leave no room for either stream.

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
    if not 1 <= labeled_per_batch < batch_size:
        raise ValueError(
            f"Argument `labeled_per_batch` must be from 1 to {batch_size - 1} for batches of {batch_size}. "
            f"Received: labeled_per_batch={labeled_per_batch}"
        )
    if not isinstance(labeled.element_spec, tuple) or len(labeled.element_spec) != 2:
        raise ValueError(
            f"Argument `labeled` must be a data set of pairs (x, label). Received: elements {labeled.element_spec}"
        )
    spec = labeled.element_spec[1]

    def without_label(x, *_):
        return x, tf.fill(spec.shape, tf.cast(unlabeled_label, spec.dtype))

    streams = (labeled, unlabeled.map(without_label, num_parallel_calls=tf.data.AUTOTUNE))
    sizes = (labeled_per_batch, batch_size - labeled_per_batch)
    parts = []
    for place, (stream, size) in enumerate(zip(streams, sizes, strict=True)):
        if shuffle_buffer:
            stream = stream.shuffle(shuffle_buffer, seed=2 * seed + place)
        parts.append(stream.repeat().batch(size, drop_remainder=True))

    def together(first, second):
        return tf.nest.map_structure(lambda *rows: tf.concat(rows, axis=0), first, second)

    return tf.data.Dataset.zip(*parts).map(together).prefetch(tf.data.AUTOTUNE)
