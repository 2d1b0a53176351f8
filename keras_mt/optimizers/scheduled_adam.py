import keras
import tensorflow as tf
from keras import ops


@keras.saving.register_keras_serializable(package="keras_mt")
class ScheduledAdam(keras.optimizers.Optimizer):
    """Adam whose β1 and β2 may follow schedules (paper, appendix B).

    `θ -= lr·√(1 - Πβ2)/(1 - Πβ1) · m/(√v + ε)`: the bias corrections use the running *products* of the β's
    that were in force, since those change over time, and ε stands outside the correction, as in TensorFlow 1.

    Args:
        learning_rate: A float or a `keras.optimizers.schedules.LearningRateSchedule`.
        beta_1: Decay of the first moment: a float in [0, 1) or a schedule of the step.
        beta_2: Decay of the second moment: likewise.
        epsilon: Added to √v.
        **kwargs: What every Keras optimizer takes (`clipnorm`, `weight_decay`, ...).

    Example:

    ```python
    optimizer = keras_mt.optimizers.ScheduledAdam(
        learning_rate=keras_mt.schedules.RampUpDown(0.003, rampup_steps=40_000),
        beta_2=keras_mt.schedules.StepSwitch(0.99, 0.999, switch_step=40_000),
    )
    ```
    """

    def __init__(self, learning_rate=0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-8, name="scheduled_adam", **kwargs):
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        for argument, beta in (("beta_1", beta_1), ("beta_2", beta_2)):
            if not callable(beta) and not 0.0 <= beta < 1.0:
                raise ValueError(f"Argument `{argument}` must be in the range [0, 1). Received: {argument}={beta}")
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self._of_step = None

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self._momentums, self._velocities = self.add_optimizer_variables(variables, ["momentum", "velocity"])
        # Of the steps before the one under way. Aggregated as Keras' own counter of iterations, beside which they move.
        self._beta_products = [
            self.add_variable((), "ones", "float32", aggregation="only_first_replica", name=f"{name}_product")
            for name in ("beta_1", "beta_2")
        ]

    def apply(self, grads, trainable_variables=None):
        before = ops.cast(self.iterations, "int32") + 0  # A number, not the counter itself.
        betas = self._betas()
        self._of_step = {}
        try:
            super().apply(grads, trainable_variables)
        finally:
            self._of_step = None
        # Once a step, not once a variable; a batch whose gradients are only accumulated is none.
        stepped = ops.cast(self.iterations, "int32") > before
        for product, beta in zip(self._beta_products, betas, strict=True):
            self.assign(product, ops.where(stepped, product * beta, product))

    def update_step(self, gradient, variable, learning_rate):
        gradient = ops.cast(gradient, variable.dtype)
        correction, share_1, share_2 = self._shared(variable.dtype)
        step_size = ops.cast(ops.cast(learning_rate, "float32") * correction, variable.dtype)
        # Private, as in each of Keras' optimizers: nothing public finds a variable's slots (Keras is pinned to 3.15).
        index = self._get_variable_index(variable)
        m, v = self._momentums[index], self._velocities[index]
        self.assign_add(m, (gradient - m) * share_1)
        self.assign_add(v, (ops.square(gradient) - v) * share_2)
        self.assign_sub(variable, step_size * m / (ops.sqrt(v) + self.epsilon))

    def _shared(self, dtype):
        """What all variables of a step share: the correction of its size, and 1 - β of both moments."""
        known = {} if self._of_step is None else self._of_step  # Outside of `apply` nothing tells steps apart.
        # By graph as well: gradients that accumulate, or are scaled, are applied in a branch of its own.
        key = None if tf.executing_eagerly() else id(tf.compat.v1.get_default_graph()), dtype
        if key not in known:
            betas = self._betas()
            product_1, product_2 = (product * beta for product, beta in zip(self._beta_products, betas, strict=True))
            correction = ops.sqrt(1.0 - product_2) / (1.0 - product_1)
            known[key] = (correction, *(1.0 - ops.cast(beta, dtype) for beta in betas))
        return known[key]

    def _betas(self):
        return tuple(
            ops.cast(beta(self.iterations) if callable(beta) else beta, "float32")
            for beta in (self.beta_1, self.beta_2)
        )

    def get_config(self):
        return {
            **super().get_config(),
            "beta_1": _serialize(self.beta_1),
            "beta_2": _serialize(self.beta_2),
            "epsilon": self.epsilon,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        for name in ("beta_1", "beta_2"):
            if isinstance(config.get(name), dict):
                config[name] = keras.saving.deserialize_keras_object(config[name], custom_objects=custom_objects)
        return super().from_config(config, custom_objects=custom_objects)


def _serialize(beta):
    return keras.saving.serialize_keras_object(beta) if callable(beta) else beta
