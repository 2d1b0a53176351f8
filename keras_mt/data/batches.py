"""The batch of step t as a function of (seed, t): nothing is replayed to continue at step t.

Each stream runs through passes over its examples, without replacement, reshuffled for each pass, across batch
borders: position `p` of a stream is place `p mod n` of pass `p div n`, and a pass's order is a pseudorandom
permutation of which any place can be computed alone (`RandomIndexShuffle`; O(1) memory).
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from keras_mt.data.image_memory import shared_tensor, without_copies

_LABELED_STREAM, _UNLABELED_STREAM = 0, 1


def _draw(examples, count, seed, stream, step):
    """The `count` examples that a stream holds at a step, from its example indices `[n]`."""
    size = tf.size(examples, out_type=tf.int64)
    position = step * count + tf.range(count, dtype="int64")
    turn, place = position // size, position % size
    # One seed a row: `tf.random.experimental.index_shuffle` pads batched seeds wrongly, the raw operation does not.
    key = tf.stack([tf.fill([count], tf.constant(seed * 2 + stream, "int64")), turn // 2**31, turn % 2**31], axis=1)
    order = tf.raw_ops.RandomIndexShuffle(index=place, seed=tf.cast(key, "uint32"), max_index=size - 1)
    return tf.gather(examples, order)


def batch_indices(
    step, num_labeled_drawn: int, num_others_drawn: int, labeled: tf.Tensor, others: tf.Tensor, seed: int
) -> tf.Tensor:
    """Returns the indices of the examples of one batch, labeled ones first.

    Args:
        step: Number of the batch, scalar int64.
        num_labeled_drawn: How many come from `labeled`.
        num_others_drawn: How many come from `others`.
        labeled: Indices `[n]` of the first stream.
        others: Indices `[m]` of the second stream.
        seed: Seed of the order.
    """
    parts = []
    if num_labeled_drawn:
        parts.append(_draw(labeled, num_labeled_drawn, seed, _LABELED_STREAM, step))
    if num_others_drawn:
        parts.append(_draw(others, num_others_drawn, seed, _UNLABELED_STREAM, step))
    return tf.concat(parts, axis=0)


def training_indices(
    labels: np.ndarray,
    labeled: np.ndarray,
    *,
    batch_size: int,
    labeled_per_batch: int | str,
    seed: int,
    unlabeled_stream: str = "all",
    num_replicas: int = 1,
) -> Callable:
    """Returns a function from the number of a batch to `(index, label, counted)` of its examples, each `[batch_size]`.

    Args:
        labels: Classes of the examples, integers `[examples]`; -1 where there is none.
        labeled: Indices of the labeled examples. The labels of all others are never shown.
        batch_size: Examples per batch.
        labeled_per_batch: k: k labeled examples, then `batch_size - k` from all examples with hidden labels.
            `"vary"`: all from all examples, each with the label it happens to have. `"all"`: labeled only.
        seed: Seed of the order.
        unlabeled_stream: What the `batch_size - k` are drawn from: `"all"` examples, or the `"unlabeled"` ones.
        num_replicas: Rows are put in an order whose equal contiguous shares, one a replica, begin with their part of
            the labeled rows. The same rows for any number.

    Returns:
        The function. `counted` is 1 or 0: whether this is the example's visit of the epoch, which labeled examples
        drawn beside the others' stream are not.

    Raises:
        ValueError: If labels or numbers are not as described.
    """
    _check(labels, labeled, batch_size, labeled_per_batch)
    shown = np.full(len(labels), -1, "int32")
    shown[labeled] = labels[labeled]
    others = np.arange(len(shown)) if unlabeled_stream == "all" else np.flatnonzero(shown < 0)
    if not len(others):
        raise ValueError('Argument `unlabeled_stream="unlabeled"` needs unlabeled examples. Received: none')
    from_labeled = {"vary": 0, "all": batch_size}.get(labeled_per_batch, labeled_per_batch)
    order = _order_of_shares(batch_size, from_labeled, num_replicas) if num_replicas > 1 else None
    with tf.device("cpu"):
        shown = tf.convert_to_tensor(shown)
        labeled, others = (tf.convert_to_tensor(indices, "int64") for indices in (labeled, others))

    def draw(step):
        index = batch_indices(step, from_labeled, batch_size - from_labeled, labeled, others, seed)
        batch_labels = tf.gather(shown, index)
        if labeled_per_batch != "vary":
            batch_labels = tf.where(tf.range(batch_size) < from_labeled, batch_labels, -1)
        # int32: under a strategy Keras sums a batch over its replicas to see its shape, which booleans do not allow.
        counted = tf.cast((tf.range(batch_size) >= from_labeled) | (from_labeled == batch_size), "int32")
        if order is None:
            return index, batch_labels, counted
        return tuple(tf.gather(rows, order) for rows in (index, batch_labels, counted))

    return draw


def training_batches(
    images: np.ndarray,
    labels: np.ndarray,
    labeled: np.ndarray,
    *,
    first_step: int = 0,
    with_examples: bool = False,
    **drawing,
) -> tf.data.Dataset:
    """Returns the endless training batches `(images, labels)` from step `first_step` on.

    Args:
        images: uint8 `[examples, height, width, channels]`; held once, never copied.
        labels: As `training_indices` has them.
        labeled: Likewise.
        first_step: Number of the first batch.
        with_examples: Whether batches are `((images, index, counted), labels)`.
        **drawing: The other arguments of `training_indices`.

    Raises:
        ValueError: If images, labels or numbers are not as described.
    """
    if images.dtype != np.uint8 or images.ndim != 4 or not len(images):
        raise ValueError(
            "Argument `images` must be uint8 of shape [examples, height, width, channels] with at least one example. "
            f"Received: {images.dtype} of shape {images.shape}"
        )
    if len(labels) != len(images):
        raise ValueError(f"Argument `labels` must be of shape [{len(images)}], one an image. Received: {len(labels)}")
    draw = training_indices(labels, labeled, **drawing)
    if with_examples and drawing["batch_size"] > len(images):
        raise ValueError(
            f"Argument `batch_size` must be at most the number of examples, {len(images)}, for an epoch to visit each "
            f"once. Received: batch_size={drawing['batch_size']}"
        )
    images = shared_tensor(images)

    def batch(step):
        index, batch_labels, counted = draw(step)
        x = tf.gather(images, index)
        return ((x, index, counted) if with_examples else x), batch_labels

    steps = tf.data.Dataset.counter(start=first_step)
    return without_copies(steps.map(batch, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).prefetch(4))


def _order_of_shares(batch_size, from_labeled, num_replicas):
    """Permutation of a batch's rows: strategies split a tensor into contiguous shares; one would get all labeled rows.

    Raises:
        ValueError: If the batch can't be split evenly.
    """
    if batch_size % num_replicas:
        raise ValueError(
            f"Argument `batch_size` must be a multiple of the {num_replicas} replicas. "
            f"Received: batch_size={batch_size}"
        )
    share, others, order = batch_size // num_replicas, iter(range(from_labeled, batch_size)), []
    for replica in range(num_replicas):
        mine = list(range(replica, from_labeled, num_replicas))
        order += mine + [next(others) for _ in range(share - len(mine))]
    return np.array(order)


def _check(labels, labeled, batch_size, labeled_per_batch):
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or not len(labels) or labels.min() < -1:
        raise ValueError(
            f"Argument `labels` must be integers from -1 of shape [examples]. Received: {labels.dtype} of shape "
            f"{labels.shape}{f' from {labels.min()}' if labels.size else ''}"
        )
    if not len(labeled) or labeled.min() < 0 or labeled.max() >= len(labels) or (labels[labeled] < 0).any():
        raise ValueError(
            f"Argument `labeled` must be indices below {len(labels)} of examples that have a label, at least one. "
            f"Received: {labeled}"
        )
    if batch_size < 1:
        raise ValueError(f"Argument `batch_size` must be positive. Received: batch_size={batch_size}")
    if labeled_per_batch not in ("vary", "all") and not (
        isinstance(labeled_per_batch, int) and 1 <= labeled_per_batch <= batch_size
    ):
        raise ValueError(
            f'Argument `labeled_per_batch` must be from 1 to {batch_size}, "vary" or "all". '
            f"Received: labeled_per_batch={labeled_per_batch!r}"
        )


def evaluation_batch_size(count: int, largest: int) -> int:
    """Returns a batch size whose last batch leaves no replica without a row, on which oneDNN's convolutions fail."""
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    while 0 < count % largest < replicas:
        largest -= 1
    return largest


def evaluation_batches(images: np.ndarray, labels: np.ndarray, batch_size: int = 500) -> tf.data.Dataset:
    """Returns all examples once, in order, in large batches `(images, labels)`."""
    batch_size = evaluation_batch_size(len(images), batch_size)
    examples = tf.data.Dataset.from_tensor_slices((shared_tensor(images), labels.astype("int32")))
    return without_copies(examples.batch(batch_size).prefetch(2))
