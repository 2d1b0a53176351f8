"""The labels of one output in one batch, and sums of costs that are divided over all replicas."""

import dataclasses

import tensorflow as tf
from keras import ops

from keras_mt.structures import as_rank


@dataclasses.dataclass(frozen=True)
class Labels:
    """The labels of one output in one batch.

    Attributes:
        values: Labels with 0 in place of what is missing.
        mask: Float32, 1 where there is a label: `[batch, ...]`; of yes-or-no outputs and numbers one for each,
            `[batch, ..., outputs]`.
        weight: The mask times the weights of examples and classes.
        weighted: Whether there are such weights.
        places: How many labels there could be in the batch, float32.
        padding: Float32, 0 where there is padding, of the rank of the mask; None if there is none.
        before_padding: These labels with those of padding; None if there is none.
    """

    values: tf.Tensor
    mask: tf.Tensor
    weight: tf.Tensor
    weighted: bool
    places: tf.Tensor
    padding: tf.Tensor | None = None
    before_padding: "Labels | None" = None

    @property
    def whole(self) -> "Labels":
        """These labels with those of padding: what is padding belongs to outputs, not to what is moved with labels."""
        return self if self.before_padding is None else self.before_padding

    def padded(self, padding) -> "Labels":
        """Returns the labels without those of padding.

        Args:
            padding: 0 where there is padding, of outputs or of labels; None if there is none.
        """
        if padding is None:
            return self
        padding = as_rank(ops.cast(padding, "float32"), self.mask)
        places = ops.sum(padding * ops.ones_like(self.mask))
        return Labels(
            self.values, self.mask * padding, self.weight * padding, self.weighted, places, padding, before_padding=self
        )

    @property
    def examples(self) -> tf.Tensor:
        """Booleans `[batch]`: which examples have a label."""
        return _rows_with_any(self.mask)

    @property
    def rows(self) -> tf.Tensor:
        """How many examples are not padding alone, float32."""
        if self.padding is None:
            return ops.cast(ops.shape(self.mask)[0], "float32")
        return ops.sum(ops.cast(_rows_with_any(self.padding), "float32"))


@dataclasses.dataclass(frozen=True)
class Sum:
    """A sum of costs, and what it is to be divided by once that is summed over replicas."""

    total: tf.Tensor
    count: tf.Tensor


def _rows_with_any(values):
    return ops.any(ops.reshape(values, (ops.shape(values)[0], -1)) > 0, axis=1)
