"""The memory of temporal ensembling (Laine & Aila 2017, section 2.2)."""

import keras
import tensorflow as tf
from keras import ops

from keras_mt import tasks
from keras_mt.structures import as_rank


@keras.saving.register_keras_serializable(package="keras_mt")
class PredictionEnsemble(keras.layers.Layer):
    """An average of each example's past predictions: `Z ← αZ + (1 - α)z` once an epoch.

    Takes `num_examples × (size of shape + 1)` numbers of 4 bytes.

    Args:
        num_examples: Number of training examples, N.
        shape: Shape of the predictions for one example, `(classes,)` or more.
        momentum: α in [0, 1).

    Reference: https://arxiv.org/abs/1610.02242
    """

    def __init__(self, num_examples: int, shape: tuple[int, ...], momentum: float = 0.6, **kwargs):
        super().__init__(trainable=False, autocast=False, **kwargs)
        if num_examples < 1:
            raise ValueError(f"Argument `num_examples` must be positive. Received: num_examples={num_examples}")
        if not 0.0 <= momentum < 1.0:
            raise ValueError(f"Argument `momentum` must be in the range [0, 1). Received: momentum={momentum}")
        self.num_examples = num_examples
        self.shape = tuple(shape)
        self.momentum = momentum
        constant = {"trainable": False, "initializer": "zeros", "autocast": False}
        self.averages = self.add_weight((num_examples, *self.shape), name="averages", dtype="float32", **constant)
        self.visits = self.add_weight((num_examples,), name="visits", dtype="int32", **constant)
        self.built = True

    def target(self, example) -> tuple:
        """Returns what is remembered of examples.

        Args:
            example: Indices `[batch]`.

        Returns:
            Probabilities `[batch, ...]`, bias-corrected: `Z / (1 - α^visits)`; and a float32 mask `[batch]` that is 1
            for those that were visited before.
        """
        visits = tf.gather(self.visits.value, example)
        known = visits > 0
        correction = 1.0 - tf.pow(self.momentum, tf.cast(visits, "float32"))
        averages = tf.gather(self.averages.value, example)
        return averages / as_rank(tf.where(known, correction, 1.0), averages), tf.cast(known, "float32")

    def update(self, example, predictions, counted) -> None:
        """Lets examples remember one more prediction.

        Args:
            example: Indices `[batch]`, each at most twice: where one pass ends and the next begins.
            predictions: Probabilities `[batch, ...]`.
            counted: Booleans `[batch]`: whether it counts. Examples in a stream of labeled examples beside one of
                all examples do not: an epoch updates each example once.
        """
        example, predictions, counted = (_of_all_replicas(values) for values in (example, predictions, counted))
        same = (example[:, None] == example[None, :]) & counted[:, None] & counted[None, :]
        earlier = tf.linalg.band_part(tf.ones_like(same, "int32"), -1, 0) - tf.eye(tf.shape(same)[0], dtype="int32")
        again = tf.reduce_any(same & (earlier > 0), axis=1)
        for visit in (counted & ~again, counted & again):
            self._remember(example, ops.cast(predictions, "float32"), visit)

    def _remember(self, example, predictions, visit):
        difference = predictions - tf.gather(self.averages.value, example)
        moved = tf.where(as_rank(visit, difference), (1.0 - self.momentum) * difference, 0.0)
        self.averages.value.scatter_add(tf.IndexedSlices(moved, example))
        self.visits.value.scatter_add(tf.IndexedSlices(tf.cast(visit, "int32"), example))

    def get_config(self):
        own = {"num_examples": self.num_examples, "shape": self.shape, "momentum": self.momentum}
        return {**super().get_config(), **own}


def _of_all_replicas(values):
    """Rows of the global batch: each replica remembers all of them, so that their memories are equal."""
    replica = tf.distribute.get_replica_context()
    if replica.num_replicas_in_sync == 1:
        return values
    if values.dtype == tf.bool:  # It gathers numbers only.
        return tf.cast(replica.all_gather(tf.cast(values, "int32"), axis=0), "bool")
    # An identity, since what comes from the data has no device, which several workers ask for.
    return replica.all_gather(tf.identity(values), axis=0)


def split_index(x, number_of_inputs: int, training: bool) -> tuple:
    """Splits what `fit` was given into what the network takes and whose predictions they are.

    Args:
        x: `(inputs, example)` or `(inputs, example, counted)`; in evaluation also the inputs alone.
        number_of_inputs: How many tensors the network takes.
        training: Whether the indices are needed.

    Returns:
        `(inputs, (example, counted))`, or `(inputs, None)` if there are no indices.

    Raises:
        ValueError: If they are needed and not there.
    """
    if len(keras.tree.flatten(x)) > number_of_inputs:
        x, example, *counted = x
        return x, (example, tf.cast(counted[0], "bool") if counted else tf.ones_like(example, "bool"))
    if training:
        raise ValueError(
            "Temporal ensembling needs the index of each example as well: `fit((x, np.arange(len(x))), y)`. "
            "Received: x alone"
        )
    return x, None


def require_examples(index: tuple, num_examples: int) -> tuple:
    """Returns `(example, counted)` of a batch; the indices are checked inside of a compiled step.

    Args:
        index: What `split_index` returned.
        num_examples: Number of training examples.
    """
    example, counted = tf.convert_to_tensor(index[0]), index[1]
    if not example.dtype.is_integer:
        raise ValueError(f"Indices of examples must be integers. Received: {example.dtype.name}")
    example = tf.cast(example, "int64")
    smallest, largest = tf.reduce_min(example), tf.reduce_max(example)
    operations = tasks.require(
        tf.logical_or(tf.equal(tf.size(example), 0), tf.logical_and(smallest >= 0, largest < num_examples)),
        f"Indices of examples must be from 0 to {num_examples - 1}. Received: ",
        tf.where(largest >= num_examples, largest, smallest),
    )
    with tf.control_dependencies(operations):  # Where there is no such example, nothing is looked up.
        return tf.identity(example), counted
