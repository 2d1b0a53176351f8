"""Costs of outputs that are numbers."""

import keras
from keras import ops


def mask_missing(labels, rank: int = 2):
    """Returns numbers with 0 in place of NaN, and a float32 mask of the same shape, 1 where there was a number."""
    labels = ops.cast(labels, "float32")
    known = ops.logical_not(ops.isnan(labels))
    return ops.where(known, labels, ops.zeros_like(labels)), ops.cast(known, "float32")


@keras.saving.register_keras_serializable(package="keras_mt")
class RegressionCost(keras.losses.Loss):
    """Squared error of each output that has a label, divided by the number of *all* outputs of the batch.

    Args:
        reduction: As `ClassificationCost` has it.
        name: Name of the loss.
    """

    def __init__(self, reduction="sum_over_batch_size", name="regression_cost"):
        super().__init__(name=name, reduction=reduction)

    def call(self, y_true, y_pred):
        """Returns the cost of each output `[batch, ..., outputs]`, 0 where the label is NaN."""
        labels, known = mask_missing(y_true)
        return ops.square(y_pred - ops.cast(labels, y_pred.dtype)) * known


@keras.saving.register_keras_serializable(package="keras_mt")
class OutputMSEConsistency(keras.losses.Loss):
    """`(student - teacher)²` of each output."""

    def __init__(self, reduction="sum_over_batch_size", name="output_mse_consistency"):
        super().__init__(name=name, reduction=reduction)

    def call(self, y_true, y_pred):
        return ops.square(y_pred - y_true)
