"""Costs of outputs that are numbers."""

import keras
from keras import ops


def mask_missing(labels, rank: int = 2):
    """Returns numbers with 0 in place of NaN, and a float32 mask of the same shape, 1 where there was a number.

    Args:
        labels: Numbers `[batch, ..., outputs]`, NaN for unlabeled.
        rank: As `mask_unlabeled` has it; each output has a mask of its own whatever it is.

    Example:

    ```python
    import numpy as np

    from keras_mt.losses import mask_missing

    numbers, mask = mask_missing(np.array([[0.5, np.nan]], "float32"))  # [[0.5, 0]], [[1, 0]]
    ```
    """
    if not keras.backend.is_float_dtype(labels.dtype):
        labels = ops.cast(labels, keras.config.floatx())
    known = ops.logical_not(ops.isnan(labels))
    return ops.where(known, labels, ops.zeros_like(labels)), ops.cast(known, "float32")


@keras.saving.register_keras_serializable(package="keras_mt")
class RegressionCost(keras.losses.Loss):
    """Squared error of each output that has a label, divided by the number of *all* outputs of the batch.

    Args:
        reduction: As `ClassificationCost` has it.
        name: Name of the loss.

    Call arguments:
        y_true: Numbers `[batch, ..., outputs]`, NaN for unlabeled.
        y_pred: Predictions of the same shape.

    Example:

    ```python
    import numpy as np

    import keras_mt

    loss = keras_mt.losses.RegressionCost()
    cost = loss(np.array([[1.5], [np.nan]]), np.array([[1.0], [0.0]], "float32"))
    ```
    """

    def __init__(self, reduction="sum_over_batch_size", name="regression_cost"):
        super().__init__(name=name, reduction=reduction)

    def call(self, y_true, y_pred):
        """Returns the cost of each output `[batch, ..., outputs]`, 0 where the label is NaN."""
        labels, known = mask_missing(y_true)
        return ops.square(y_pred - ops.cast(labels, y_pred.dtype)) * ops.cast(known, y_pred.dtype)


@keras.saving.register_keras_serializable(package="keras_mt")
class OutputMSEConsistency(keras.losses.Loss):
    """`(student - teacher)²` of each output.

    Call arguments:
        y_true: The target's outputs `[batch, ..., outputs]`.
        y_pred: The student's outputs, of the same shape. The result has it too.

    Example:

    ```python
    import numpy as np

    import keras_mt

    loss = keras_mt.losses.OutputMSEConsistency()
    cost = loss(np.array([[2.0, -1.0]], "float32"), np.array([[1.0, 0.0]], "float32"))
    ```
    """

    def __init__(self, reduction="sum_over_batch_size", name="output_mse_consistency"):
        super().__init__(name=name, reduction=reduction)

    def call(self, y_true, y_pred):
        return ops.square(y_pred - y_true)
