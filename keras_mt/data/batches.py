"""The batch of step t as a function of (seed, t), from arrays and labels of some of their examples."""

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from keras_mt.data.image_memory import shared_tensor
from keras_mt.data.pipeline_options import without_autograph, without_copies
from keras_mt.data.sampling import Sampling
from keras_mt.data.shuffling import shuffled_places
from keras_mt.errors import ArgumentError
from keras_mt.losses.classification import UNLABELED


def training_indices(labels: np.ndarray, labeled: np.ndarray, sampling: Sampling, num_replicas: int = 1) -> Callable:
    """Returns a function from the numbers of a batch and a replica to the examples of that replica's shard.

    Args:
        labels: Classes of the examples, integers `[examples]`; -1 where there is none.
        labeled: Example indices `[labels]` of the labeled ones. The labels of all others are masked.
        sampling: How batches are put together.
        num_replicas: Number of replicas that a batch is sharded across: the batch has the same rows for any number, and
            each shard begins with its part of the labeled ones.

    Returns:
        A function of a step and a replica (0 by default) that returns `(index, label, counted)`, each of shape
        `[batch_size / num_replicas]`, which are the example indices, the labels (-1 where masked), and 1 where the row
        belongs to the epoch's pass, which labeled rows beside an unlabeled stream do not.

    Raises:
        ValueError: If labels or indices are not as described, a batch holds more rows than there are examples or is no
            multiple of the replicas, or `unlabeled_stream="unlabeled"` and all examples are labeled.

    Example:

    ```python
    classes = np.where(np.arange(500) < 40, np.arange(500) % 10, -1)
    rows = keras_mt.data.training_indices(classes, np.arange(40), keras_mt.data.Sampling(64, 16, seed=0))
    index, label, counted = rows(tf.constant(0, "int64"))  # Of the first batch.
    ```
    """
    labels, labeled = np.asarray(labels), np.asarray(labeled)
    _check(labels, labeled)
    if sampling.batch_size > len(labels):
        raise ArgumentError(
            "batch_size", sampling.batch_size, f"must be at most the number of training examples, {len(labels)}"
        )
    shown = np.full(len(labels), UNLABELED, "int32")
    shown[labeled] = labels[labeled]
    others = np.arange(len(shown)) if sampling.unlabeled_stream == "all" else np.flatnonzero(shown < 0)
    if not len(others):
        raise ArgumentError(
            "unlabeled_stream", sampling.unlabeled_stream, "needs examples without a label; all of them are labeled"
        )
    batch_size, from_labeled, from_others = sampling.batch_size, sampling.from_labeled, sampling.from_unlabeled
    shards = _shards(batch_size, from_labeled, num_replicas)
    with tf.device("cpu"):
        shown, shards = tf.convert_to_tensor(shown), tf.convert_to_tensor(shards)
        labeled, others = (tf.convert_to_tensor(indices, "int64") for indices in (labeled, others))

    @without_autograph
    def rows(step, replica=0):
        index = tf.concat(
            [
                tf.gather(stream, shuffled_places(tf.size(stream, tf.int64), count, sampling.seed, number, step))
                for number, (stream, count) in enumerate(((labeled, from_labeled), (others, from_others)))
                if count
            ],
            axis=0,
        )
        batch_labels = tf.gather(shown, index)
        if sampling.labeled_per_batch != "vary":
            batch_labels = tf.where(tf.range(batch_size) < from_labeled, batch_labels, UNLABELED)
        # int32: under a strategy Keras sums a batch over its replicas to see its shape, which booleans do not allow.
        counted = tf.cast((tf.range(batch_size) >= from_labeled) | (from_labeled == batch_size), "int32")
        if num_replicas == 1:
            return index, batch_labels, counted
        return tuple(tf.gather(column, shards[replica]) for column in (index, batch_labels, counted))

    return rows


def training_batches(
    images: np.ndarray,
    labels: np.ndarray,
    labeled: np.ndarray,
    sampling: Sampling,
    *,
    first_step: int = 0,
    with_examples: bool = False,
    num_replicas: int = 1,
    replicas: Sequence[int] = (0,),
) -> tf.data.Dataset:
    """Returns the endless training batches `(images, labels)` from step `first_step` on.

    With several replicas these are the shards of some of them in turn, batch by batch: what
    `keras_mt.distribution.distributed` asks for.

    Args:
        images: uint8 `[examples, height, width, channels]`. The array is not copied if its memory is contiguous and
            begins at a multiple of 64 bytes, as that of `np.load(path, mmap_mode="r")` does.
        labels: Classes of the examples, integers `[examples]`; -1 where there is none.
        labeled: Example indices `[labels]` of the labeled ones. The labels of all others are masked.
        sampling: How batches are put together.
        first_step: Number of the first batch.
        with_examples: Whether batches are `((images, index, counted), labels)`, as `method="temporal_ensembling"` takes
            them; see `training_indices`.
        num_replicas: Number of replicas that a batch is sharded across.
        replicas: The replicas whose shards are returned, by their numbers.

    Returns:
        A data set of images uint8 `[batch_size / num_replicas, height, width, channels]` and labels int32
        `[batch_size / num_replicas]`.

    Raises:
        ValueError: If images, labels or indices are not as described, or a batch can't be put together from them.

    Example:

    ```python
    from keras_mt import data

    random = np.random.RandomState(0)
    images, labels = random.randint(0, 256, (500, 8, 8, 3)).astype("uint8"), np.arange(500) % 10
    everything = np.ones(len(labels), bool)
    labeled = data.choose_labeled(labels, everything, num_labels=100, num_classes=10, random=random)
    sampling = data.Sampling(batch_size=64, labeled_per_batch=16, seed=0)
    batches = data.training_batches(images, labels, labeled, sampling)  # For `fit(batches, steps_per_epoch=...)`.
    ```
    """
    if images.dtype != np.uint8 or images.ndim != 4 or not len(images):
        raise ArgumentError(
            "images",
            f"{images.dtype} of shape {images.shape}",
            "must be uint8 of shape [examples, height, width, channels] with at least one example",
        )
    if len(labels) != len(images):
        raise ArgumentError("labels", f"{len(labels)} labels", f"must be of shape [{len(images)}], one an image")
    rows = training_indices(labels, labeled, sampling, num_replicas)
    images = shared_tensor(images)

    @without_autograph
    def batch(step, replica):
        index, batch_labels, counted = rows(step, replica)
        x = tf.gather(images, index)
        return ((x, index, counted) if with_examples else x), batch_labels

    shards = steps_and_replicas(first_step, replicas)
    return without_copies(shards.map(batch, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).prefetch(4))


