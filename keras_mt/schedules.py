"""Ramps of the method as functions of the optimizer step (paper, appendix B; residual networks: section 3.4).

`step` is the number of optimizer steps done so far. All ramps are pure and traceable: inside a compiled
train step they cost a handful of scalar operations. They are computed in float64 where that is exact to the
published values and handed on in float32.
"""

import math

import keras
from keras import ops

Schedule = keras.optimizers.schedules.LearningRateSchedule


def _number(value):
    return ops.cast(value, "float64")


def sigmoid_rampup(step, rampup_steps: float):
    """`exp(-5 (1 - t/R)²)` while `t < R`, then 1. `rampup_steps = 0` means no ramp."""
    if not rampup_steps:
        return ops.ones_like(_number(step))
    phase = 1.0 - ops.minimum(_number(step) / rampup_steps, 1.0)
    return ops.exp(-5.0 * phase * phase)


def sigmoid_rampdown(step, rampdown_steps: float, training_steps: float):
    """`exp(-12.5 (1 - (T - t)/D)²)` from `t = T - D` on, 1 before. `rampdown_steps = 0` means no ramp."""
    if not rampdown_steps:
        return ops.ones_like(_number(step))
    phase = 1.0 - ops.clip((training_steps - _number(step)) / rampdown_steps, 0.0, 1.0)
    return ops.exp(-12.5 * phase * phase)


def step_rampup(step, rampup_steps: float):
    """0 while `t < R`, then 1."""
    return _number(ops.greater_equal(_number(step), rampup_steps))


def linear_rampup(epoch, rampup_epochs: float):
    """`min(1, e/R)`. `rampup_epochs = 0` means no ramp."""
    if not rampup_epochs:
        return ops.ones_like(_number(epoch))
    return ops.minimum(_number(epoch) / rampup_epochs, 1.0)


def cosine_rampdown(epoch, rampdown_epochs: float):
    """`(cos(πe/D) + 1)/2`."""
    return 0.5 * (ops.cos(math.pi * _number(epoch) / rampdown_epochs) + 1.0)


def ema_warmup(step, decay):
    """`min(1 - 1/(t+1), decay)` for the step that is being done, `t` counted from 1.

    A young average then weighs all students so far alike, instead of clinging to the initial weights.
    """
    return ops.minimum(1.0 - 1.0 / (_number(step) + 2.0), _number(decay))


@keras.saving.register_keras_serializable(package="keras_mt")
class RampUpDown(Schedule):
    """`maximum · sigmoid_rampup · sigmoid_rampdown`: the paper's learning rate and consistency weight.

    Args:
        maximum: The value between the ramps.
        rampup_steps: Length of the sigmoid ramp-up, in optimizer steps.
        rampdown_steps: Length of the sigmoid ramp-down at the end; 0 for none.
        training_steps: Length of the whole run; needed for a ramp-down.
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
class LinearRampUp(Schedule):
    """`maximum · min(1, t/R)`: the consistency weight of the later protocol (TorchSSL).

    Args:
        maximum: The value after the ramp.
        rampup_steps: Length R of the ramp, in optimizer steps; 0 for none.
    """

    def __init__(self, maximum: float, rampup_steps: int = 0):
        self.maximum = maximum
        self.rampup_steps = rampup_steps

    def __call__(self, step):
        return ops.cast(self.maximum * linear_rampup(step, self.rampup_steps), "float32")

    def get_config(self):
        return {"maximum": self.maximum, "rampup_steps": self.rampup_steps}


@keras.saving.register_keras_serializable(package="keras_mt")
class WarmUpCosine(Schedule):
    """The learning rate of the paper's residual networks: linear from `initial` to `maximum`, times a cosine.

    `(initial + (maximum - initial) · min(1, t/R)) · (cos(πt/D) + 1)/2`

    Args:
        maximum: The learning rate that the warm-up leads to.
        cosine_steps: D: the step at which the cosine reaches 0, in optimizer steps; runs end before it.
        rampup_steps: Length R of the warm-up, in optimizer steps; 0 for none.
        initial: Where the warm-up begins.

    Reference: paper, appendix B.3 and B.4.
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
            rate * cosine_rampdown(ops.minimum(_number(step), self.cosine_steps), self.cosine_steps), "float32"
        )

    def get_config(self):
        return {
            "maximum": self.maximum,
            "cosine_steps": self.cosine_steps,
            "rampup_steps": self.rampup_steps,
            "initial": self.initial,
        }


