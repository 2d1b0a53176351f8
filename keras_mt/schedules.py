"""Ramps and schedules of Tarvainen & Valpola (2017), https://arxiv.org/abs/1703.01780, and of the later protocol.

A ramp is a function of the step; a schedule is a `keras.optimizers.schedules.LearningRateSchedule` made of ramps, for
an optimizer or for `MeanTeacherCallback`. `step` is the number of optimizer steps done so far. All are pure and
traceable: inside a compiled train step they cost a handful of scalar operations. Ramps are computed in float64, where
they are exact to the published values; schedules return float32.
"""

import math

import keras
from keras import ops

Schedule = keras.optimizers.schedules.LearningRateSchedule


def _number(value):
    return ops.cast(value, "float64")


def sigmoid_rampup(step, rampup_steps: float):
    """Sigmoid-shaped ramp-up: `exp(-5 (1 - t/R)²)` while `t < R`, then 1.

    Args:
        step: t, the number of steps done; a number or a tensor of any shape.
        rampup_steps: R, the length of the ramp in steps; 0 for none.

    Returns:
        Float64 in (0, 1], of the shape of `step`.

    Reference: Tarvainen & Valpola (2017), section 3.1 and appendix B

    Example:

    ```python
    weights = 100.0 * keras_mt.schedules.sigmoid_rampup(np.arange(0, 50_000, 1000), rampup_steps=40_000)
    ```
    """
    if not rampup_steps:
        return ops.ones_like(_number(step))
    phase = 1.0 - ops.minimum(_number(step) / rampup_steps, 1.0)
    return ops.exp(-5.0 * phase * phase)


def sigmoid_rampdown(step, rampdown_steps: float, training_steps: float):
    """Sigmoid-shaped ramp-down: 1 until `t = T - D`, then `exp(-12.5 (1 - (T - t)/D)²)`.

    Args:
        step: t, the number of steps done; a number or a tensor of any shape.
        rampdown_steps: D, the length of the ramp in steps; 0 for none.
        training_steps: T, the length of the training in steps.

    Returns:
        Float64 in (0, 1], of the shape of `step`.

    Reference: Tarvainen & Valpola (2017), appendix B

    Example:

    ```python
    rates = 0.003 * keras_mt.schedules.sigmoid_rampdown(np.arange(0, 150_000, 1000), 25_000, training_steps=150_000)
    ```
    """
    if not rampdown_steps:
        return ops.ones_like(_number(step))
    phase = 1.0 - ops.clip((training_steps - _number(step)) / rampdown_steps, 0.0, 1.0)
    return ops.exp(-12.5 * phase * phase)


def step_rampup(step, rampup_steps: float):
    """Step function: 0 while `t < R`, then 1.

    Args:
        step: t, the number of steps done; a number or a tensor of any shape.
        rampup_steps: R, the step from which the value is 1; 0 for always 1.

    Returns:
        Float64, 0 or 1, of the shape of `step`.

    Reference: Tarvainen & Valpola (2017), section 3.1 (when the EMA decay changes)

    Example:

    ```python
    switched = keras_mt.schedules.step_rampup(np.arange(10), rampup_steps=4)
    ```
    """
    return _number(ops.greater_equal(_number(step), rampup_steps))


def linear_rampup(epoch, rampup_epochs: float):
    """Linear ramp-up: `min(1, e/R)`.

    Args:
        epoch: e, the number of epochs done, with fractions, or of steps; a number or a tensor of any shape.
        rampup_epochs: R, the length of the ramp, in the unit of `epoch`; 0 for none.

    Returns:
        Float64 in [0, 1], of the shape of `epoch`.

    Reference: Tarvainen & Valpola (2017), appendix B.4 (warm-up of the learning rate)

    Example:

    ```python
    rates = 0.25 * keras_mt.schedules.linear_rampup(np.linspace(0.0, 10.0, 41), rampup_epochs=2)
    ```
    """
    if not rampup_epochs:
        return ops.ones_like(_number(epoch))
    return ops.minimum(_number(epoch) / rampup_epochs, 1.0)


def cosine_rampdown(epoch, rampdown_epochs: float):
    """Half a cosine: `(cos(πe/D) + 1)/2`.

    Args:
        epoch: e, the number of epochs done, with fractions, or of steps; a number or a tensor of any shape. At most D.
        rampdown_epochs: D, where the value reaches 0, in the unit of `epoch`. Positive.

    Returns:
        Float64 in [0, 1], of the shape of `epoch`.

    Reference: Tarvainen & Valpola (2017), appendix B.3 and B.4; Loshchilov & Hutter (2017)

    Example:

    ```python
    rates = 0.05 * keras_mt.schedules.cosine_rampdown(np.arange(180), rampdown_epochs=210)
    ```
    """
    return 0.5 * (ops.cos(math.pi * _number(epoch) / rampdown_epochs) + 1.0)


def ema_warmup(step, decay, power: float = 1.0):
    """EMA decay of a young average: `min(1 - (1+t)^-p, decay)`, where `t` is 1 for the first step.

    With a power of 1 the average gives all students so far the same weight, instead of staying close to the initial
    weights; with less it forgets the early ones.

    Args:
        step: `t - 1`, the number of steps done before this one; a number or a tensor of any shape.
        decay: The EMA decay that the warm-up leads to, in [0, 1).
        power: p, in (0, 1]; 2/3 or 3/4 are in use.

    Returns:
        Float64 in [0, 1), of the shape of `step`.

    Reference: Tarvainen & Valpola (2017), section 3.4 (residual networks)

    Example:

    ```python
    decays = keras_mt.schedules.ema_warmup(np.arange(1000), decay=0.99)
    ```
    """
    young = 1.0 - 1.0 / (_number(step) + 2.0) if power == 1.0 else 1.0 - (_number(step) + 2.0) ** -power
    return ops.minimum(young, _number(decay))


@keras.saving.register_keras_serializable(package="keras_mt")
class RampUpDown(Schedule):
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
class LinearRampUp(Schedule):
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
class WarmUpCosine(Schedule):
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
        return ops.cast(self.maximum * ops.cos(7.0 * math.pi / 16.0 * _number(step) / self.training_steps), "float32")

    def get_config(self):
        return {"maximum": self.maximum, "training_steps": self.training_steps}


@keras.saving.register_keras_serializable(package="keras_mt")
class RampedBeta1(Schedule):
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
class StepSwitch(Schedule):
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
            decay = ops.where((_number(step) + 1.0) % self.every == 0, decay, ops.ones_like(decay))
        if self.start_step:
            decay = ops.where(_number(step) < self.start_step, ops.zeros_like(decay), decay)
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
        return (super().__call__(step) == 1.0) & (_number(step) >= self.start_step)

    def get_config(self):
        return {**super().get_config(), "warmup": self.warmup, "every": self.every, "start_step": self.start_step}


@keras.saving.register_keras_serializable(package="keras_mt")
class Delayed(Schedule):
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