def steps_and_replicas(first_step: int, replicas: Sequence[int]) -> tf.data.Dataset:
    """Returns the numbers `(step, replica)` of the shards of some replicas, from a step on without end.

    Args:
        first_step: Number of the first batch.
        replicas: Numbers of the replicas.
    """
    with tf.device("cpu"):
        replicas = tf.constant(replicas, "int64")
    count = tf.size(replicas, out_type=tf.int64)
    shards = tf.data.Dataset.counter(start=first_step * len(replicas))
    return shards.map(without_autograph(lambda number: (number // count, tf.gather(replicas, number % count))))


def _shards(batch_size, from_labeled, num_replicas):
    """Which rows of a batch each replica gets, `[num_replicas, rows]`: cut in pieces, one would get all labeled rows.

    Raises:
        ValueError: If the batch can't be split evenly.
    """
    if batch_size % num_replicas:
        raise ArgumentError("batch_size", batch_size, f"must be a multiple of the {num_replicas} replicas")
    shard, others, rows = batch_size // num_replicas, iter(range(from_labeled, batch_size)), []
    for replica in range(num_replicas):
        of_labeled = list(range(replica, from_labeled, num_replicas))
        rows.append(of_labeled + [next(others) for _ in range(shard - len(of_labeled))])
    return np.array(rows)


def _check(labels, labeled):
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or not len(labels) or labels.min() < UNLABELED:
        lowest = f" from {labels.min()}" if labels.size else ""
        raise ArgumentError(
            "labels",
            f"{labels.dtype} of shape {labels.shape}{lowest}",
            "must be integers from -1 of shape [examples]",
        )
    indices = labeled.ndim == 1 and labeled.dtype.kind in "iu" and len(labeled) and labeled.min() >= 0
    if not indices or labeled.max() >= len(labels) or (labels[labeled] < 0).any():
        raise ArgumentError(
            "labeled", labeled, f"must be indices below {len(labels)} of examples that have a label, at least one"
        )


def evaluation_steps(count: int, num_replicas: int, largest: int) -> int:
    """Returns the number of batches of at most `largest` examples, and at least one for each replica, in `count`."""
    return -(-count // max(largest, num_replicas))


def evaluation_rows(count: int, num_replicas: int, replicas: Sequence[int], largest: int) -> list[range]:
    """Shards examples across replicas and cuts the shards into batches: as many for each replica, none of them empty.

    A replica without a row would have nothing to do while others wait for it, and convolutions fail on no rows.

    Args:
        count: Number of examples.
        num_replicas: Number of all replicas.
        replicas: Numbers of those whose batches are returned.
        largest: Most examples in a batch of all replicas.

    Returns:
        The rows of the batches of `replicas` in turn.

    Raises:
        ValueError: If there are fewer examples than replicas.
    """
    if count < num_replicas:
        raise ArgumentError(
            "num_replicas", num_replicas, f"must be at most the number of examples to evaluate on, {count}"
        )
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
    """Returns examples once, in order, in large batches `(images, labels)`; of several replicas, the shards of some.

    Args:
        images: `[examples, ...]`, copied as little as by `training_batches`.
        labels: Classes of the examples, integers `[examples]`.
        batch_size: Most examples in a batch of all replicas.
        num_replicas: Number of replicas that a batch is sharded across.
        replicas: The replicas whose shards are returned, by their numbers.

    Raises:
        ValueError: If there are fewer examples than replicas.

    Example:

    ```python
    images = np.zeros((120, 8, 8, 1), "uint8")
    batches = keras_mt.data.evaluation_batches(images, np.arange(120) % 10, batch_size=50)  # Three of 40.
    ```
    """
    rows = evaluation_rows(len(images), num_replicas, replicas, batch_size)
    images = shared_tensor(images)
    with tf.device("cpu"):
        labels = tf.constant(labels, "int32")
    borders = tf.data.Dataset.from_tensor_slices([(piece.start, piece.stop) for piece in rows])
    batches = borders.map(
        without_autograph(lambda border: (images[border[0] : border[1]], labels[border[0] : border[1]]))
    )
    return without_copies(batches.prefetch(2))
