"""Classification cost and error of batches in which some examples have no label."""

import keras
from keras import ops

UNLABELED = -1


def signed(labels):
    """Returns labels in a dtype that can hold -1: booleans and unsigned integers become signed ones.

    Example:

    ```python
    import numpy as np

    from keras_mt.losses import signed

    signed(np.array([True, False])).dtype  # int32
    ```
    """
    dtype = keras.backend.standardize_dtype(labels.dtype)
    if dtype == "bool" or dtype in ("uint8", "uint16"):
        return ops.cast(labels, "int32")
    return ops.cast(labels, "int64") if dtype.startswith("uint") else labels


def mask_unlabeled(labels, rank: int = 2):
    """Splits labels into what a Keras loss or metric can take and a mask.

    Args:
        labels: Integer class labels `[batch, ...]` or `[batch, ..., 1]`, or one-hot labels `[batch, ..., classes]`, of
            any dtype. What is unlabeled holds -1 (in all columns).
        rank: Rank of the predictions: 2, or more for dense ones such as `[batch, height, width, classes]`.

    Returns:
        A pair of labels with 0 in place of -1 and a float32 mask `[batch, ...]` that is 1 where there was
        a label.

    Example:

    ```python
    import numpy as np

    from keras_mt.losses import mask_unlabeled

    labels, mask = mask_unlabeled(np.array([3, -1]))  # [3, 0], [1, 0]
    ```
    """
    labels = signed(labels)
    present = ops.not_equal(labels, ops.cast(UNLABELED, labels.dtype))
    labels = ops.where(present, labels, ops.zeros_like(labels))
    if len(labels.shape) == rank:
        present = ops.all(present, axis=-1)
    return labels, ops.cast(present, "float32")


def classification_errors(labels, predictions, among: int = 1):
    """1 where the class is wrong, 0 where it is right.

    Args:
        labels: Class labels `[batch, ...]` or `[batch, ..., 1]`, or one-hot labels `[batch, ..., classes]`.
        predictions: Logits or probabilities `[batch, ..., classes]`.
        among: An example is right if its class is among the first so many predicted ones.

    Returns:
        Float32 tensor `[batch, ...]`. What it says of unlabeled examples has no meaning, so weigh it with the mask.

    Example:

    ```python
    import numpy as np

    from keras_mt.losses import classification_errors

    logits = np.array([[3.0, 1.0, 0.0], [0.0, 1.0, 2.0]], "float32")
    classification_errors(np.array([0, 1]), logits)  # [0, 1]
    classification_errors(np.array([0, 1]), logits, among=2)  # [0, 0]
    ```
    """
    if len(labels.shape) == len(predictions.shape):
        labels = labels[..., 0] if labels.shape[-1] == 1 else ops.argmax(labels, axis=-1)
    if among > 1:
        # `ops.in_top_k` takes float32 of rank 2 alone.
        own = ops.take_along_axis(predictions, ops.expand_dims(ops.cast(labels, "int32"), -1), axis=-1)
        before = ops.sum(ops.cast(predictions > own, "int32"), axis=-1)
        right = ops.logical_and(before < among, ops.all(ops.isfinite(predictions), axis=-1))
        return 1.0 - ops.cast(right, "float32")
    predicted = ops.argmax(predictions, axis=-1)
    return ops.cast(ops.not_equal(predicted, ops.cast(labels, predicted.dtype)), "float32")


@keras.saving.register_keras_serializable(package="keras_mt")
class ClassificationCost(keras.losses.Loss):
    """Softmax cross-entropy of the labeled examples, divided by the *whole* batch size.

    With 1 labeled example of 100 it is scaled by 1/100; the consistency weights of Tarvainen & Valpola (2017) assume
    that. Inside `MeanTeacher` the argument `reduction` of `MeanTeacher` says what it is divided by.

    Args:
        from_logits: Whether predictions are logits (default) or probabilities.
        reduction: As in every Keras loss; `"sum_over_batch_size"` divides by the batch.
        name: Name of the loss.

    Call arguments:
        y_true: Class labels `[batch, ...]` or `[batch, ..., 1]`, or one-hot labels `[batch, ..., classes]`; -1 (in all
            columns) for unlabeled.
        y_pred: Predictions `[batch, ..., classes]`.

    Reference: Tarvainen & Valpola (2017), section 2, https://arxiv.org/abs/1703.01780

    Example:

    ```python
    import numpy as np

    import keras_mt

    loss = keras_mt.losses.ClassificationCost()
    cost = loss(np.array([2, -1]), np.array([[0.1, 0.2, 3.0], [1.0, 0.0, 0.0]], "float32"))
    ```
    """

    def __init__(self, from_logits: bool = True, reduction="sum_over_batch_size", name="classification_cost"):
        super().__init__(name=name, reduction=reduction)
        self.from_logits = from_logits

    def call(self, y_true, y_pred):
        """Returns the cost of each example, `[batch, ...]`, 0 for the unlabeled, from `[batch, ..., classes]`."""
        rank = len(y_pred.shape)
        labels, labeled = mask_unlabeled(y_true, rank)
        if len(labels.shape) == rank and labels.shape[-1] == y_pred.shape[-1]:
            cost = keras.losses.categorical_crossentropy(labels, y_pred, from_logits=self.from_logits)
        else:
            labels = ops.cast(labels[..., 0] if len(labels.shape) == rank else labels, "int32")
            cost = keras.losses.sparse_categorical_crossentropy(labels, y_pred, from_logits=self.from_logits)
        return cost * ops.cast(labeled, cost.dtype)

    def get_config(self):
        return {**super().get_config(), "from_logits": self.from_logits}