@keras.saving.register_keras_serializable(package="keras_mt")
class SevenSixteenthsCosine(Schedule):
    """`maximum · cos(7πt/16T)`: the learning rate of the later protocol (TorchSSL), which ends at a fifth of its start.

    Args:
        maximum: The learning rate at step 0.
        training_steps: Length T of the run, in optimizer steps.
    """

    def __init__(self, maximum: float, training_steps: int):
        if training_steps < 1:
            raise ValueError(f"Argument `training_steps` must be positive. Received: training_steps={training_steps}")
        self.maximum = maximum
        self.training_steps = training_steps

    def __call__(self, step):
        return ops.cast(self.maximum * ops.cos(7.0 * math.pi / 16.0 * _number(step) / self.training_steps), "float32")

    def get_config(self):
        return {"maximum": self.maximum, "training_steps": self.training_steps}


@keras.saving.register_keras_serializable(package="keras_mt")
class RampedBeta1(Schedule):
    """Adam's β1 falls with the ramp-down from `before` to `after`: `down·0.9 + (1 - down)·0.5`."""

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
class StepSwitch(Schedule):
    """`before` while `t < switch_step`, then `after`: Adam's β2 in the paper."""

    def __init__(self, before: float, after: float, switch_step: int):
        self.before = before
        self.after = after
        self.switch_step = switch_step

    def __call__(self, step):
        switched = step_rampup(step, self.switch_step)
        return ops.cast((1.0 - switched) * self.before + switched * self.after, "float32")

    def get_config(self):
        return {"before": self.before, "after": self.after, "switch_step": self.switch_step}


@keras.saving.register_keras_serializable(package="keras_mt")
class EMADecay(StepSwitch):
    """The EMA decay α: 0.99 while the ramp-up lasts, 0.999 after it, optionally warmed up.

    Early on the student improves fast, and the teacher should forget the old, worse student weights
    quickly (paper, section 3.1).

    Args:
        before: Decay during the ramp-up, in [0, 1).
        after: Decay after it.
        switch_step: Length of the ramp-up in optimizer steps.
        warmup: Whether `min(1 - 1/(t+1), α)` is used, as in the paper's residual networks.
    """

    def __init__(self, before: float, after: float, switch_step: int, warmup: bool = False):
        super().__init__(before, after, switch_step)
        self.warmup = warmup

    def __call__(self, step):
        decay = super().__call__(step)
        return ops.cast(ema_warmup(step, decay), "float32") if self.warmup else decay

    def get_config(self):
        return {**super().get_config(), "warmup": self.warmup}


@keras.saving.register_keras_serializable(package="keras_mt")
class Delayed(Schedule):
    """0 until a step, from there another schedule that begins at its own step 0.

    Args:
        schedule: What is delayed.
        start: Optimizer step at which it begins.
    """

    def __init__(self, schedule: Schedule, start: int):
        self.schedule = schedule
        self.start = start

    def __call__(self, step):
        later = self.schedule(ops.maximum(_number(step) - self.start, 0.0))
        return ops.where(_number(step) >= self.start, later, ops.zeros_like(later))

    def get_config(self):
        return {"schedule": keras.saving.serialize_keras_object(self.schedule), "start": self.start}

    @classmethod
    def from_config(cls, config):
        return cls(keras.saving.deserialize_keras_object(config["schedule"]), config["start"])
