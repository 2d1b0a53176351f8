"""Targets that the teacher is sure of: a threshold, sharpening and hardening around any consistency cost."""

import keras
from keras import ops

from keras_mt.losses.consistency import get_consistency
from keras_mt.losses.labeled_positions import one_reduction, overrides_call
from keras_mt.losses.multilabel import SigmoidKLConsistency, SigmoidMSEConsistency

# Logits of a target that is one class: its softmax is exactly 0 and 1 in float32, and differences of it stay finite.
_HARD = 200.0
_SIGMOID = (SigmoidMSEConsistency, SigmoidKLConsistency)


@keras.saving.register_keras_serializable(package="keras_mt")
class Confident(keras.losses.Loss):
    """A consistency cost of the examples (or pixels) whose target is sure: 0 where it is not.

    Those count whose largest probability reaches `threshold`; the others' costs are 0, and the cost is still
    divided by all of them (FixMatch). Targets can be sharpened, `p^(1/T) / Σ p^(1/T)`, or hardened to the
    class that is most likely. Of yes-or-no outputs each one counts by itself. `MeanTeacher` reports the share that
    counts as `confident_share`; under `mixing` confidence is that of the unmixed examples, mixed as the targets are.

    Args:
        loss: `"mse"`, `"kl"`, a trust in [0, 1] or a Keras loss, of the target's and the student's logits.
        threshold: Smallest probability of the most likely class, in [0, 1]. 0.95 in FixMatch, 0.968 in French et al.
            (2018), 0.97 in French et al. (2020).
        temperature: T of the sharpening; 1 for none.
        hard: Whether the target is the most likely class.
        reduction: As of any loss; by default that of `loss`, if it is an object.

    Call arguments:
        y_true: The target's logits `[batch, ..., classes]`.
        y_pred: The student's logits, of the same shape.

    Reference: Sohn et al. (2020), https://arxiv.org/abs/2001.07685

    Example:

    ```python
    import keras
    import numpy as np

    import keras_mt

    student = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    x, labels = np.random.normal(size=(60, 4)), np.where(np.arange(60) < 12, np.arange(60) % 3, -1)

    confident = keras_mt.losses.Confident("kl", threshold=0.95, hard=True)
    model = keras_mt.MeanTeacher(student, consistency=confident)
    model.compile(optimizer="adam")
    model.fit(x, labels, callbacks=[keras_mt.MeanTeacherCallback(consistency_weight=1.0)])
    ```
    """

    def __init__(
        self,
        loss: str | float | keras.losses.Loss = "mse",
        threshold: float = 0.95,
        temperature: float = 1.0,
        hard: bool = False,
        reduction: str | None = "sum_over_batch_size",
        name: str = "confident",
    ):
        super().__init__(name=name, reduction=one_reduction(reduction, loss))
        if not 0.0 <= threshold <= 1.0:
            raise ValueError(f"Argument `threshold` must be in the range [0, 1]. Received: threshold={threshold}")
        if not 0.0 < temperature < float("inf"):
            raise ValueError(f"Argument `temperature` must be positive. Received: temperature={temperature}")
        self.loss, self.threshold, self.temperature, self.hard = loss, threshold, temperature, hard
        self.cost, self._each = get_consistency(loss, self.reduction), isinstance(loss, _SIGMOID)

    def of_task(self, task) -> "Confident":
        """Returns the same around the cost that its name means for a task; `tasks.Task.consistency` asks for it."""
        bound = type(self)(**self._arguments())
        bound.cost, bound._each = task.consistency(self.loss), task.each_output
        bound.name = f"confident_{bound.cost.name}"
        return bound

    def target(self, logits):
        """Returns the target's logits, sharpened or hardened, and float32 weights: 1 where it is sure; None for all.

        Args:
            logits: The target's logits `[batch, ..., classes]`.
        """
        values = ops.cast(logits, keras.backend.result_type(logits.dtype, "float32"))
        largest = ops.sigmoid(ops.abs(values)) if self._each else ops.max(ops.softmax(values), axis=-1)
        sure = ops.stop_gradient(ops.cast(largest >= self.threshold, "float32"))
        sure = sure if self.threshold > 0 else None
        if self.hard and self._each:
            logits = ops.cast(ops.where(logits > 0, _HARD, -_HARD), logits.dtype)
        elif self.hard:
            logits = _HARD * ops.one_hot(ops.argmax(logits, axis=-1), logits.shape[-1], dtype=logits.dtype)
        elif self.temperature != 1.0:
            logits = logits / self.temperature
        return logits, sure

    def call(self, y_true, y_pred):
        target, sure = self.target(y_true)
        values = (self.cost if overrides_call(self.cost) else self.cost.call)(target, y_pred)
        return values if sure is None else values * ops.cast(sure, values.dtype)

    def _arguments(self):
        return {
            "loss": self.loss, "threshold": self.threshold, "temperature": self.temperature, "hard": self.hard,
            "reduction": self.reduction,
        }  # fmt: skip

    def get_config(self):
        loss = self.loss
        loss = keras.saving.serialize_keras_object(loss) if isinstance(loss, keras.losses.Loss) else loss
        return {**super().get_config(), **self._arguments(), "loss": loss}

    @classmethod
    def from_config(cls, config):
        if isinstance(config["loss"], dict):
            config = {**config, "loss": keras.saving.deserialize_keras_object(config["loss"])}
        return cls(**config)
