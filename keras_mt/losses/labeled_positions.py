"""A loss of one number for a batch, over the labeled pixels or tokens alone."""

from collections.abc import Callable

import keras

_MEANS = ("sum_over_batch_size", "mean")  # The default, and its other name.


def overrides_call(loss) -> bool:
    """Whether a loss reduces by itself: its class overrides `__call__`, which is all of it that Keras uses then."""
    return isinstance(loss, keras.losses.Loss) and type(loss).__call__ is not keras.losses.Loss.__call__


def one_reduction(given: str | None, loss) -> str | None:
    """Returns the reduction of what wraps a loss: its own, or the loss's, whichever is not the default.

    Args:
        given: Its own.
        loss: What is wrapped; of what is no `keras.losses.Loss`, or reduces by itself, nothing is looked at.

    Raises:
        ValueError: If neither is the default, and they differ.
    """
    if not isinstance(loss, keras.losses.Loss) or overrides_call(loss) or loss.reduction in _MEANS:
        return given
    if given not in (*_MEANS, loss.reduction):
        raise ValueError(
            f"Argument `reduction` must be given once, or alike for both losses. Received: reduction={given!r} around "
            f"{loss.name} with reduction={loss.reduction!r}"
        )
    return loss.reduction


@keras.saving.register_keras_serializable(package="keras_mt")
class LabeledPositions(keras.losses.Loss):
    """Gives a loss the labeled positions of all examples as one list, `[positions]` and `[positions, classes]`.

    Weights do not reach into a loss that is one number for a batch or an example, such as Dice, so labels that are
    missing *inside* of an example can't be kept from it. This wrapper says that the loss may be computed over the
    labeled pixels (or tokens) of the batch without their places in the image.

    Args:
        loss: A `keras.losses.Loss`, or a function of `(y_true, y_pred)`.
        name: Name of the loss.
        reduction: As of any loss; by default that of `loss`.

    Call arguments:
        y_true: Labels `[batch, ...]`; inside `MeanTeacher` those of labeled positions, `[positions]`.
        y_pred: Predictions `[batch, ..., classes]`; inside `MeanTeacher`, `[positions, classes]`.

    Example:

    ```python
    import keras
    import numpy as np

    import keras_mt

    loss = keras_mt.losses.LabeledPositions(keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    cost = loss(np.array([[0, 1]]), np.zeros((1, 2, 3), "float32"))
    ```
    """

    def __init__(self, loss: keras.losses.Loss | Callable, name="labeled_positions", **kwargs):
        reduction = one_reduction(kwargs.pop("reduction", "sum_over_batch_size"), loss)
        super().__init__(name=name, reduction=reduction, **kwargs)
        self.loss = loss

    def call(self, y_true, y_pred):
        has_call = isinstance(self.loss, keras.losses.Loss) and not overrides_call(self.loss)
        return (self.loss.call if has_call else self.loss)(y_true, y_pred)

    def get_config(self):
        return {**super().get_config(), "loss": keras.saving.serialize_keras_object(self.loss)}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "loss": keras.saving.deserialize_keras_object(config["loss"])})
