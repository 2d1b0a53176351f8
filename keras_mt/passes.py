"""The passes of a step: which network sees which rows of the batch, under which noise, with which statistics."""

import keras
import tensorflow as tf

from keras_mt import teacher as twin
from keras_mt.views import noise_variables, set_noise


class JointPasses:
    """The paper's: both networks see the whole batch, labeled and unlabeled rows together.

    Args:
        seed: Seed of all noise.
    """

    def __init__(self, seed: int):
        self.seed = seed

    def student(self, network: keras.Model, x, step) -> tuple:
        """Returns the logits of both heads `[batch, classes]`; the network is in training mode.

        Args:
            network: The student.
            x: What it takes, `[batch, ...]`.
            step: Number of batches trained on so far; noise is a function of it.
        """
        return self._noisy(network, x, step, draw=0)

    def target(self, network: keras.Model, x, step) -> tf.Tensor:
        """Returns the target's logits `[batch, classes]`, under noise of its own."""
        return self._noisy(network, x, step, draw=1)[0]

    def taking_part(self, labeled: tf.Tensor, on_labeled: bool):
        """Returns the weights `[batch]` of the consistency cost; None for all alike."""
        return None if on_labeled else 1.0 - labeled

    def _noisy(self, network, x, step, draw):
        set_noise(noise_variables(network), self.seed, step, draw)
        return twin.heads(network(x, training=True))


class SeparatePasses(JointPasses):
    """The later protocol's (TorchSSL): labeled and unlabeled rows pass apart, each under its own batch's statistics.

    Only the student's pass over labeled rows moves running statistics. There is no target for labeled rows.

    Args:
        seed: Seed of all noise.
        num_labeled: The first so many rows of each batch are the labeled ones; with several replicas, the first of each
            replica's share.
    """

    def __init__(self, seed: int, num_labeled: int):
        super().__init__(seed)
        self.num_labeled = num_labeled

    def student(self, network, x, step):
        labeled, unlabeled = self._parts(x)
        shown = self._noisy(network, labeled, step, draw=0)
        hidden = self._without_moving(network, unlabeled, step, draw=2)
        return tuple(tf.concat(parts, axis=0) for parts in zip(shown, hidden, strict=True))

    def target(self, network, x, step):
        target = self._without_moving(network, self._parts(x)[1], step, draw=1)[0]
        return tf.pad(target, [[self._labeled_here(), 0]] + [[0, 0]] * (len(target.shape) - 1))

    def taking_part(self, labeled, on_labeled):
        return tf.cast(tf.range(tf.shape(labeled)[0]) >= self._labeled_here(), "float32")

    def _labeled_here(self):
        """Of the labeled rows, those of this replica."""
        return self.num_labeled // tf.distribute.get_strategy().num_replicas_in_sync

    def _parts(self, x):
        k = self._labeled_here()
        return tf.nest.map_structure(lambda rows: rows[:k], x), tf.nest.map_structure(lambda rows: rows[k:], x)

    def _without_moving(self, network, x, step, draw):
        before = twin.remember_statistics(network)
        heads = self._noisy(network, x, step, draw)
        twin.restore_statistics(network, before)
        return heads
