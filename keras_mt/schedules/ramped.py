"""Schedules made of ramps: of the learning rate, the consistency weight and Adam's β1."""

import keras
from keras import ops

from keras_mt.schedules.ramps import as_number, linear_rampup, sigmoid_rampdown, sigmoid_rampup


@keras.saving.register_keras_serializable(package="keras_mt")
class RampUpDown(keras.optimizers.schedules.LearningRateSchedule):
    """Sigmoid ramp-up, plateau and sigmoid ramp-down: of the learning rate and the consistency weight.

    `maximum · sigmoid_rampup · sigmoid_rampdown`

    Args:
        maximum: The value between the ramps.
        rampup_steps: Length of the ramp-up, in optimizer steps; 0 for none.
        rampdown_steps: Length of the ramp-down at the end, in optimizer steps; 0 for none.
        training_steps: Length of the whole training, in optimizer steps; needed for a ramp-down.

    Reference: Tarvainen & Valpola (2017), appendix B

    Example:

    ```python
    rate = keras_mt.schedules.RampUpDown(0.003, rampup_steps=400, rampdown_steps=250, training_steps=1500)
    optimizer = keras.optimizers.Adam(rate)
    ```
    """

    def __init__(self, maximum: float, rampup_steps: int = 0, rampdown_steps: int = 0, training_steps: int = 0):
        if rampdown_steps and not training_steps:
            raise ValueError(
                "A ramp-down needs the length of the run, `training_steps`. "
                f"Received: rampdown_steps={rampdown_steps}, training_steps={training_steps}"
            )
        self.maximum = maximum
        self.rampup_steps = rampup_steps
        self.rampdown_steps = rampdown_steps
        self.training_steps = training_steps

    def __call__(self, step):
        up = sigmoid_rampup(step, self.rampup_steps)
        down = sigmoid_rampdown(step, self.rampdown_steps, self.training_steps)
        return ops.cast(self.maximum * up * down, "float32")

    def get_config(self):
        return {
            "maximum": self.maximum,
            "rampup_steps": self.rampup_steps,
            "rampdown_steps": self.rampdown_steps,
            "training_steps": self.training_steps,
        }


@keras.saving.register_keras_serializable(package="keras_mt")
class LinearRampUp(keras.optimizers.schedules.LearningRateSchedule):
    """Linear ramp-up: of the consistency weight in the later protocol.

    `maximum · min(1, t/R)`

    Args:
        maximum: The value after the ramp.
        rampup_steps: R, the length of the ramp, in optimizer steps; 0 for none.

    Reference: Zhang et al. (2021), https://arxiv.org/abs/2110.08263 (TorchSSL's Mean Teacher)

    Example:

    ```python
    weight = keras_mt.schedules.LinearRampUp(50.0, rampup_steps=400)
    values = [float(weight(step)) for step in (0, 200, 400, 600)]  # 0, 25, 50, 50
    ```
    """

    def __init__(self, maximum: float, rampup_steps: int = 0):
        self.maximum = maximum
        self.rampup_steps = rampup_steps

    def __call__(self, step):
        return ops.cast(self.maximum * linear_rampup(step, self.rampup_steps), "float32")

    def get_config(self):
        return {"maximum": self.maximum, "rampup_steps": self.rampup_steps}


@keras.saving.register_keras_serializable(package="keras_mt")
class RampedBeta1(keras.optimizers.schedules.LearningRateSchedule):
    """Sigmoid ramp-down from one value to another: of Adam's β1.

    `down · before + (1 - down) · after`, where `down` is `sigmoid_rampdown`.

    Args:
        rampdown_steps: Length of the ramp-down at the end, in optimizer steps; 0 for none.
        training_steps: Length of the whole training, in optimizer steps.
        before: β1 until the ramp-down.
        after: β1 at its end.

    Reference: Tarvainen & Valpola (2017), appendix B

    Example:

    ```python
    beta_1 = keras_mt.schedules.RampedBeta1(rampdown_steps=250, training_steps=1500)
    optimizer = keras_mt.optimizers.ScheduledAdam(0.003, beta_1=beta_1)
    ```
    """

    def __init__(self, rampdown_steps: int, training_steps: int, before: float = 0.9, after: float = 0.5):
        self.rampdown_steps = rampdown_steps
        self.training_steps = training_steps
        self.before = before
        self.after = after

    def __call__(self, step):
        down = sigmoid_rampdown(step, self.rampdown_steps, self.training_steps)
        return ops.cast(down * self.before + (1.0 - down) * self.after, "float32")

    def get_config(self):
        return {
            "rampdown_steps": self.rampdown_steps,
            "training_steps": self.training_steps,
            "before": self.before,
            "after": self.after,
        }


@keras.saving.register_keras_serializable(package="keras_mt")
class Delayed(keras.optimizers.schedules.LearningRateSchedule):
    """0 until a step, and from there on another schedule, which begins at its own step 0.

    Args:
        schedule: The schedule that is delayed.
        start: The optimizer step at which it begins.

    Example:

    ```python
    weight = keras_mt.schedules.Delayed(keras_mt.schedules.LinearRampUp(50.0, rampup_steps=400), start=100)
    values = [float(weight(step)) for step in (0, 100, 300, 500)]  # 0, 0, 25, 50
    ```
    """

    def __init__(self, schedule: keras.optimizers.schedules.LearningRateSchedule, start: int):
        self.schedule = schedule
        self.start = start

    def __call__(self, step):
        later = self.schedule(ops.maximum(as_number(step) - self.start, 0.0))
        return ops.where(as_number(step) >= self.start, later, ops.zeros_like(later))

    def get_config(self):
        return {"schedule": keras.saving.serialize_keras_object(self.schedule), "start": self.start}

    @classmethod
    def from_config(cls, config):
        return cls(keras.saving.deserialize_keras_object(config["schedule"]), config["start"])
