"""One output of a student: what it is asked for, what its labels are, and what it costs."""

import math
from collections.abc import Callable

import keras
import tensorflow as tf
from keras import ops

from keras_mt import tasks
from keras_mt.distribution import sum_over_replicas
from keras_mt.labels import Labels, Sum
from keras_mt.losses import ClassificationCost, Confident, LabeledPositions, MultiLabelCost, RegressionCost
from keras_mt.losses.functions_of_keras import OF_PROBABILITIES, bound, function_of, takes_logits
from keras_mt.losses.labeled_positions import overrides_call
from keras_mt.losses_of_users import call_loss, is_mean_of_columns, require_reduction, value_of_labeled
from keras_mt.metrics_of_users import MetricOfOutput
from keras_mt.structures import as_rank, keras_mask
from keras_mt.tasks import TASKS

_OWN_LOSSES = (ClassificationCost, MultiLabelCost, RegressionCost)


class Output:
    """One output: its task, its losses, its metrics.

    Args:
        name: Its name; empty for the only one.
        place: Which of the flattened outputs it is.
        shape: Its shape, the batch first.
        task: Name of its task; None if it is not trained.
        consistency: What `Task.consistency` takes.
        consistency_weight: Its weight in the consistency cost.
        from_logits: Whether it gives logits.
        reduction: `"batch"` or `"labeled"`.
        consistency_place: Which of the flattened outputs the consistency cost pulls: of two heads the second.
    """

    def __init__(
        self, name, place, shape, task, consistency, consistency_weight, from_logits, reduction, consistency_place=None
    ):
        self.name, self.place, self.shape = name, place, tuple(shape)
        self.consistency_place = place if consistency_place is None else consistency_place
        self.task_name, self.task = task, TASKS[task]
        self.consistency_weight, self.from_logits, self.reduction = consistency_weight, from_logits, reduction
        self.consistency = self.task.consistency(consistency)
        require_reduction(self.consistency, f"consistency cost of {self}")
        self.labels_name = "Argument `y`" + (f" of output {name!r}" if name else "")
        self.loss, self.loss_weight, self.compute_loss, self.metrics = None, 1.0, None, ()
        self.loss_is_mean_of_columns = False

    def __str__(self):
        return f"output {self.name!r}" if self.name else "the output"

    @property
    def rank(self) -> int:
        return len(self.shape)

    def metric_name(self, name: str) -> str:
        """Returns the name of one of its metrics, as Keras composes it."""
        return f"{self.name}_{name}" if self.name else name

    def logits(self, outputs):
        """Returns logits, whichever the output gives: softmax(log p) = p."""
        return outputs if self.from_logits else self.task.logits(outputs)

    def has_own_loss(self) -> bool:
        """Whether its loss is one of this package, which masks by itself."""
        return isinstance(self.loss, _OWN_LOSSES) and not overrides_call(self.loss) and self.compute_loss is None

    # Labels

    def labels(self, y, outputs, sample_weight, class_weight) -> Labels:
        """Returns the labels of a batch.

        Args:
            y: What `fit` was given for this output.
            outputs: What a network gave, with Keras' mask if it has one: what is padding has no label.
            sample_weight: Weights `[batch]`, or of any label; None for 1.
            class_weight: Weight of each class `[classes]`; None for 1.
        """
        tasks.check_shape(self.task_name, y, self.shape, self.labels_name)
        y = tf.convert_to_tensor(y)
        if y.shape.rank is None:
            raise ValueError(
                f"{self.labels_name} must have a known number of axes. Received: a tensor of unknown shape; give it "
                "one with `tf.ensure_shape`"
            )
        if self.task.each_output and len(y.shape) < self.rank:
            y = ops.expand_dims(y, -1)
        y = tasks.require_labels(self.task_name, y, self.shape, self.labels_name)
        values, mask = self.task.mask(y, self.rank)
        weight, places = mask, ops.cast(ops.size(mask), "float32")
        if sample_weight is not None:
            weight = weight * as_rank(self._checked_weights(sample_weight, mask), mask)
        if class_weight is not None:
            weight = weight * ops.take(ops.convert_to_tensor(class_weight, "float32"), self._classes(values))
        weighted = sample_weight is not None or class_weight is not None
        return Labels(values, mask, weight, weighted, places).padded(keras_mask(outputs))

    def _checked_weights(self, sample_weight, mask):
        weights = ops.cast(sample_weight, "float32")
        of_one = weights.shape[: len(weights.shape) - 1] if weights.shape[-1:] == (1,) else weights.shape
        pairs = zip(of_one, mask.shape, strict=False)
        if len(of_one) > len(mask.shape) or any(None not in (a, b) and a not in (1, b) for a, b in pairs):
            raise ValueError(
                f"`sample_weight` must be one number an example, or of the shape {tuple(mask.shape)} of the labels of "
                f"{self}. Received: shape {tuple(weights.shape)}"
            )
        finite = ops.all(ops.isfinite(weights))
        operations = tasks.require(finite, "`sample_weight` must hold finite numbers. Received: others")
        with tf.control_dependencies(operations):  # Nothing may be trained on them before that.
            return tf.identity(weights)

    def _classes(self, values):
        if self.task_name == "multiclass":
            if tasks.is_one_hot(values, self.shape):
                return ops.argmax(values, axis=-1)
            values = values[..., 0] if len(values.shape) == self.rank else values
        return ops.cast(values, "int32")

    def errors(self, labels: Labels, outputs):
        """Returns the error of each label, of the shape of the mask."""
        return self.task.errors(labels.values, self.logits(outputs))

    # Costs

    def label_cost(self, labels: Labels, outputs, of_student: Callable | None = None) -> Sum:
        """Returns the cost of labels in a batch.

        Args:
            labels: The labels.
            outputs: What a network gave.
            of_student: The student's own `compute_loss` of `(rows, labels, outputs, weights)`, if it is to be called.
        """
        if self.has_own_loss():
            values = call_loss(self.loss, labels.values, outputs)
            total = ops.sum(values * ops.cast(labels.weight, values.dtype))
            if self.loss.reduction == "sum":
                (of_all,) = sum_over_replicas([labels.places])
                return Sum(total * ops.cast(of_all, total.dtype), labels.places)
            by_labels = self.reduction == "labeled" or self.loss.reduction == "mean_with_sample_weight"
            return Sum(total, ops.sum(labels.weight) if by_labels else labels.places)
        examples = labels.examples
        labeled = of_all = ops.sum(ops.cast(examples, "float32"))
        if getattr(self.loss, "reduction", None) == "sum":
            (of_all,) = sum_over_replicas([labeled])
        nothing = ops.zeros((), keras.config.floatx())

        def total():
            value, is_sum = value_of_labeled(self, labels, outputs, of_student)
            # Means of replicas count by their examples; sums are added up, and get the share of all of them.
            return ops.cast(value, nothing.dtype) * ops.cast(of_all if is_sum else labeled, nothing.dtype)

        count = labels.rows if self.reduction == "batch" else labeled
        return Sum(tf.cond(labeled > 0, total, lambda: nothing), count)

    def target(self, outputs) -> tuple:
        """Returns the target's logits, and float32 weights of what it is sure of, or None.

        Args:
            outputs: What the target network gave.
        """
        logits = self.logits(outputs)
        return self.consistency.target(logits) if isinstance(self.consistency, Confident) else (logits, None)

    @property
    def cost_of_consistency(self) -> keras.losses.Loss:
        """The consistency cost of logits, whatever it is that chooses between them."""
        return self.consistency.cost if isinstance(self.consistency, Confident) else self.consistency

    def consistency_cost(self, target, outputs, mask, trust=None) -> Sum:
        """Returns how far the student's output is from the target.

        Args:
            target: The target's logits.
            outputs: What the student gave.
            mask: Float32 weights of examples `[batch]` or of labels; None for all alike.
            trust: Float32 weights of the costs, of examples or positions, which leave what they are divided by as it
                is; None for 1.
        """
        padding = keras_mask(outputs)
        values = call_loss(self.cost_of_consistency, target, self.logits(outputs))
        require_reduction(self.consistency, f"consistency cost of {self}", values)
        if trust is not None and values.shape.rank:
            while len(trust.shape) > len(values.shape):  # A cost that is a mean over yes-or-no outputs.
                trust = ops.mean(trust, axis=-1)
            values = values * ops.cast(as_rank(trust, values), values.dtype)
        if not values.shape.rank:
            if mask is not None or padding is not None or trust is not None:
                raise ValueError(
                    "A consistency cost that is to leave examples out must return one number an example. "
                    f"Received: consistency={self.consistency}"
                )
            size = ops.cast(ops.shape(outputs)[0], "float32")
            return Sum(values * ops.cast(size, values.dtype), size)
        count = ops.cast(ops.size(values), "float32")
        if padding is not None:
            padding = as_rank(ops.cast(padding, "float32"), values) * ops.ones_like(values)
            count = ops.sum(padding)
            mask = padding if mask is None else padding * as_rank(mask, values)
        if mask is not None:
            mask = as_rank(mask, values)
            values = values * ops.cast(mask, values.dtype)
        total, reduction = ops.sum(values), self.consistency.reduction
        if reduction == "sum":
            (of_all,) = sum_over_replicas([count])
            return Sum(total * ops.cast(of_all, total.dtype), count)
        if mask is None:
            return Sum(total, count)
        if reduction == "mean_with_sample_weight" or self.reduction == "labeled":
            return Sum(total, ops.sum(ops.cast(mask, "float32") * ops.ones_like(ops.cast(values, "float32"))))
        return Sum(total, count)

    def class_balance(self, trust, outputs, labeled):
        """Returns how far the mean prediction over unlabeled rows of all replicas is from all classes alike.

        `-Σ log(mean p) / C`, times C, times the mean trust of these rows; a part of it on each replica. Both are means
        over positions that are no padding.

        Args:
            trust: Float32 weights of the target, or None for 1.
            outputs: What the student gave.
            labeled: Booleans `[batch]`.
        """
        unlabeled = ops.cast(ops.logical_not(labeled), "float32")
        predictions = ops.cast(self.task.probabilities(self.logits(outputs)), "float32")
        trust, real = ops.ones_like(unlabeled) if trust is None else trust, ops.ones_like(unlabeled)
        if (padding := keras_mask(outputs)) is not None:
            padding = ops.cast(padding, "float32")
            predictions, trust = predictions * as_rank(padding, predictions), as_rank(trust, padding) * padding
            real = _mean_of_rows(padding)
        predictions, trust = ops.mean(predictions, axis=tuple(range(1, self.rank - 1))), _mean_of_rows(trust)
        sums = [
            ops.sum(unlabeled * real),
            ops.sum(unlabeled * trust),
            *ops.unstack(ops.sum(unlabeled[:, None] * predictions, axis=0), self.shape[-1]),
        ]
        rows, trusted, *sums = sum_over_replicas(sums)
        mean = ops.divide_no_nan(ops.stack(sums), rows)
        cost = -ops.sum(ops.log(ops.maximum(mean, 1e-7))) * ops.divide_no_nan(trusted, rows)
        return ops.where(rows > 0, cost, 0.0) / tf.distribute.get_strategy().num_replicas_in_sync

    # What `compile` says

    def compile(self, loss, loss_weight, metrics, weighted_metrics, compute_loss) -> None:
        """Takes in what `compile` says of this output.

        Raises:
            ValueError: If the loss takes probabilities for logits or the other way round, or its weight is negative.
        """
        own = self.task.loss(self.from_logits, "sum_over_batch_size")
        self.loss = own if loss is None else self._loss(loss)
        self.loss_weight = 1.0 if loss_weight is None else float(loss_weight)
        if not 0.0 <= self.loss_weight < math.inf:
            raise ValueError(
                f"Argument `loss_weights` must be finite and not negative. Received: {self.loss_weight} for {self}"
            )
        self.compute_loss = compute_loss
        self.loss_is_mean_of_columns = is_mean_of_columns(self)
        self.metrics = tuple(
            MetricOfOutput(metric, self, weighted)
            for given, weighted in ((metrics, False), (weighted_metrics, True))
            for metric in given
        )

    def _loss(self, identifier):
        if isinstance(identifier, str):
            identifier = keras.losses.get(identifier)
            if isinstance(identifier, type):
                identifier = identifier()
        if isinstance(identifier, LabeledPositions):
            inner = self._loss(identifier.loss)
            same = inner is identifier.loss
            return identifier if same else LabeledPositions(inner, identifier.name, reduction=identifier.reduction)
        require_reduction(identifier, f"loss of {self}")
        function = function_of(identifier)
        name = getattr(identifier, "name", None) or getattr(function, "__name__", "")
        if function is keras.losses.categorical_generalized_cross_entropy and self.task_name != "multiclass":
            raise ValueError(
                f'The loss of {self}, {name}, takes integer classes, so it needs the task "multiclass". Received: '
                f"task={self.task_name!r}"
            )
        if function in OF_PROBABILITIES:
            if self.from_logits and self.task_name != "regression":
                raise ValueError(
                    f"The loss of {self}, {name}, takes probabilities. Received: from_logits=True; use a loss of "
                    "logits such as the cross-entropy, or a student that ends in probabilities and "
                    "`MeanTeacher(..., from_logits=False)`"
                )
            return identifier
        told = bound(identifier, self.from_logits)
        if told is not identifier and self.task_name == "regression":
            raise ValueError(
                f"The loss of {self}, {name}, must say whether numbers are logits: use an object of its class with "
                f"`from_logits`, and `MeanTeacher(..., from_logits=...)` alike. Received: {name} without it"
            )
        given = told.get_config().get("from_logits") if isinstance(told, keras.losses.Loss) else None
        given = takes_logits(told) if given is None else given
        if given is not None and bool(given) != self.from_logits:
            raise ValueError(
                f"Argument `from_logits` of `MeanTeacher` and of the loss of {self} must be the same. Received: "
                f"from_logits={self.from_logits} and loss={name} with from_logits={given}"
            )
        return told

    def update_metrics(self, labels: Labels, outputs) -> None:
        """Lets the compiled metrics see the labeled examples of a batch, if there are any."""
        if not self.metrics:
            return
        examples = labels.examples

        def update():
            y, p, m, w = (tf.boolean_mask(r, examples) for r in (labels.values, outputs, labels.mask, labels.weight))
            for metric in self.metrics:
                metric.update(y, p, m, w, labels.weighted)
            return True

        tf.cond(ops.any(examples), update, lambda: False)


def _mean_of_rows(values):
    return ops.mean(ops.reshape(values, (ops.shape(values)[0], -1)), axis=1)
