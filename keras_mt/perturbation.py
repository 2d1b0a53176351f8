"""The perturbation of an example that changes its prediction most."""

from collections.abc import Callable

import keras
import tensorflow as tf

from keras_mt import losses


@keras.saving.register_keras_serializable(package="keras_mt")
class VirtualAdversarial:
    """Virtual adversarial perturbation: the student sees `x + r`, where r changes its prediction most.

    `r = ε g / ‖g‖` for each example, where g is the gradient by r of the divergence of the student's prediction at
    `x + r` from the target, at `r = ξ d` with a random unit vector d. It costs a forward and a backward pass of the
    student for each iteration. The noise of the student's layers is the same in all of them and in the step's own pass.

    With `method="vat"` the target is the student's own prediction at x, without a gradient; with
    `method="mean_teacher"` it is the teacher's.

    Args:
        epsilon: Length ε of the perturbation of an example, in the units of the inputs.
        xi: Length ξ of the step at which the gradient is taken. It is shared by all numbers of an example, so it must
            not vanish beside them in float32.
        iterations: Number of power iterations.
        on_labeled: Whether labeled examples are perturbed as well; their labels are then those of `x + r`.

    Reference: Miyato et al. (2018), https://arxiv.org/abs/1704.03976

    Example:

    ```python
    import keras
    import numpy as np

    import keras_mt

    student = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    x, labels = np.random.normal(size=(60, 4)), np.where(np.arange(60) < 12, np.arange(60) % 3, -1)

    model = keras_mt.MeanTeacher(student, perturbation=keras_mt.VirtualAdversarial(epsilon=0.5), consistency="kl")
    model.compile(optimizer="adam")
    model.fit(x, labels, callbacks=[keras_mt.MeanTeacherCallback(consistency_weight=1.0)])
    ```
    """

    def __init__(self, epsilon: float, xi: float = 0.01, iterations: int = 1, on_labeled: bool = False):
        for argument, value in {"epsilon": epsilon, "xi": xi, "iterations": iterations}.items():
            if not 0.0 < value < float("inf"):
                raise ValueError(f"Argument `{argument}` must be positive. Received: {argument}={value}")
        self.epsilon, self.xi, self.iterations, self.on_labeled = float(epsilon), float(xi), int(iterations), on_labeled

    def check(self, inputs: list[tuple], dtypes: list[str]) -> None:
        """Raises a `ValueError` if there is no gradient by these inputs."""
        if len(inputs) != 1 or not dtypes[0].startswith(("float", "bfloat")):
            raise ValueError(
                "Argument `perturbation` needs a student with one input of floats. Received: inputs of shapes "
                f"{inputs} and of {dtypes}"
            )

    def __call__(self, x: tf.Tensor, divergence: Callable[[tf.Tensor], tf.Tensor], key) -> tf.Tensor:
        """Returns the perturbation r of each example.

        Args:
            x: Examples `[batch, ...]`.
            divergence: From perturbed examples to the sum of the divergences of a batch, a scalar.
            key: Seed of the random direction, int64 `[2]`.
        """
        direction = tf.random.stateless_normal(tf.shape(x), key, dtype="float32")
        for _ in range(self.iterations):
            step = tf.cast(self.xi * _unit(direction), x.dtype)
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(step)
                value = divergence(x + step)
            direction = tf.cast(tape.gradient(value, step), "float32")
        return tf.cast(self.epsilon * _unit(direction), x.dtype)

    def get_config(self):
        return {name: getattr(self, name) for name in ("epsilon", "xi", "iterations", "on_labeled")}

    @classmethod
    def from_config(cls, config):
        return cls(**config)

    def __repr__(self):
        return f"VirtualAdversarial(epsilon={self.epsilon:g}, xi={self.xi:g}, iterations={self.iterations})"


DIVERGENCES = {
    "multiclass": losses.KLConsistency,
    "multilabel": losses.SigmoidKLConsistency,
    "regression": losses.OutputMSEConsistency,
}


def _unit(vectors):
    """Vectors `[batch, ...]` of length 1; 0 stays 0. The largest number is taken out first, since squares underflow."""
    axes = list(range(1, len(vectors.shape)))
    vectors = tf.math.divide_no_nan(vectors, tf.reduce_max(tf.abs(vectors), axis=axes, keepdims=True))
    return tf.math.divide_no_nan(vectors, tf.sqrt(tf.reduce_sum(tf.square(vectors), axis=axes, keepdims=True)))
