"""Schedules that fall as a part of a cosine: of the learning rate."""

import math

import keras
from keras import ops

from keras_mt.schedules.ramps import as_number, cosine_rampdown, linear_rampup


@keras.saving.register_keras_serializable(package="keras_mt")
class WarmUpCosine(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up times half a cosine: of the learning rate of the residual networks.

    `(initial + (maximum - initial) · min(1, t/R)) · (cos(πt/D) + 1)/2`

    Args:
        maximum: The learning rate that the warm-up leads to.
        cosine_steps: D, the step at which the cosine reaches 0, in optimizer steps; trainings end before it.
        rampup_steps: R, the length of the warm-up, in optimizer steps; 0 for none.
        initial: The learning rate at step 0, if there is a warm-up.

    Reference: Tarvainen & Valpola (2017), section 3.4 and appendix B.3 and B.4

    Example:

    ```python
    rate = keras_mt.schedules.WarmUpCosine(0.2, cosine_steps=2100, rampup_steps=50)
    optimizer = keras_mt.optimizers.NesterovSGD(rate)
    ```
    """

    def __init__(self, maximum: float, cosine_steps: int, rampup_steps: int = 0, initial: float = 0.0):
        if cosine_steps < 1:
            raise ValueError(f"Argument `cosine_steps` must be positive. Received: cosine_steps={cosine_steps}")
        self.maximum = maximum
        self.cosine_steps = cosine_steps
        self.rampup_steps = rampup_steps
        self.initial = initial

    def __call__(self, step):
        rate = self.initial + (self.maximum - self.initial) * linear_rampup(step, self.rampup_steps)
        return ops.cast(
            rate * cosine_rampdown(ops.minimum(as_number(step), self.cosine_steps), self.cosine_steps), "float32"
        )

    def get_config(self):
        return {
            "maximum": self.maximum,
            "cosine_steps": self.cosine_steps,
            "rampup_steps": self.rampup_steps,
            "initial": self.initial,
        }


@keras.saving.register_keras_serializable(package="keras_mt")
class SevenSixteenthsCosine(keras.optimizers.schedules.LearningRateSchedule):
    """Seven sixteenths of half a cosine: of the learning rate in the later protocol.

    `maximum · cos(7πt/16T)`, which ends at a fifth of its start.

    Args:
        maximum: The learning rate at step 0.
        training_steps: T, the length of the whole training, in optimizer steps.

    Reference: Sohn et al. (2020), https://arxiv.org/abs/2001.07685 (FixMatch)

    Example:

    ```python
    rate = keras_mt.schedules.SevenSixteenthsCosine(0.03, training_steps=1500)
    optimizer = keras_mt.optimizers.NesterovSGD(rate)
    ```
    """

    def __init__(self, maximum: float, training_steps: int):
        if training_steps < 1:
            raise ValueError(f"Argument `training_steps` must be positive. Received: training_steps={training_steps}")
        self.maximum = maximum
        self.training_steps = training_steps

    def __call__(self, step):
        return ops.cast(self.maximum * ops.cos(7.0 * math.pi / 16.0 * as_number(step) / self.training_steps), "float32")

    def get_config(self):
        return {"maximum": self.maximum, "training_steps": self.training_steps}
