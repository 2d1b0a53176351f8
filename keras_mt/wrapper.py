"""What Keras asks of a model: here one that trains its student and answers with its teacher."""

import warnings

import keras
import numpy as np
import tensorflow as tf

from keras_mt import input_checks, losses, schedules
from keras_mt import teacher as twin
from keras_mt.distribution import ReplicatedModel
from keras_mt.student_variables import StudentVariables
from keras_mt.tasks import TASKS

OWN_COSTS = (losses.ClassificationCost, losses.MultiLabelCost, losses.RegressionCost)


class StudentAndTeacher(ReplicatedModel, StudentVariables, keras.Model):
    """The base of `MeanTeacher`: `compile`, `fit`, schedules, and what is called is the teacher."""

    def call(self, inputs, training=None):
        """Returns the outputs `[batch, ..., outputs]` of the teacher's first head."""
        return twin.heads(self.teacher(self._split_visit(inputs)[0], training=training))[0]

    def compile(self, optimizer="adam", loss=None, metrics=None, weighted_metrics=None, **kwargs):
        """As `keras.Model.compile`; the loss is the paper's (or the task's) unless one is given.

        `metrics` are measured on labeled examples: of the student in training, of the teacher in evaluation.
        """
        optimizer = keras.optimizers.get(optimizer)
        scaled = not kwargs.get("auto_scale_loss", True) or isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
        if not scaled and twin.computes_in_float16(self.student):
            # Keras would look at the dtype policy of this wrapper, which is float32.
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
        self.has_own_cost = loss is None or isinstance(loss, OWN_COSTS)
        # Only weighted metrics are told which examples are labeled.
        weighted_metrics = [*(metrics or []), *(weighted_metrics or [])] or None
        super().compile(
            optimizer=optimizer,
            loss=loss or TASKS[self.task].cost(self.from_logits, self.reduction()),
            weighted_metrics=weighted_metrics,
            **kwargs,
        )

    def fit(self, x=None, y=None, *args, class_weight=None, **kwargs):
        """As `keras.Model.fit`; arrays are checked first (see `input_checks.check_examples`).

        Weights of a callback's `consistency_weight="auto"` follow from how much of `y` is labeled.
        """
        num_classes = self.num_outputs() if self.task == "multiclass" else None
        if num_classes and num_classes > 1:
            input_checks.check_examples(x, y, num_classes, self.rank)
        if self.prediction_ensemble is not None and isinstance(x, tuple):
            input_checks.check_indices(x[1], self.num_examples)
        if class_weight is not None and isinstance(x, tf.data.Dataset):
            x, class_weight = x.map(_weighted(class_weight)), None  # Keras' own looks up the weight of class -1.
        self._fitted = (x, y)
        try:
            return super().fit(x, y, *args, class_weight=class_weight, **kwargs)
        finally:
            self._fitted = (None, None)

    def labeled_share(self) -> float | None:
        """Returns how much of what `fit` was given is labeled, in [0, 1]; None if that can't be seen.

        Arrays are counted, of a `tf.data.Dataset` the first ten batches.
        """
        x, _ = self._fitted
        if isinstance(x, tf.data.Dataset):
            masks = [np.ravel(TASKS[self.task].mask(batch[1], self.rank)[1]) for batch in x.take(10)]
            return float(np.mean(np.concatenate(masks)))
        return self.labeled_share_of_arrays()

    def labeled_share_of_arrays(self) -> float | None:
        """As `labeled_share`, but None for a data set, whose batches would have to be made."""
        _, y = self._fitted
        if not isinstance(y, np.ndarray):
            return None
        return float(np.mean(TASKS[self.task].mask(tf.convert_to_tensor(y), self.rank)[1]))

    def compile_from_config(self, config):
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    def make_train_function(self, force=False):
        if self.method != "supervised" and self._consistency_weight is None:
            warnings.warn(
                f"This trains on the labels alone: method={self.method!r}, but no `MeanTeacherCallback` sets the "
                "weight of the consistency cost. Pass `callbacks=[MeanTeacherCallback(consistency_weight=...)]`.",
                stacklevel=2,
            )
        return super().make_train_function(force)

    def num_outputs(self) -> int | None:
        """Returns the size of the last axis of the outputs; None if a subclassed student does not tell."""
        return self.shape_of_outputs[-1]

    def follow(self, consistency_weight: schedules.Schedule, ema_decay: schedules.Schedule) -> None:
        """Sets the schedules of the optimizer step that training follows; `MeanTeacherCallback` calls it.

        Args:
            consistency_weight: Weight w of the consistency cost as a function of the optimizer step.
            ema_decay: Decay α of the teacher's average, likewise.
        """
        following = (self._consistency_weight, self._ema_decay)
        if following[0] is None or any(
            old.get_config() != new.get_config()
            for old, new in zip(following, (consistency_weight, ema_decay), strict=True)
        ):
            self._consistency_weight = consistency_weight
            self._ema_decay = ema_decay
            self.train_function = None  # The schedules are compiled into it.

    def reset_teacher(self) -> None:
        """Makes the teacher equal to the student, for example after a supervised start."""
        twin.copy_weights(self.student, self.teacher)

    def teacher_distance(self) -> float:
        """Returns the Euclidean distance between the averaged weights and the student's."""
        return twin.distance(twin.averaged_pairs(self.student, self.teacher))


def _weighted(class_weight):
    """Returns a function that adds to `(x, y)`, or multiplies into its weights, the weight of each example's class."""
    keys = tf.constant(list(class_weight), "int64")
    values = tf.constant([class_weight[key] for key in class_weight], "float32")
    table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(keys, values), 1.0)

    def weigh(x, y, sample_weight=None):
        labels = tf.argmax(y, axis=-1) if len(y.shape) > 1 and y.shape[-1] != 1 else tf.reshape(y, [-1])
        weight = table.lookup(tf.cast(labels, "int64"))
        return x, y, weight if sample_weight is None else weight * tf.cast(sample_weight, "float32")

    return weigh
