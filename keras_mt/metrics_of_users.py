"""What a metric of `compile` is given: labeled examples, and outputs as it reads them."""

import collections
import copy
import itertools
import math

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_mt import tasks
from keras_mt.losses.functions_of_keras import bound, is_of_keras, takes_logits
from keras_mt.losses_of_users import examples_of, require_form
from keras_mt.trackers import Named

_ACCURACY, _CROSS_ENTROPY = ("accuracy", "acc"), ("crossentropy", "ce")
_KERAS = keras.metrics
_WITH_THRESHOLDS = (
    _KERAS.BinaryIoU, _KERAS.FBetaScore, _KERAS.Precision, _KERAS.Recall, _KERAS.TruePositives, _KERAS.TrueNegatives,
    _KERAS.FalsePositives, _KERAS.FalseNegatives, _KERAS.PrecisionAtRecall, _KERAS.RecallAtPrecision,
    _KERAS.SensitivityAtSpecificity, _KERAS.SpecificityAtSensitivity,
)  # fmt: skip
_OF_CLASS_NUMBERS = (_KERAS.IoU, _KERAS.MeanIoU)  # And their subclasses.


class MetricOfOutput(Named):
    """A metric of one output.

    Args:
        identifier: What `compile` was given. A metric object is used itself, so that its class needs no config.
        output: The `outputs.Output`.
        weighted: Whether `sample_weight` and `class_weight` weigh it.
    """

    def __init__(self, identifier, output, weighted: bool):
        super().__init__(*_made(identifier, output))
        self.weighted, self._output, self._kept = weighted, output, {}
        self._takes_logits = None if output.task_name == "regression" else _takes_logits(self.metric)
        self._of_each_label = output.task.each_output and self._is_of_each_label()

    def __str__(self):
        return f"metric {self.name!r} of {self._output}"

    def update(self, y, outputs, mask, weight, weighted: bool) -> None:
        """Lets the metric see examples that are labeled, at least in part.

        Args:
            y: Their labels.
            outputs: What a network gave for them.
            mask: As `labels.Labels` has it.
            weight: Likewise.
            weighted: Whether there are weights of examples or classes.
        """
        check_form(self.metric, str(self), y, self._output)
        outputs, weighted = self._read(outputs), weighted and self.weighted
        weights = weight if weighted else mask
        if self._of_each_label:
            here = mask > 0
            y, outputs = tf.boolean_mask(y, here)[:, None], tf.boolean_mask(outputs, here)[:, None]
            weights = tf.boolean_mask(weights, here)
        elif self._output.task.each_output:
            alike = ops.all(ops.min(weights, axis=-1) == ops.max(weights, axis=-1))
            tasks.require(
                alike,
                f"The {self} is not a mean over labels: it can't leave out some columns of an example, or weigh them "
                "by themselves. Label all columns alike, or leave it out",
            )
            weights = weights[..., 0]
        if len(weights.shape) > 1 and not self._respects_positions(y):
            axes = tuple(range(1, len(weights.shape)))
            tasks.require(
                ops.all(ops.min(weights, axis=axes) == ops.max(weights, axis=axes)),
                f"The {self} ignores weights of positions inside of an example: what has weight 0 must make no "
                "difference to it. Label all positions of an example, weigh them alike, or leave it out",
            )
            weights = ops.max(weights, axis=axes)
        if len(weights.shape) == 1 and not weighted:
            self.metric.update_state(y, outputs)
        else:
            self.metric.update_state(y, outputs, sample_weight=weights)

    def _read(self, outputs):
        output = self._output
        if self._takes_logits is None or self._takes_logits == output.from_logits:
            return outputs
        return output.logits(outputs) if self._takes_logits else output.task.probabilities(outputs)

    def _is_of_each_label(self):
        """Whether the metric is the same over rows of columns as over a list of all labels, in which some may lack."""
        if not self.metric.variables:  # It makes them for the columns that it sees first.
            return False
        y, outputs = examples_of(self._output)
        return self._is_same((y, outputs), [ops.reshape(v, (-1, 1)) for v in (y, outputs)])

    def _respects_positions(self, labels):
        """Whether positions inside of an example that have weight 0 make no difference to the metric."""
        of_keras = is_of_keras(type(self.metric).update_state)
        if of_keras and not isinstance(self.metric, keras.metrics.MeanMetricWrapper):
            return True  # What is wrapped may give one number for an example or a batch, whoever wrote it.
        form = len(labels.shape), tasks.is_one_hot(labels, self._output.shape), labels.dtype
        if form not in self._kept:
            with tf.init_scope():  # Once, outside of what is traced.
                self._kept[form] = self._is_same(*_with_missing_positions(self._output, *form))
        return self._kept[form]

    def _is_same(self, *batches):
        """Whether the metric has the same value for batches of labels, outputs and perhaps weights."""
        metric = self.metric

        def values(y, outputs, weights=None):
            weighing = {} if weights is None else {"sample_weight": weights}
            state = metric.stateless_update_state(metric.stateless_reset_state(), y, self._read(outputs), **weighing)
            return keras.tree.flatten(metric.stateless_result(state))

        try:
            if not metric.variables and not tf.distribute.has_strategy():
                metric = _copied(metric)
                metric.update_state(batches[0][0], self._read(batches[0][1]))  # Which makes them.
            pairs = zip(*(values(*batch) for batch in batches), strict=True)
            return all(np.allclose(a, b, rtol=1e-3, atol=1e-5) for a, b in pairs)
        except Exception:  # Of what it can't take, each metric says something else.
            return False


