import keras
from keras import ops

DECAYED = ("all", "kernels")


@keras.saving.register_keras_serializable(package="keras_mt")
class NesterovSGD(keras.optimizers.Optimizer):
    """SGD with Nesterov momentum and L2 weight decay, as PyTorch has them.

    `g ← g + λθ; m ← μm + g; θ ← θ - lr (g + μm)`. In `keras.optimizers.SGD` the learning rate is inside the momentum,
    so that a falling rate acts later, and `weight_decay` bypasses it.

    Args:
        learning_rate: A float or a `keras.optimizers.schedules.LearningRateSchedule`.
        momentum: μ in [0, 1).
        l2_weight_decay: λ, added to the gradient. It is another number than Keras' decoupled `weight_decay`.
        decayed: `"all"` parameters as in the residual networks of Tarvainen & Valpola (2017); or `"kernels"`: no
            biases, no batch normalization (what has one axis or none).
        **kwargs: What every Keras optimizer takes (`clipnorm`, ...).

    Reference: Tarvainen & Valpola (2017), appendix B.3.

    Example:

    ```python
    import keras

    import keras_mt

    model = keras_mt.MeanTeacher(keras.Sequential([keras.Input((8,)), keras.layers.Dense(10)]))
    model.compile(keras_mt.optimizers.NesterovSGD(0.05, l2_weight_decay=2e-4))
    ```
    """

    def __init__(
        self,
        learning_rate=0.05,
        momentum: float = 0.9,
        l2_weight_decay: float = 0.0,
        decayed: str = "all",
        name="nesterov_sgd",
        **kwargs,
    ):
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        if not 0.0 <= momentum < 1.0:
            raise ValueError(f"Argument `momentum` must be in the range [0, 1). Received: momentum={momentum}")
        if l2_weight_decay < 0.0:
            raise ValueError(
                f"Argument `l2_weight_decay` must not be negative. Received: l2_weight_decay={l2_weight_decay}"
            )
        if decayed not in DECAYED:
            raise ValueError(f"Argument `decayed` must be one of {DECAYED}. Received: decayed={decayed!r}")
        self.momentum = momentum
        self.l2_weight_decay = l2_weight_decay
        self.decayed = decayed

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        (self._momentums,) = self.add_optimizer_variables(variables, ["momentum"])

    def update_step(self, gradient, variable, learning_rate):
        gradient = ops.cast(gradient, variable.dtype)
        if self.l2_weight_decay and (self.decayed == "all" or len(variable.shape) > 1):
            gradient = gradient + self.l2_weight_decay * variable
        # Private, as in each of Keras' optimizers: nothing public finds a variable's slots (Keras is pinned to 3.15).
        momentum = self._momentums[self._get_variable_index(variable)]
        self.assign(momentum, self.momentum * momentum + gradient)
        step = gradient + self.momentum * momentum
        self.assign_sub(variable, ops.cast(learning_rate, variable.dtype) * step)

    def get_config(self):
        own = {"momentum": self.momentum, "l2_weight_decay": self.l2_weight_decay, "decayed": self.decayed}
        return {**super().get_config(), **own}
