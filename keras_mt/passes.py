"""The passes of a step: which network sees which rows of the batch, under which noise, with which statistics."""

from collections.abc import Callable

import keras
import tensorflow as tf

from keras_mt import tasks
from keras_mt.averages import restore_statistics, snapshot_overwritten, snapshot_statistics
from keras_mt.structures import first_tensor, keras_mask, map_tensors
from keras_mt.views import noise_variables, set_noise

_STUDENT, TARGET, _UNLABELED = 0, 1, 2  # Passes of a step with noise of their own; those of views follow.


class JointPasses:
    """Those of Tarvainen & Valpola (2017): both networks see the whole batch, labeled and unlabeled rows together.

    Args:
        seed: Seed of all noise.
        flat: From what a network returns and the mode that it was in, `"training"`, to its flattened outputs;
            `structures.Structure.flat` checks them.
    """

    def __init__(self, seed: int, flat: Callable[..., list]):
        self.seed, self.flat = seed, flat

    def student(self, network: keras.Model, x, step) -> tuple[list, list]:
        """Returns the outputs `[batch, ...]` of the student in training mode, and what its layers add to the loss.

        Args:
            network: The student.
            x: What it takes, `[batch, ...]`.
            step: Number of batches trained on so far; noise is a function of it.

        Returns:
            The flattened outputs, and a list with the network's losses after each pass.
        """
        outputs = self._noisy(network, x, step, _STUDENT)
        return outputs, [list(network.losses)]

    def target(
        self, network: keras.Model, x, step, keep_statistics: bool = True, draw: int = TARGET, rows=None
    ) -> list:
        """Returns the flattened outputs of the target's network, under noise of its own.

        Args:
            network: The teacher, or the student (Π model).
            x: What it takes.
            step: As above.
            keep_statistics: Whether this pass updates the network's running statistics.
            draw: Number of the pass, by which its noise is drawn.
            rows: Places of the rows that are forwarded, the others' outputs are 0; None for all.
        """
        seen = x if rows is None else map_tensors(lambda part: tf.gather(part, rows), x)
        outputs = (self._keeping_weights if keep_statistics else self._without_moving)(network, seen, step, draw)
        if rows is None:
            return outputs
        batch = tf.shape(first_tensor(x), "int64")[0]
        return [
            tf.scatter_nd(rows[:, None], o, tf.concat([[batch], tf.shape(o, "int64")[1:]], axis=0)) for o in outputs
        ]

    def mask(self, labeled: tf.Tensor, on_labeled: bool):
        """Returns the weights of the consistency cost, of the shape of `labeled` or `[batch]`; None for all alike."""
        return None if on_labeled else 1.0 - labeled

    def require_order(self, outputs: list, labels: list) -> None:
        """Checks inside of a step that labeled rows are where these passes look for them.

        Args:
            outputs: The `outputs.Output`s that are trained.
            labels: The `labels.Labels` of each.
        """

    def _noisy(self, network, x, step, draw):
        set_noise(noise_variables(network), self.seed, step, draw)
        before = snapshot_overwritten(network, only_frozen=True)
        outputs = self.flat(network(x, training=True), "training")
        restore_statistics(before)
        return outputs

    def _keeping_weights(self, network, x, step, draw):
        before = snapshot_overwritten(network)
        outputs = self._noisy(network, x, step, draw)
        restore_statistics(before)
        return outputs

    def _without_moving(self, network, x, step, draw):
        before = snapshot_statistics(network)
        outputs = self._noisy(network, x, step, draw)
        restore_statistics(before)
        return outputs


class SeparatePasses(JointPasses):
    """The later protocol's (TorchSSL): labeled and unlabeled rows are forwarded separately, each under its own
    batch's statistics.

    One of the student's passes updates running statistics. There is no target for labeled rows.

    Args:
        seed: Seed of all noise.
        flat: As above.
        num_labeled: The first so many rows of each batch are the labeled ones; with several replicas, the first of each
            replica's rows.
        statistics_of: Whose pass updates running statistics: `"labeled"` rows', the student's alone, or `"unlabeled"`
            rows', of both networks.
    """

    def __init__(self, seed: int, flat: Callable[..., list], num_labeled: int, statistics_of: str = "labeled"):
        super().__init__(seed, flat)
        self.num_labeled, self.statistics_of = num_labeled, statistics_of

    def student(self, network, x, step):
        labeled, unlabeled = self._parts(x)
        moves, stays = self._noisy, self._without_moving
        of_labeled, of_unlabeled = (moves, stays) if self.statistics_of == "labeled" else (stays, moves)
        first = of_labeled(network, labeled, step, _STUDENT)
        losses = [list(network.losses)]
        second = of_unlabeled(network, unlabeled, step, _UNLABELED)
        losses.append(list(network.losses))
        return [_joined(parts) for parts in zip(first, second, strict=True)], losses

    def target(self, network, x, step, keep_statistics=True, draw=TARGET, rows=None):
        keeps = keep_statistics and self.statistics_of == "unlabeled"
        forward = self._keeping_weights if keeps else self._without_moving
        outputs = forward(network, self._parts(x)[1], step, draw)
        k = self._labeled_here()
        return [tf.pad(o, [[k, 0]] + [[0, 0]] * (len(o.shape) - 1)) for o in outputs]

    def mask(self, labeled, on_labeled):
        return tf.cast(tf.range(tf.shape(labeled)[0]) >= self._labeled_here(), "float32")

    def require_order(self, outputs, labels):
        labeled = tf.reduce_any(tf.stack([of_output.examples for of_output in labels]), axis=0)
        k = self._labeled_here()
        makers = (
            "batches of `keras_mt.data.two_stream`, or arrays in this order, batch by batch, with `shuffle=False`"
            if k == self.num_labeled
            else "on replicas those of `keras_mt.distribution.distributed`, since Keras cuts a batch in pieces"
        )
        sentence = (
            f"Argument `separate_passes`={self.num_labeled} needs batches that begin with that many labeled rows, all "
            f"others unlabeled: {makers}. Received: a batch (of one replica) with "
        )
        first = tf.reduce_sum(tf.cast(labeled[:k], "int32"))
        later = tf.reduce_sum(tf.cast(labeled[k:], "int32"))
        # Where all rows are labeled, each is where it belongs.
        tasks.require(
            (first == k) | (later == 0),
            sentence + f"unlabeled rows among the first {k}, labeled rows after them: ",
            later,
        )
        if all(output.task_name == "multiclass" and output.rank == 2 for output in outputs):
            # Not of pixels or several answers: an example may have been looked at, and none of them be known.
            tasks.require((first == k) | (first == 0), sentence + f"labeled rows among the first {k}: ", first)

    def _labeled_here(self):
        """Of the labeled rows, those of this replica."""
        return self.num_labeled // tf.distribute.get_strategy().num_replicas_in_sync

    def _parts(self, x):
        k, rows = self._labeled_here(), tf.shape(first_tensor(x))[0]
        tasks.require(
            rows > k,
            f"Argument `separate_passes`={self.num_labeled} must be below the number of examples of each batch. "
            "Received: a batch (of one replica) of ",
            rows,
        )
        return map_tensors(lambda r: r[:k], x), map_tensors(lambda r: r[k:], x)


def _joined(parts):
    outputs, masks = tf.concat(parts, axis=0), [keras_mask(part) for part in parts]
    if all(mask is not None for mask in masks):
        outputs._keras_mask = tf.concat(masks, axis=0)
    return outputs
