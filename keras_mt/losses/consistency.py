"""Consistency costs: how far the student's prediction is from the target's.

Each is a Keras loss that is called with the target's logits as `y_true` and the student's as `y_pred`, both
`[batch, ..., classes]`, and yields one number an example (or pixel), `[batch, ...]`. No gradient is stopped here:
whether the target gets one is the method's decision.

Reference: Tarvainen & Valpola (2017), section 2 and appendix C, https://arxiv.org/abs/1703.01780
"""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_mt")
class MSEConsistency(keras.losses.Loss):
    """Mean over classes of `(softmax(student) - softmax(teacher))²`: the default.

    Call arguments:
        y_true: The target's logits `[batch, ..., classes]`.
        y_pred: The student's logits, of the same shape.

    Reference: Tarvainen & Valpola (2017), section 3

    Example:

    ```python
    import numpy as np

    import keras_mt

    loss = keras_mt.losses.MSEConsistency()
    cost = loss(np.array([[2.0, 0.0, 0.0]], "float32"), np.array([[1.0, 1.0, 0.0]], "float32"))
    ```
    """

    def __init__(self, reduction="sum_over_batch_size", name="mse_consistency"):
        super().__init__(name=name, reduction=reduction)

    def call(self, y_true, y_pred):
        return ops.mean(ops.square(ops.softmax(y_pred) - ops.softmax(y_true)), axis=-1)


@keras.saving.register_keras_serializable(package="keras_mt")
class KLConsistency(keras.losses.Loss):
    """`KL(softmax(teacher) ‖ softmax(student))`, summed over classes: the cost on ImageNet.

    Call arguments:
        y_true: The target's logits `[batch, ..., classes]`.
        y_pred: The student's logits, of the same shape.

    Reference: Tarvainen & Valpola (2017), section 3.5

    Example:

    ```python
    import numpy as np

    import keras_mt

    loss = keras_mt.losses.KLConsistency()
    cost = loss(np.array([[2.0, 0.0, 0.0]], "float32"), np.array([[1.0, 1.0, 0.0]], "float32"))
    ```
    """

    def __init__(self, reduction="sum_over_batch_size", name="kl_consistency"):
        super().__init__(name=name, reduction=reduction)

    def call(self, y_true, y_pred):
        difference = ops.log_softmax(y_true) - ops.log_softmax(y_pred)
        return ops.sum(ops.softmax(y_true) * difference, axis=-1)


def _excess(ratio):
    """`((1 + d) log(1 + d) - d) / d²`, smooth through `d = 0`, where the closed form loses every digit."""
    near_zero = ops.abs(ratio) < 0.2
    small = ops.where(near_zero, ratio, 0.0)
    large = ops.where(near_zero, 1.0, ratio)
    series = ops.zeros_like(ratio)
    for k in range(12, 1, -1):
        series = (-1.0) ** k / (k * (k - 1)) + small * series
    closed = ((1.0 + large) * ops.log1p(large) - large) / ops.square(large)
    return ops.where(near_zero, series, closed)


@keras.saving.register_keras_serializable(package="keras_mt")
class TrustConsistency(keras.losses.Loss):
    """The family that leads from MSE (`trust = 0`) to KL (`trust = 1`).

    Both softmaxes are mixed with the uniform distribution, `p_τ = τp + (1 - τ)/C`, and the cost is
    `KL(teacher_τ ‖ student_τ) · 2(1 - 1/C) / (C² τ²)` (appendix C). The division by τ² is done by
    hand: with `d = τ(q - p)/p_τ` the divergence is `Σ p_τ ((1 + d) log(1 + d) - d)`, so that
    `KL/τ² = Σ (q - p)²/p_τ · excess(d)`, which keeps its digits for every τ.

    Args:
        trust: τ in [0, 1]. 0 is exactly `MSEConsistency`, 1 a scaled `KLConsistency`.

    Call arguments:
        y_true: The target's logits `[batch, ..., classes]`.
        y_pred: The student's logits, of the same shape.

    Reference: Tarvainen & Valpola (2017), appendix C

    Example:

    ```python
    import numpy as np

    import keras_mt

    loss = keras_mt.losses.TrustConsistency(0.5)
    cost = loss(np.array([[2.0, 0.0, 0.0]], "float32"), np.array([[1.0, 1.0, 0.0]], "float32"))
    ```
    """

    def __init__(self, trust: float, reduction="sum_over_batch_size", name="trust_consistency"):
        super().__init__(name=name, reduction=reduction)
        if not 0.0 <= trust <= 1.0:
            raise ValueError(f"Argument `trust` must be in the range [0, 1]. Received: trust={trust}")
        self.trust = trust

    def call(self, y_true, y_pred):
        if self.trust == 0.0:
            return MSEConsistency().call(y_true, y_pred)
        classes = y_pred.shape[-1]
        scale = 2.0 * (1.0 - 1.0 / classes) / classes**2
        if self.trust == 1.0:
            # Nothing keeps a probability away from 0 here: log-softmax does not underflow.
            return scale * KLConsistency().call(y_true, y_pred)
        student = ops.softmax(y_pred)
        difference = ops.softmax(y_true) - student
        mixed = self.trust * student + (1.0 - self.trust) / classes
        excess = _excess(self.trust * difference / mixed)
        return scale * ops.sum(ops.square(difference) / mixed * excess, axis=-1)

    def get_config(self):
        return {**super().get_config(), "trust": self.trust}


def get_consistency(identifier, reduction: str = "sum_over_batch_size") -> keras.losses.Loss:
    """Returns the consistency cost that `"mse"`, `"kl"`, a trust in [0, 1] or a Keras loss stands for.

    Args:
        identifier: One of these. A loss keeps its own reduction.
        reduction: That of the others.

    Example:

    ```python
    from keras_mt.losses import get_consistency

    get_consistency("kl").name  # "kl_consistency"
    ```
    """
    if isinstance(identifier, keras.losses.Loss):
        return identifier
    if isinstance(identifier, (int, float)) and not isinstance(identifier, bool):
        return TrustConsistency(identifier, reduction) if identifier else MSEConsistency(reduction)
    if identifier == "mse":
        return MSEConsistency(reduction)
    if identifier == "kl":
        return KLConsistency(reduction)
    raise ValueError(
        'Argument `consistency` must be "mse", "kl", a trust in the range [0, 1] or a `keras.losses.Loss`. '
        f"Received: consistency={identifier!r}"
    )
