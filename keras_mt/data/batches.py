"""The batch of step t as a function of (seed, t): nothing is replayed to continue at step t.

Each stream runs through passes over its examples, without replacement, reshuffled for each pass, across batch
borders: position `p` of a stream is place `p mod n` of pass `p div n`, and a pass's order is a pseudorandom
permutation of which any place can be computed alone (`RandomIndexShuffle`; O(1) memory).
"""

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from keras_mt.data.image_memory import shared_tensor, without_copies
from keras_mt.experiments.errors import DataRequestError

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
    """Returns a function from a batch's number and a replica's to `(index, label, counted)` of the replica's examples.

    Each is of shape `[batch_size / num_replicas]`.

    Args:
        labels: Classes of the examples, integers `[examples]`; -1 where there is none.
        labeled: Indices of the labeled examples. The labels of all others are never shown.
        batch_size: Examples per batch.
        labeled_per_batch: k: k labeled examples, then `batch_size - k` from all examples with hidden labels.
            `"vary"`: all from all examples, each with the label it happens to have. `"all"`: labeled only.
        seed: Seed of the order.
        unlabeled_stream: What the `batch_size - k` are drawn from: `"all"` examples, or the `"unlabeled"` ones.
        num_replicas: Among how many replicas a batch is shared out: the same rows for any number, each share begins
            with its part of the labeled ones.

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
    shares = _shares(batch_size, from_labeled, num_replicas)
    with tf.device("cpu"):
        shown, shares = tf.convert_to_tensor(shown), tf.convert_to_tensor(shares)
        labeled, others = (tf.convert_to_tensor(indices, "int64") for indices in (labeled, others))

    def draw(step, replica=0):
        index = batch_indices(step, from_labeled, batch_size - from_labeled, labeled, others, seed)
        batch_labels = tf.gather(shown, index)
        if labeled_per_batch != "vary":
            batch_labels = tf.where(tf.range(batch_size) < from_labeled, batch_labels, -1)
        # int32: under a strategy Keras sums a batch over its replicas to see its shape, which booleans do not allow.
        counted = tf.cast((tf.range(batch_size) >= from_labeled) | (from_labeled == batch_size), "int32")
        if num_replicas == 1:
            return index, batch_labels, counted
        return tuple(tf.gather(rows, shares[replica]) for rows in (index, batch_labels, counted))

    return draw


def training_batches(
    images: np.ndarray,
    labels: np.ndarray,
    labeled: np.ndarray,
    *,
    first_step: int = 0,
    with_examples: bool = False,
    replicas: Sequence[int] = (0,),
    **drawing,
) -> tf.data.Dataset:
    """Returns the endless training batches `(images, labels)` from step `first_step` on.

    With several replicas (`num_replicas=`) these are the shares of some of them in turn, batch by batch: what
    `distribution.distributed` asks for.

    Args:
        images: uint8 `[examples, height, width, channels]`; held once, never copied.
        labels: As `training_indices` has them.
        labeled: Likewise.
        first_step: Number of the first batch.
        with_examples: Whether batches are `((images, index, counted), labels)`.
        replicas: The replicas whose shares are wanted, by their numbers.
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

    def batch(step, replica):
        index, batch_labels, counted = draw(step, replica)
        x = tf.gather(images, index)
        return ((x, index, counted) if with_examples else x), batch_labels

    shares = steps_and_replicas(first_step, replicas)
    return without_copies(shares.map(batch, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).prefetch(4))


def steps_and_replicas(first_step: int, replicas: Sequence[int]) -> tf.data.Dataset:
    """Returns the numbers `(step, replica)` of the shares of some replicas, from a step on without end."""
    with tf.device("cpu"):
        replicas = tf.constant(replicas, "int64")
    count = tf.size(replicas, out_type=tf.int64)
    turns = tf.data.Dataset.counter(start=first_step * len(replicas))
    return turns.map(lambda turn: (turn // count, tf.gather(replicas, turn % count)))


def _shares(batch_size, from_labeled, num_replicas):
    """Which rows of a batch each replica gets, `[num_replicas, rows]`: cut in pieces, one would get all labeled rows.

    Raises:
        ValueError: If the batch can't be split evenly.
    """
    if batch_size % num_replicas:
        raise ValueError(
            f"Argument `batch_size` must be a multiple of the {num_replicas} replicas. "
            f"Received: batch_size={batch_size}"
        )
    share, others, rows = batch_size // num_replicas, iter(range(from_labeled, batch_size)), []
    for replica in range(num_replicas):
        mine = list(range(replica, from_labeled, num_replicas))
        rows.append(mine + [next(others) for _ in range(share - len(mine))])
    return np.array(rows)


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


def evaluation_steps(count: int, num_replicas: int, largest: int) -> int:
    """Returns the number of batches of at most `largest` examples, and at least one for each replica, in `count`."""
    return -(-count // max(largest, num_replicas))


def evaluation_rows(count: int, num_replicas: int, replicas: Sequence[int], largest: int) -> list[range]:
    """Cuts examples into shares of replicas and these into batches: as many for each replica, none of them empty.

    A replica without a row would have nothing to do while others wait for it, and convolutions fail on no rows.

    Args:
        count: Number of examples.
        num_replicas: Number of all replicas.
        replicas: Numbers of those whose batches are wanted.
        largest: Most examples in a batch of all replicas.

    Returns:
        The rows of the batches of `replicas` in turn.

    Raises:
        DataRequestError: If there are fewer examples than replicas.
    """
    if count < num_replicas:
        raise DataRequestError(f"{count} images can't be shared out among {num_replicas} devices to evaluate on them")
    pieces = evaluation_steps(count, num_replicas, largest) * num_replicas
    borders = [count * piece // pieces for piece in range(pieces + 1)]
    return [
        range(borders[first + replica], borders[first + replica + 1])
        for first in range(0, pieces, num_replicas)
        for replica in replicas
    ]


def evaluation_batches(
    images: np.ndarray, labels: np.ndarray, batch_size: int, num_replicas: int = 1, replicas: Sequence[int] = (0,)
) -> tf.data.Dataset:
    """Returns examples once, in order, in large batches `(images, labels)`; of several replicas, the shares of some."""
    rows = evaluation_rows(len(images), num_replicas, replicas, batch_size)
    images = shared_tensor(images)
    with tf.device("cpu"):
        labels = tf.constant(labels, "int32")
    borders = tf.data.Dataset.from_tensor_slices([(piece.start, piece.stop) for piece in rows])
    batches = borders.map(lambda border: (images[border[0] : border[1]], labels[border[0] : border[1]]))
    return without_copies(batches.prefetch(2))
