"""What a step reports is kept in: means that know when they are means of nothing, and values that are just the last."""

import keras
import tensorflow as tf
from keras import ops
from keras.src.trainers.compile_utils import MetricsList  # Private; Keras is pinned. See `Trackers`.


@keras.saving.register_keras_serializable(package="keras_mt")
class Average(keras.metrics.Metric):
    """`Σ values / Σ weights` since the last reset; NaN if the weights sum to 0, since a mean of nothing is not 0.

    Args:
        name: Name of the metric.
        dtype: Its dtype.
    """

    _direction = "down"  # Where Keras' callbacks look for whether lower is better.

    def __init__(self, name="average", dtype=None):
        super().__init__(name=name, dtype=dtype)
        self.total = self.add_variable(shape=(), initializer="zeros", name="total")
        self.count = self.add_variable(shape=(), initializer="zeros", name="count")

    def update_state(self, values, sample_weight):
        """Adds values `[...]` with weights of the same shape."""
        weights = ops.cast(sample_weight, self.dtype)
        self.add(ops.sum(ops.cast(values, self.dtype) * weights), ops.sum(weights))

    def add(self, total, count) -> None:
        """Adds a sum of weighted values, and the sum of their weights."""
        self.total.assign_add(ops.cast(total, self.dtype))
        self.count.assign_add(ops.cast(count, self.dtype))

    def result(self):
        return ops.where(self.count > 0, ops.divide_no_nan(self.total, self.count), float("nan"))


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


class Trackers(MetricsList):
    """Metrics by their names, in one metric.

    Callbacks that are to find out whether a lower value is better (`EarlyStopping(monitor="val_teacher_error")`) look
    only into this private class of Keras, or into the metrics of `compile`, which Keras updates itself.

    Args:
        metrics: The metrics.
        name: Name of all of them together.
    """

    def __init__(self, metrics: list[keras.metrics.Metric], name: str = "trackers"):
        super().__init__(metrics, name=name)
        self.by_name = {metric.name: metric for metric in metrics}

    def __getitem__(self, name: str) -> keras.metrics.Metric:
        return self.by_name[name]

    @property
    def variables(self):
        return [v for metric in self.metrics for v in metric.variables]

    def result(self):
        return self.get_result()


def mean_or_nan(value, count) -> tf.Tensor:
    """Returns a mean, or NaN where it is one over nothing."""
    return ops.where(ops.cast(count, "float32") > 0, value, ops.cast(float("nan"), value.dtype))
