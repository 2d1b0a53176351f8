"""Schedules that change at a step: of Adam's β2 and the EMA decay."""

import keras
from keras import ops

from keras_mt.schedules.ramps import as_number, ema_warmup, step_rampup


@keras.saving.register_keras_serializable(package="keras_mt")
class StepSwitch(keras.optimizers.schedules.LearningRateSchedule):
    """One value until a step and another from there on: of Adam's β2.

    `before` while `t < switch_step`, then `after`.

    Args:
        before: The value until the switch.
        after: The value from it on.
        switch_step: The first step that gets `after`.

    Reference: Tarvainen & Valpola (2017), appendix B

    Example:

    ```python
    beta_2 = keras_mt.schedules.StepSwitch(0.99, 0.999, switch_step=400)
    optimizer = keras_mt.optimizers.ScheduledAdam(0.003, beta_2=beta_2)
    ```
    """

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
    """The EMA decay α: one value during the ramp-up and a larger one after it, optionally warmed up.

    Early on the student improves fast, and the teacher should forget the old, worse student weights quickly.

    Args:
        before: α during the ramp-up, in [0, 1], where 1 is a frozen teacher.
        after: α after it, likewise.
        switch_step: Length of the ramp-up, in optimizer steps.
        warmup: Whether `ema_warmup` bounds it: `min(1 - 1/(t+1), α)`, as for the residual networks; or the power p of
            `min(1 - (1+t)^-p, α)`.
        every: The average is updated every so many steps: α is 1 in the others.
        start_step: A supervised start: until this step α is 0, so that the teacher is a copy of the student.

    Reference: Tarvainen & Valpola (2017), section 3.1

    Example:

    ```python
    decay = keras_mt.schedules.EMADecay(0.99, 0.999, switch_step=400)
    values = [float(decay(step)) for step in (0, 399, 400)]  # 0.99, 0.99, 0.999
    ```
    """

    def __init__(
        self,
        before: float,
        after: float,
        switch_step: int,
        warmup: bool | float = False,
        every: int = 1,
        start_step: int = 0,
    ):
        super().__init__(before, after, switch_step)
        self.warmup, self.every, self.start_step = warmup, every, start_step

    def __call__(self, step):
        decay = super().__call__(step)
        if self.warmup:
            decay = ops.cast(ema_warmup(step, decay, float(self.warmup)), "float32")
        if self.every > 1:
            decay = ops.where((as_number(step) + 1.0) % self.every == 0, decay, ops.ones_like(decay))
        if self.start_step:
            decay = ops.where(as_number(step) < self.start_step, ops.zeros_like(decay), decay)
        return decay

    @property
    def always_one(self) -> bool:
        """Whether the teacher is frozen at each step."""
        return self.before == self.after == 1.0 and not self.warmup and not self.start_step

    def frozen(self, step):
        """Returns whether the teacher is frozen at a step, a boolean scalar; None if it never is.

        Not in the steps between two updates: the average waits in them, the teacher does not.
        """
        if self.warmup or 1.0 not in (self.before, self.after):
            return None
        return (super().__call__(step) == 1.0) & (as_number(step) >= self.start_step)

    def get_config(self):
        return {**super().get_config(), "warmup": self.warmup, "every": self.every, "start_step": self.start_step}
