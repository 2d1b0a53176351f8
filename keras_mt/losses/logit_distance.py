"""The cost that holds the two heads of a network together (Tarvainen & Valpola 2017, section 3.4)."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_mt")
class LogitDistance(keras.losses.Loss):
    """Squared distance of the logits of two heads: one number an example.

    Args:
        over_classes: `"sum"` (the ConvNet's ablation) or `"mean"` (the residual networks).

    Call arguments:
        y_true: Logits of the first head `[batch, classes]`.
        y_pred: Logits of the second head, of the same shape.

    Reference: Tarvainen & Valpola (2017), section 3.4, https://arxiv.org/abs/1703.01780

    Example:

    ```python
    import numpy as np

    import keras_mt

    distance = keras_mt.losses.LogitDistance("mean")(np.ones((2, 3), "float32"), np.zeros((2, 3), "float32"))
    ```
    """

    def __init__(self, over_classes: str = "sum", reduction="sum_over_batch_size", name="logit_distance"):
        super().__init__(name=name, reduction=reduction)
        if over_classes not in ("sum", "mean"):
            raise ValueError(
                f'Argument `over_classes` must be "sum" or "mean". Received: over_classes={over_classes!r}'
            )
        self.over_classes = over_classes

    def call(self, y_true, y_pred):
        squares = ops.square(y_true - y_pred)
        return ops.sum(squares, axis=-1) if self.over_classes == "sum" else ops.mean(squares, axis=-1)

    def get_config(self):
        return {**super().get_config(), "over_classes": self.over_classes}
