"""Which of the teacher's predictions are certain: those that its own noise does not spread."""

import math

import keras
from keras import ops

from keras_mt import schedules
from keras_mt.outputs import Output


@keras.saving.register_keras_serializable(package="keras_mt")
class Uncertainty:
    """Leaves out of the consistency cost where several noisy passes of the teacher are uncertain on average.

    An example (or pixel) counts whose entropy of the mean prediction over `passes` further passes of the teacher is
    below `(start + (1 - start) ramp) ln C`, with C classes; `ramp` grows from nearly 0 to 1 like the sigmoid ramp-up of
    the consistency weight. Of yes-or-no outputs each one counts by itself, with C = 2. Costs are still divided by
    all examples. `MeanTeacher` reports the share that counts as `certain_share`.

    Args:
        passes: Number of further passes of the teacher.
        rampup_steps: Length of the ramp-up of the threshold, in optimizer steps. Yu et al. (2019) have the whole run.
        start: Where the threshold starts, as a share of the largest entropy.

    Reference: Yu et al. (2019), https://arxiv.org/abs/1907.07034

    Example:

    ```python
    import keras
    import numpy as np

    import keras_mt

    student = keras.Sequential([keras.Input((4,)), keras.layers.Dropout(0.5), keras.layers.Dense(3)])
    x, labels = np.random.normal(size=(60, 4)), np.where(np.arange(60) < 12, np.arange(60) % 3, -1)

    model = keras_mt.MeanTeacher(student, uncertainty=keras_mt.Uncertainty(passes=8, rampup_steps=100))
    model.compile(optimizer="adam")
    model.fit(x, labels, callbacks=[keras_mt.MeanTeacherCallback(consistency_weight=1.0)])
    ```
    """

    def __init__(self, passes: int = 8, rampup_steps: int = 0, start: float = 0.75):
        if passes < 1:
            raise ValueError(f"Argument `passes` must be positive. Received: passes={passes}")
        if not 0.0 <= start <= 1.0:
            raise ValueError(f"Argument `start` must be in the range [0, 1]. Received: start={start}")
        if rampup_steps < 0:
            raise ValueError(f"Argument `rampup_steps` must not be negative. Received: rampup_steps={rampup_steps}")
        self.passes, self.rampup_steps, self.start = int(passes), int(rampup_steps), float(start)

    def mask(self, output: Output, logits: list, step):
        """Returns 1 where the mean prediction is certain, else 0: float32 `[batch, ...]`, or one an output.

        Args:
            output: The output.
            logits: Its logits `[batch, ..., classes]` in each pass.
            step: Number of optimizer steps so far.
        """
        mean = sum(ops.cast(output.task.probabilities(part), "float32") for part in logits) / len(logits)
        if output.task.each_output:
            entropy, classes = _entropy(mean) + _entropy(1.0 - mean), 2
        else:
            entropy, classes = ops.sum(_entropy(mean), axis=-1), mean.shape[-1]
        ramp = schedules.sigmoid_rampup(step, self.rampup_steps) if self.rampup_steps else 1.0
        threshold = (self.start + (1.0 - self.start) * ramp) * math.log(classes)
        return ops.cast(entropy < ops.cast(threshold, "float32"), "float32")

    def get_config(self):
        return {"passes": self.passes, "rampup_steps": self.rampup_steps, "start": self.start}

    @classmethod
    def from_config(cls, config):
        return cls(**config)

    def __repr__(self):
        return f"Uncertainty(passes={self.passes}, rampup_steps={self.rampup_steps}, start={self.start:g})"


def _entropy(probabilities):
    return -probabilities * ops.log(ops.maximum(probabilities, 1e-30))
