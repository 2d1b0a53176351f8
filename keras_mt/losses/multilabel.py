"""Costs of outputs that are yes or no each, of which several or none may be yes (binary and multi-label)."""

import keras
from keras import ops

from keras_mt.losses.classification import UNLABELED, signed


def mask_unknown(labels, rank: int = 2):
    """Returns labels with 0 in place of -1, and a float32 mask of the same shape, 1 where there was a label.

    Args:
        labels: 0, 1 or -1 of any dtype, `[batch, ..., outputs]`.
        rank: As `mask_unlabeled` has it; each output has a mask of its own whatever it is.

    Example:

    ```python
    import numpy as np

    from keras_mt.losses import mask_unknown

    labels, mask = mask_unknown(np.array([[1, -1, 0]]))  # [[1, 0, 0]], [[1, 0, 1]]
    ```
    """
    labels = signed(labels)
    known = ops.not_equal(labels, ops.cast(UNLABELED, labels.dtype))
    return ops.where(known, labels, ops.zeros_like(labels)), ops.cast(known, "float32")


@keras.saving.register_keras_serializable(package="keras_mt")
class MultiLabelCost(keras.losses.Loss):
    """Binary cross-entropy of each output that has a label, divided by the number of *all* outputs of the batch.

    Args:
        from_logits: Whether predictions are logits (default) or probabilities.
        reduction: As `ClassificationCost` has it.
        name: Name of the loss.

    Call arguments:
        y_true: 0, 1, or -1 for unlabeled, `[batch, ..., outputs]`.
        y_pred: Predictions `[batch, ..., outputs]`.

    Example:

    ```python
    import numpy as np

    import keras_mt

    loss = keras_mt.losses.MultiLabelCost()
    cost = loss(np.array([[1, 0], [-1, 1]]), np.array([[2.0, -1.0], [0.5, 3.0]], "float32"))
    ```
    """

    def __init__(self, from_logits: bool = True, reduction="sum_over_batch_size", name="classification_cost"):
        super().__init__(name=name, reduction=reduction)
        self.from_logits = from_logits

    def call(self, y_true, y_pred):
        """Returns the cost of each output `[batch, ..., outputs]`, 0 where the label is -1."""
        labels, known = mask_unknown(y_true)
        cost = ops.binary_crossentropy(ops.cast(labels, y_pred.dtype), y_pred, from_logits=self.from_logits)
        return cost * ops.cast(known, cost.dtype)

    def get_config(self):
        return {**super().get_config(), "from_logits": self.from_logits}


@keras.saving.register_keras_serializable(package="keras_mt")
class SigmoidMSEConsistency(keras.losses.Loss):
    """`(sigmoid(student) - sigmoid(teacher))²` of each output: `MSEConsistency` for two classes, yes and no.

    Call arguments:
        y_true: The target's logits `[batch, ..., outputs]`.
        y_pred: The student's logits, of the same shape. The result has it too.

    Example:

    ```python
    import numpy as np

    import keras_mt

    loss = keras_mt.losses.SigmoidMSEConsistency()
    cost = loss(np.array([[2.0, -1.0]], "float32"), np.array([[1.0, 0.0]], "float32"))
    ```
    """

    def __init__(self, reduction="sum_over_batch_size", name="sigmoid_mse_consistency"):
        super().__init__(name=name, reduction=reduction)

    def call(self, y_true, y_pred):
        return ops.square(ops.sigmoid(y_pred) - ops.sigmoid(y_true))


@keras.saving.register_keras_serializable(package="keras_mt")
class SigmoidKLConsistency(keras.losses.Loss):
    """`KL(teacher ‖ student)` of each output's distribution over yes and no.

    Call arguments:
        y_true: The target's logits `[batch, ..., outputs]`.
        y_pred: The student's logits, of the same shape. The result has it too.

    Example:

    ```python
    import numpy as np

    import keras_mt

    loss = keras_mt.losses.SigmoidKLConsistency()
    cost = loss(np.array([[2.0, -1.0]], "float32"), np.array([[1.0, 0.0]], "float32"))
    ```
    """

    def __init__(self, reduction="sum_over_batch_size", name="sigmoid_kl_consistency"):
        super().__init__(name=name, reduction=reduction)

    def call(self, y_true, y_pred):
        yes = ops.log_sigmoid(y_true) - ops.log_sigmoid(y_pred)
        no = ops.log_sigmoid(-y_true) - ops.log_sigmoid(-y_pred)
        return ops.sigmoid(y_true) * yes + ops.sigmoid(-y_true) * no
