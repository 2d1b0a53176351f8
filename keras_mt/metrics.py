"""What a step reports: the costs as weighted, the errors of both networks, the schedules in force."""

import keras
from keras import ops

COSTS = ("classification_cost", "consistency_cost", "logit_distance_cost")
ERRORS = ("student_error", "teacher_error")
SCHEDULES = ("consistency_weight", "ema_decay")
TRAINING_ONLY = (*COSTS, *SCHEDULES, "labeled_per_batch")
TOP5_ERRORS = ("student_top5_error", "teacher_top5_error")
EVALUATION_ONLY = ("student_loss", *TOP5_ERRORS)


@keras.saving.register_keras_serializable(package="keras_mt")
class Latest(keras.metrics.Metric):
    """The last value given to it: for schedules, whose mean over an epoch says nothing."""

    def __init__(self, name="latest", dtype=None):
        super().__init__(name=name, dtype=dtype)
        # Replicas agree on it: their sum, Keras' default, would say nothing.
        self.latest = self.add_variable(shape=(), initializer="zeros", name="latest", aggregation="only_first_replica")

    def update_state(self, values, sample_weight=None):
        self.latest.assign(ops.cast(values, self.dtype))

    def result(self):
        return ops.convert_to_tensor(self.latest)

    def reset_state(self):
        pass


def make_trackers(top5: bool) -> dict[str, keras.metrics.Metric]:
    """Returns the metrics that `MeanTeacher` keeps besides the loss and those it was compiled with.

    Args:
        top5: Whether the errors among the first five classes are measured.
    """
    names = (*COSTS, *ERRORS, "labeled_per_batch", "student_loss", *(TOP5_ERRORS if top5 else ()))
    means = {name: keras.metrics.Mean(name=name) for name in names}
    return means | {name: Latest(name=name) for name in SCHEDULES}
