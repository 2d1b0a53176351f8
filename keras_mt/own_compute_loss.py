"""A student's own `compute_loss`: how it is called, and what is left out of its value."""

import contextlib
import inspect

import keras
import tensorflow as tf


class OwnComputeLoss:
    """Calls a student's own `compute_loss` as Keras does, for labeled rows.

    `keras.Model.compute_loss` adds the penalties of weights and the losses that layers add. They are no cost of labels:
    `MeanTeacher` adds them once, unscaled, and for each network its own. So they are left out here.

    Args:
        student: The student.
    """

    def __init__(self, student: keras.Model):
        self._student = student
        self._takes_training = "training" in inspect.signature(student.compute_loss).parameters
        self.asks_for_losses = True  # `super().compute_loss` does; without it Keras adds none either.

    def __call__(self, x, y, y_pred, sample_weight, training: bool) -> tf.Tensor:
        """Returns the value for a batch, as Keras' own step has it, less what layers add."""
        arguments = {"training": training} if self._takes_training else {}
        with self._without_losses():
            return self._student.compute_loss(x, y, y_pred, sample_weight, **arguments)

    @contextlib.contextmanager
    def _without_losses(self):
        """Lets `student.losses` be empty, and notes whether it is asked for."""
        asked = []
        kind = type(self._student)
        none = property(lambda _: asked.append(True) or [])
        # A property can't be replaced in one object; `super()` and `isinstance` work in a subclass as in the class.
        object.__setattr__(self._student, "__class__", type(kind.__name__, (kind,), {"losses": none}))
        try:
            yield
        finally:
            object.__setattr__(self._student, "__class__", kind)
            self.asks_for_losses = bool(asked)