def _with_missing_positions(output, rank, one_hot, dtype):
    """Two batches of labels, outputs and weights that differ where the weights are 0 alone."""
    random = np.random.default_rng(0)
    *positions, columns = (size or 3 for size in output.shape[1:])
    shape = max(2, 32 // math.prod(positions)), *positions
    here = np.arange(math.prod(shape)).reshape(shape) % 2 == 1

    def other_where_missing(values):
        return values[0], np.where(here.reshape(*shape, *[1] * (values[0].ndim - here.ndim)), *values)

    if output.task_name == "multiclass":
        labels = random.integers(columns, size=(2, *shape))
        labels = np.eye(columns)[labels] if one_hot else labels[..., None] if rank == output.rank else labels
    else:
        labels = random.integers(0, 2, (2, *shape, columns)) + 0.5 * (output.task_name == "regression")
    outputs = random.uniform(-2.0, 2.0, (2, *shape, columns)).astype("float32")
    if output.task_name == "regression":
        outputs = abs(outputs)
    elif not output.from_logits:
        outputs = output.task.probabilities(outputs)
    pairs = zip(other_where_missing(labels), other_where_missing(np.asarray(outputs)), strict=True)
    return [(ops.cast(y, dtype), ops.convert_to_tensor(p), ops.cast(here, "float32")) for y, p in pairs]


def each_its_own(wanted: list) -> list:
    """Returns the metrics of each argument of `compile` and each output, an object that has several places copied.

    Args:
        wanted: For each argument a list, for each output, of lists of metrics.

    Raises:
        ValueError: If an object can't be copied.
    """
    flat = [metric for of_argument in wanted for of_output in of_argument for metric in of_output]
    places = collections.Counter(id(metric) for metric in flat if isinstance(metric, keras.metrics.Metric))

    def own(metric):
        if places[id(metric)] < 2:
            return metric
        try:
            return _copied(metric)  # Also of the first place: what one output builds fits no other.
        except Exception as error:
            raise ValueError(
                f"Metric {metric.name!r} can't be copied for each of {places[id(metric)]} places: give each of them "
                f"an object of its own. Received: {type(metric).__name__}"
            ) from error

    return [[[own(metric) for metric in of_output] for of_output in of_argument] for of_argument in wanted]


def _copied(metric):
    """A copy by attributes: what Keras copies is the config, in which a class may lack an argument."""
    copies, metrics = {}, []

    def note(part):
        if isinstance(part, keras.metrics.Metric) and id(part) not in copies:
            copies[id(part)] = object.__new__(type(part))
            metrics.append(part)
            keras.tree.map_structure(note, list(vars(part).values()))
        elif isinstance(part, (keras.losses.Loss, keras.Layer)):
            copies[id(part)] = part

    note(metric)
    for part in metrics:
        vars(copies[id(part)]).update(copy.deepcopy(vars(part), copies))
    return copies[id(metric)]


def name_in_logs(outputs: list, others: list[Named], taken: set) -> None:
    """Gives each metric of all outputs a name in the logs that no other has, by Keras' rule; and then each other.

    Args:
        outputs: The `outputs.Output`s.
        others: The metrics of no output.
        taken: The names of what is in the logs already.
    """
    taken = set(taken)
    for weighted in (False, True):
        for output in outputs:
            for metric in (metric for metric in output.metrics if metric.weighted == weighted):
                name = output.metric_name(metric.given_name)
                if weighted and name in taken:
                    name = output.metric_name(f"weighted_{metric.given_name}")
                metric.name = _unique(name, taken)
    for metric in others:
        metric.name = _unique(metric.given_name, taken)


def _unique(name, taken):
    """Returns a name as it is, or with the first number that makes it another; and notes that it is taken."""
    numbers = itertools.count(1)
    found = name
    while found in taken:
        found = f"{name}_{next(numbers)}"
    taken.add(found)
    return found


def _made(identifier, output):
    """The metric that `compile` was given, and its name without that of the output."""
    name = identifier if isinstance(identifier, str) else ""  # A function may be called so as well.
    if name.lower() in _ACCURACY:
        if output.task_name == "regression":
            raise ValueError(
                f"Metric {name!r} needs classes or yes-or-no outputs. Received: {output}, which is numbers"
            )
        accuracy = keras.metrics.MeanMetricWrapper(
            lambda labels, outputs: 1.0 - output.task.errors(labels, output.logits(outputs)), name=name
        )
        accuracy._direction = "up"  # As Keras' own metrics tell its callbacks; see `trackers.Trackers`.
        return accuracy, name
    if name.lower() in _CROSS_ENTROPY:
        loss = output.task.loss(output.from_logits, None)
        cross_entropy = keras.metrics.MeanMetricWrapper(loss.call, name=name)
        cross_entropy._direction = "down"
        return cross_entropy, name
    metric = keras.metrics.get(identifier)
    if isinstance(metric, type):
        metric = metric()
    if not isinstance(metric, keras.metrics.Metric):
        name = name or getattr(metric, "__name__", "metric")
        return keras.metrics.MeanMetricWrapper(bound(metric, output.from_logits), name=name), name
    return metric, identifier if isinstance(identifier, str) else metric.name  # "AUC" is "AUC" in the logs.


def _takes_logits(metric):
    """Whether a metric of Keras reads outputs as logits or as probabilities; None if as they are."""
    if not is_of_keras(type(metric).update_state):  # A class of the user's may convert them before it calls Keras'.
        return None
    if isinstance(metric, keras.metrics.AUC):
        return bool(metric.get_config()["from_logits"])
    if isinstance(metric, _WITH_THRESHOLDS):
        config = metric.get_config()
        thresholds = config.get("thresholds", config.get("threshold"))
        # Keras' documentation has thresholds of 0 for outputs that are logits.
        return None if thresholds is not None and not np.any(np.asarray(thresholds) > 0) else False
    return takes_logits(metric)


def check_form(metric, what: str, labels, output) -> None:
    """Raises a `ValueError` if a metric of Keras takes class labels of another form, or outputs for classes.

    Args:
        metric: The metric.
        what: What it is called in a sentence.
        labels: The labels.
        output: The `outputs.Output`.
    """
    require_form(metric, what, labels, output)
    if output.task_name != "multiclass" or not is_of_keras(type(metric).update_state):
        return
    other = ""
    if isinstance(metric, _OF_CLASS_NUMBERS) and not isinstance(metric, keras.metrics.BinaryIoU):
        if metric.sparse_y_pred:
            raise ValueError(
                f"The {what}, {type(metric).__name__}, needs sparse_y_pred=False: each class has an output. "
                "Received: sparse_y_pred=True"
            )
        integers, other = metric.sparse_y_true, f", or sparse_y_true={not metric.sparse_y_true}"
    elif isinstance(metric, keras.metrics.MeanMetricWrapper) or type(metric) in (keras.metrics.Mean, keras.metrics.Sum):
        return
    else:
        integers = False
    if integers == tasks.is_one_hot(labels, output.shape):
        raise ValueError(
            f"The {what}, {type(metric).__name__}, needs {'integers' if integers else 'one-hot labels'}{other}. "
            f"Received: labels of shape {tuple(labels.shape)}"
        )
