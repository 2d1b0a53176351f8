"""A student's own `compute_loss`: how it is called, and what is left out of its value."""

import contextlib
import inspect

import keras
import tensorflow as tf

from keras_mt import tasks


class OwnComputeLoss:
    """Calls a student's own `compute_loss` as Keras does, for labeled rows.

    `keras.Model.compute_loss` adds the penalties of weights and the losses that layers add. They are no cost of labels:
    `MeanTeacher` adds them once, unscaled, and for each network its own. So they are zeros here.

    Args:
        student: The student.
    """

    def __init__(self, student: keras.Model):
        self._student = student
        self._takes_training = "training" in inspect.signature(student.compute_loss).parameters
        self.adds_losses = True  # `super().compute_loss` does; without it Keras adds none either.

    def __call__(self, x, y, y_pred, sample_weight, training: bool) -> tf.Tensor:
        """Returns the value for a batch, as Keras' own step has it, less what layers add."""
        arguments = {"training": training} if self._takes_training else {}
        zeros = [tf.zeros_like(loss) for loss in self._student.losses]
        with tf.GradientTape() as tape:
            tape.watch(zeros)
            with self._losses_are(zeros):
                value = tf.convert_to_tensor(self._student.compute_loss(x, y, y_pred, sample_weight, **arguments))
        if zeros:
            self._require_all_once(tape.gradient(value, zeros))
        return value

    def _require_all_once(self, factors):
        """Notes whether `losses` are added, and refuses what is another sum than theirs: its derivatives say so."""
        self.adds_losses = any(factor is not None for factor in factors)
        if not self.adds_losses:
            return
        # Keras' own divides by the number of replicas, over which values are summed.
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        factors = [
            tf.zeros(()) if f is None else replicas * tf.cast(tf.reshape(f, [-1])[0], "float32") for f in factors
        ]
        wrong = tf.abs(tf.stack(factors) - 1.0) > 1e-3
        tasks.require(
            ~tf.reduce_any(wrong),
            f"The student's own `compute_loss` ({type(self._student).__name__}) must add all of `self.losses` as they "
            "are, as `super().compute_loss` does (on several replicas divided by their number), or none; give factors "
            "to the regularizers. Received: a loss times ",
            tf.stack(factors)[tf.argmax(tf.cast(wrong, "int32"))],
        )

    @contextlib.contextmanager
    def _losses_are(self, losses):
        kind = type(self._student)
        # A property can't be replaced in one object; `super()` and `isinstance` work in a subclass as in the class.
        zeros = property(lambda _: list(losses))
        object.__setattr__(self._student, "__class__", type(kind.__name__, (kind,), {"losses": zeros}))
        try:
            yield
        finally:
            object.__setattr__(self._student, "__class__", kind)
