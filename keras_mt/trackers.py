"""What a step reports is kept in: means that know when they are means of nothing, and values that are just the last."""

import types

import keras
import tensorflow as tf
from keras import ops
from keras.src.trainers.compile_utils import MetricsList  # Private; Keras is pinned. See `Trackers`.


class Trackers(MetricsList):
    """Means and last values by their names.

    A mean is `Σ values / Σ weights` since the last reset; NaN if the weights sum to 0: a mean of nothing is not 0.
    Vectors of all of them are read and changed once a step, since a small network's step is not much longer than what
    a variable for each number takes.

    Callbacks that are to find out whether a lower value is better (`EarlyStopping(monitor="val_teacher_error")`) look
    only into this private class of Keras, or into the metrics of `compile`, which Keras updates itself.

    Args:
        means: Names of the means.
        latest: Names of what just keeps its last value: schedules, whose mean over an epoch says nothing.
        lower_is_better: Names of means, and of other logs that are made of them, of which that is so.
        name: Name of all of them together.
    """

    def __init__(self, means: list[str], latest: list[str], lower_is_better: list[str], name: str = "trackers"):
        # Where Keras' callbacks look for whether lower is better.
        super().__init__([types.SimpleNamespace(name=n, _direction="down") for n in lower_is_better], name=name)
        self._means, self._latest_names = tuple(means), tuple(latest)
        self.names = {*means, *latest, *lower_is_better}
        self.totals = self.add_variable(shape=(len(means),), initializer="zeros", name="totals")
        self.counts = self.add_variable(shape=(len(means),), initializer="zeros", name="counts")
        # Replicas agree on it: their sum, Keras' default, would say nothing.
        self.latest = self.add_variable(
            shape=(len(latest),), initializer="zeros", name="latest", aggregation="only_first_replica"
        )

    def add(self, sums: dict) -> None:
        """Adds to some means, by their names, sums of weighted values and the sums of their weights.

        Raises:
            KeyError: If there is no such mean.
        """
        if unknown := set(sums) - set(self._means):
            raise KeyError(f"no means {sorted(unknown)}")
        for variable, place in ((self.totals, 0), (self.counts, 1)):
            zero = ops.zeros((), self.dtype)
            parts = [ops.cast(sums[name][place], self.dtype) if name in sums else zero for name in self._means]
            variable.assign_add(ops.stack(parts))

    def sums(self, values, weights) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the sum of values `[...]` with weights of the same shape, and the sum of the weights."""
        weights = ops.cast(weights, self.dtype)
        return ops.sum(ops.cast(values, self.dtype) * weights), ops.sum(weights)

    def keep(self, *values) -> None:
        """Keeps the latest values, one for each name, in their order."""
        self.latest.assign(ops.stack([ops.cast(value, self.dtype) for value in values]))

    def count(self, name: str) -> tf.Tensor:
        """Returns the sum of the weights of a mean."""
        return ops.convert_to_tensor(self.counts)[self._means.index(name)]

    def reset_state(self):
        for variable in (self.totals, self.counts):
            variable.assign(ops.zeros(variable.shape, variable.dtype))

    def result(self):
        means = ops.where(self.counts > 0, ops.divide_no_nan(self.totals, self.counts), float("nan"))
        found = zip(self._means, ops.unstack(means, len(self._means)), strict=True)
        latest = ops.unstack(ops.convert_to_tensor(self.latest), len(self._latest_names))
        return {**dict(found), **dict(zip(self._latest_names, latest, strict=True))}

    get_result = result


class Named:
    """A metric under the name that it has in the logs, which may be another than its own: objects are shared.

    Args:
        metric: The metric.
        given_name: The name that it was given.
    """

    def __init__(self, metric, given_name: str):
        self.metric, self.given_name, self.name = metric, given_name, given_name

    @property
    def _direction(self):
        return self.metric._direction  # Metrics without one have no such attribute, and so has this.

    @property
    def variables(self):
        return self.metric.variables

    def reset_state(self):
        self.metric.reset_state()

    def result(self):
        return self.metric.result()

    def result_or_nan(self, count):
        """Returns the result; NaN if it is one over nothing.

        Args:
            count: How much it is over, if it is no mean, which knows that itself.
        """
        count = ops.convert_to_tensor(self.metric.count) if isinstance(self.metric, keras.metrics.Mean) else count
        return keras.tree.map_structure(lambda value: mean_or_nan(ops.convert_to_tensor(value), count), self.result())


class Given(MetricsList):
    """The metrics that a user gave, each `Named`, in one metric: where callbacks look, as for those of `Trackers`."""

    @property
    def variables(self):
        return [v for metric in self.metrics for v in metric.variables]

    def result(self):
        return self.get_result()


def mean_or_nan(value, count) -> tf.Tensor:
    """Returns a mean, or NaN where it is one over nothing."""
    return ops.where(ops.cast(count, "float32") > 0, value, ops.cast(float("nan"), value.dtype))
