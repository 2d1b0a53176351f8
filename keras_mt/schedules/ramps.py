"""Ramps of Tarvainen & Valpola (2017), https://arxiv.org/abs/1703.01780: functions of the step.

`step` is the number of optimizer steps done so far. All are pure and traceable: inside a compiled train step they cost
a handful of scalar operations. They are computed in float64, where they are exact to the published values.
"""

import math

from keras import ops


def as_number(value):
    """Returns a step, or what is computed with it, as float64."""
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
        return ops.ones_like(as_number(step))
    phase = 1.0 - ops.minimum(as_number(step) / rampup_steps, 1.0)
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
        return ops.ones_like(as_number(step))
    phase = 1.0 - ops.clip((training_steps - as_number(step)) / rampdown_steps, 0.0, 1.0)
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
    return as_number(ops.greater_equal(as_number(step), rampup_steps))


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
        return ops.ones_like(as_number(epoch))
    return ops.minimum(as_number(epoch) / rampup_epochs, 1.0)


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
    return 0.5 * (ops.cos(math.pi * as_number(epoch) / rampdown_epochs) + 1.0)


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
    young = 1.0 - 1.0 / (as_number(step) + 2.0) if power == 1.0 else 1.0 - (as_number(step) + 2.0) ** -power
    return ops.minimum(young, as_number(decay))
