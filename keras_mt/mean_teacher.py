"""The method: noise twice, two passes, two costs, one optimizer step, one average."""

import warnings

import keras
import tensorflow as tf
from keras import ops

from keras_mt import costs, input_checks, metrics, schedules, twin
from keras_mt.passes import JointPasses, SeparatePasses
from keras_mt.prediction_ensemble import PredictionEnsemble, split_visit
from keras_mt.replicas import ReplicatedModel
from keras_mt.student_variables import StudentVariables

METHODS = ("mean_teacher", "pi", "temporal_ensembling", "supervised")


def _check(argument, value, allowed):
    if value not in allowed:
        raise ValueError(f"Argument `{argument}` must be one of {allowed}. Received: {argument}={value!r}")


@keras.saving.register_keras_serializable(package="keras_mt")
class MeanTeacher(ReplicatedModel, StudentVariables, keras.Model):
    """Trains a student with the help of its own average, the teacher, from few labels and many examples.

    Wrap any built classifier, `compile` it as usual (the default loss is the paper's), and `fit` it with a
    `MeanTeacherCallback`. Examples without a label have the label -1 (one-hot: -1 in each column). Calling the
    model, `predict`, and the metrics of `evaluate` answer with the teacher.

    Args:
        student: A built `keras.Model` from a batch of examples to logits `[batch, classes]`, or to a list of two
            of them: the first is trained by the classification cost, the second by the consistency cost.
        teacher: A second network of the same shape, if the student can't be cloned or the teacher's noise is to
            differ. Its weights are overwritten with the student's.
        method: `"mean_teacher"`; `"pi"` (the target is the student itself under a second draw of noise, with a
            gradient of its own); `"temporal_ensembling"` (the target is an average of the student's own past
            predictions for the example; `fit` then takes `(x, index of each example)` as its `x`); or
            `"supervised"` (no consistency cost). The average of the weights is kept for all four.
        consistency: `"mse"`, `"kl"`, a trust in [0, 1] (see `costs.TrustConsistency`) or a `keras.losses.Loss`
            of the target's and the student's logits.
        consistency_on_labeled: Whether labeled examples take part in the consistency cost.
        averaged_over: `"batch"`: both costs are divided by the whole batch, whoever takes part in them, as published;
            or `"participants"`: each by the number of examples that take part in it.
        separate_passes: If given, the number k of labeled rows that each batch begins with: they and the unlabeled rows
            pass apart, with batch statistics of their own, of which only those of the student's labeled pass are
            kept, and the consistency cost is that of unlabeled rows (the protocol of TorchSSL).
        two_views: Whether `fit` takes `(view for the student, view for the teacher)` as its `x`: two tensors or two
            structures of them. `evaluate` and `predict` take plain examples.
        top5: Whether `evaluate` also tells the errors among the first five classes.
        logit_distance_weight: Weight of the squared distance between two heads.
        logit_distance: The Keras loss that measures it, by default `costs.LogitDistance()`.
        teacher_statistics: The teacher's running statistics (batch normalization) are its `"own"`, from its own
            passes as published; the `"ema"` of the student's; or a `"copy"` of them. For methods without a
            teacher's pass `"own"` means `"ema"`.
        from_logits: Whether the student's outputs are logits (default) or softmax probabilities.
        seed: All noise of a step is a function of this seed and the number of batches trained on.
        num_examples: Number of training examples; `"temporal_ensembling"` needs it.
        ensembling_momentum: α of the average of predictions, `Z ← αZ + (1 - α)z` once an epoch.

    Example:

    ```python
    model = keras_mt.MeanTeacher(student)
    model.compile(optimizer="adam")
    model.fit(x, labels, callbacks=[keras_mt.MeanTeacherCallback(consistency_weight=10.0, rampup_steps=500)])
    ```

    Reference: Tarvainen & Valpola 2017, https://arxiv.org/abs/1703.01780
    """

    def __init__(
        self,
        student: keras.Model,
        teacher: keras.Model | None = None,
        method: str = "mean_teacher",
        consistency="mse",
        consistency_on_labeled: bool = True,
        averaged_over: str = "batch",
        separate_passes: int | None = None,
        two_views: bool = False,
        top5: bool = False,
        logit_distance_weight: float = 0.0,
        logit_distance: keras.losses.Loss | None = None,
        teacher_statistics: str = "own",
        from_logits: bool = True,
        seed: int = 0,
        num_examples: int | None = None,
        ensembling_momentum: float = 0.6,
        name: str = "mean_teacher",
    ):
        super().__init__(name=name)
        _check("method", method, METHODS)
        _check("teacher_statistics", teacher_statistics, twin.TEACHER_STATISTICS)
        _check("averaged_over", averaged_over, tuple(costs.REDUCTIONS))
        if separate_passes is not None and separate_passes < 1:
            raise ValueError(
                f"Argument `separate_passes` must be positive. Received: separate_passes={separate_passes}"
            )
        if logit_distance_weight < 0:
            raise ValueError(
                "Argument `logit_distance_weight` must not be negative. "
                f"Received: logit_distance_weight={logit_distance_weight}"
            )
        twin.check_student(student, from_logits, two_heads=logit_distance_weight > 0)
        if teacher is None:
            teacher = twin.make_twin(student)
        twin.check_twins(student, teacher)
        self.student = student
        self.teacher = teacher
        self.reset_teacher()
        self.method = method
        self.consistency = costs.get_consistency(consistency, costs.REDUCTIONS[averaged_over])
        self.consistency_on_labeled = consistency_on_labeled
        self.averaged_over = averaged_over
        self.separate_passes = separate_passes
        self.two_views = two_views
        self.top5 = top5
        self.logit_distance_weight = logit_distance_weight
        self.logit_distance = logit_distance or costs.LogitDistance()
        self.teacher_statistics = teacher_statistics
        self.from_logits = from_logits
        self.seed = seed
        self.num_examples = num_examples
        self.ensembling_momentum = ensembling_momentum
        self.prediction_ensemble = None
        if method == "temporal_ensembling":
            if num_examples is None:
                raise ValueError("Temporal ensembling needs the argument `num_examples`. Received: num_examples=None")
            classes = twin.heads(student.outputs)[0].shape[-1]
            self.prediction_ensemble = PredictionEnsemble(num_examples, classes, ensembling_momentum)
        self.batches_seen = self.add_weight(
            shape=(), initializer="zeros", dtype="int64", trainable=False, name="batches_seen"
        )
        self._passes = SeparatePasses(seed, separate_passes) if separate_passes else JointPasses(seed)
        self._consistency_weight = None
        self._ema_decay = schedules.EMADecay(0.999, 0.999, 0)
        self._trackers = metrics.make_trackers(top5)
        self.built = True

    # The method ------------------------------------------------------------------------------------------------

    def train_step(self, data):
        x, labels, labeled, label_weight = self._unpack(data)
        x, visit = self._split_visit(x, training=True)
        x, x_of_target = x if self.two_views else (x, x)
        step = tf.identity(self.optimizer.iterations)
        weight = self._consistency_weight(step) if self._consistency_weight else tf.constant(0.0)
        statistics = twin.remember_statistics(self.teacher)

        target, taking_part = None, self._passes.taking_part(labeled, self.consistency_on_labeled)
        if self.method == "temporal_ensembling":
            target, taking_part = self._remembered(visit, taking_part)
        if self.method == "mean_teacher":  # Outside of the tape: no gradient can reach it, none is recorded.
            target = self._passes.target(self.teacher, x_of_target, self.batches_seen)
        with tf.GradientTape() as tape:
            logits, consistency_logits = self._passes.student(self.student, x, self.batches_seen)
            parts = {"classification_cost": self.compute_loss(x, labels, logits, label_weight, training=True)}
            if self.method == "pi":
                target = self._passes.target(self.student, x_of_target, self.batches_seen)
            if target is not None:
                distance = self.consistency(self._logits(target), self._logits(consistency_logits), taking_part)
                parts["consistency_cost"] = weight * distance
            if self.logit_distance_weight:
                distance = self.logit_distance(logits, consistency_logits)
                parts["logit_distance_cost"] = self.logit_distance_weight * distance
            loss = tf.add_n(list(parts.values()))
            scaled_loss = self.optimizer.scale_loss(loss)
        weights = self.trainable_variables
        self.optimizer.apply(tape.gradient(scaled_loss, weights), weights)

        # Without an optimizer step (gradients accumulate, or were infinite under loss scaling) the average stays.
        stepped = tf.greater(tf.convert_to_tensor(self.optimizer.iterations), step)
        decay = tf.where(stepped, self._ema_decay(step), 1.0)
        twin.move_average(twin.averaged_pairs(self.student, self.teacher), decay)
        twin.move_statistics(self._statistics_rule(), self.student, self.teacher, statistics, decay)
        twin.align_statistics((self.student, self.teacher))
        self.batches_seen.assign_add(1)
        if self.method == "temporal_ensembling":
            self.prediction_ensemble.update(visit[0], ops.softmax(self._logits(logits)), visit[1])

        self._trackers["consistency_weight"].update_state(weight)
        self._trackers["ema_decay"].update_state(decay)
        return self._report(x, labels, labeled, label_weight, logits, target, loss, parts)

    def _logits(self, outputs):
        # softmax(log p) = p: the costs take logits.
        return outputs if self.from_logits else ops.log(ops.clip(outputs, 1e-7, 1.0))

    def _remembered(self, visit, taking_part):
        """Returns the target of temporal ensembling as the network would output it, and who has one and takes part."""
        target, known = self.prediction_ensemble.target(visit[0])
        target = ops.log(ops.clip(target, 1e-7, 1.0)) if self.from_logits else target
        return target, known if taking_part is None else known * taking_part

    def _split_visit(self, x, training=False):
        return (x, None) if self.prediction_ensemble is None else split_visit(x, self.student.inputs, training)

    def _statistics_rule(self):
        has_own = self.method == "mean_teacher"
        return "ema" if self.teacher_statistics == "own" and not has_own else self.teacher_statistics

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

    # What Keras asks of a model --------------------------------------------------------------------------------

    def call(self, inputs, training=None):
        """Returns the outputs `[batch, classes]` of the teacher's classification head."""
        return twin.heads(self.teacher(self._split_visit(inputs)[0], training=training))[0]

    def compile(self, optimizer="adam", loss=None, metrics=None, weighted_metrics=None, **kwargs):
        """As `keras.Model.compile`; the loss is the paper's unless one is given.

        `metrics` are measured on labeled examples: of the student in training, of the teacher in evaluation.
        """
        optimizer = keras.optimizers.get(optimizer)
        scaled = not kwargs.get("auto_scale_loss", True) or isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
        if not scaled and twin.computes_in_float16(self.student):
            # Keras would look at the dtype policy of this wrapper, which is float32.
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
        # Only weighted metrics are told which examples are labeled.
        weighted_metrics = [*(metrics or []), *(weighted_metrics or [])] or None
        super().compile(
            optimizer=optimizer,
            loss=loss or costs.ClassificationCost(self.from_logits, costs.REDUCTIONS[self.averaged_over]),
            weighted_metrics=weighted_metrics,
            **kwargs,
        )

    def fit(self, x=None, y=None, *args, **kwargs):
        """As `keras.Model.fit`; arrays are checked first (see `input_checks.check_examples`)."""
        outputs = getattr(self.student, "outputs", None)
        num_classes = twin.heads(outputs)[0].shape[-1] if outputs else None
        if num_classes and num_classes > 1:
            input_checks.check_examples(x, y, num_classes)
        if self.prediction_ensemble is not None and isinstance(x, tuple):
            input_checks.check_indices(x[1], self.num_examples)
        return super().fit(x, y, *args, **kwargs)

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

    def test_step(self, data):
        x, labels, labeled, label_weight = self._unpack(data)
        x, _ = self._split_visit(x)
        for name, network in (("student", self.student), ("teacher", self.teacher)):
            logits, _ = twin.heads(network(x, training=False))
            loss = self.compute_loss(x, labels, logits, label_weight, training=False)
            self._update_mean("loss" if name == "teacher" else "student_loss", loss, labeled)
            self._trackers[f"{name}_error"].update_state(costs.classification_errors(labels, logits), labeled)
            if self.top5:
                errors = costs.classification_errors(labels, logits, among=5)
                self._trackers[f"{name}_top5_error"].update_state(errors, labeled)
        return self.logs_of_replica(self.compute_metrics(x, labels, logits, label_weight))

    def _unpack(self, data):
        """Returns `(x, labels with nothing hidden, mask of the labeled examples, their weights)`."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        labels, labeled = costs.hide_unlabeled(y)
        weight = labeled if sample_weight is None else labeled * ops.cast(sample_weight, "float32")
        return x, labels, labeled, weight

    def _update_mean(self, name, value, labeled):
        # Keras divides losses by the number of replicas, since their gradients are summed.
        value = value * tf.distribute.get_strategy().num_replicas_in_sync
        tracker = self._trackers.get(name) or next(m for m in self.metrics if m.name == name)
        size = ops.cast(ops.shape(labeled)[0], "float32")
        # A replica may get no row of a last, short batch, and a mean over none is no number.
        tracker.update_state(tf.where(size > 0, value, 0.0), sample_weight=size)

    def _report(self, x, labels, labeled, label_weight, logits, target, loss, parts):
        for name, cost in {"loss": loss, **parts}.items():
            self._update_mean(name, cost, labeled)
        self._update_mean("labeled_per_batch", ops.sum(labeled), labeled)
        self._trackers["student_error"].update_state(costs.classification_errors(labels, logits), labeled)
        if self._measures_teacher_in_training():
            self._trackers["teacher_error"].update_state(costs.classification_errors(labels, target), labeled)
        return self.logs_of_replica(self.compute_metrics(x, labels, logits, label_weight))

    def _measures_teacher_in_training(self):
        return self.method == "mean_teacher" and not self.separate_passes

    def names_to_report(self, what: str, names) -> list[str]:
        """Returns which metrics are those of `"training"` or of an `"evaluation"`."""
        hidden = set(metrics.TRAINING_ONLY)
        if what == "training":
            measured = {
                "consistency_cost": self.method != "supervised",
                "logit_distance_cost": self.logit_distance_weight > 0,
                "teacher_error": self._measures_teacher_in_training(),
            }
            hidden = {*metrics.EVALUATION_ONLY, *(name for name, there in measured.items() if not there)}
        return [name for name in names if name not in hidden]

    def get_config(self):
        serialize = keras.saving.serialize_keras_object
        return {
            "student": serialize(self.student),
            "teacher": serialize(self.teacher),
            "method": self.method,
            "consistency": serialize(self.consistency),
            "consistency_on_labeled": self.consistency_on_labeled,
            "averaged_over": self.averaged_over,
            "separate_passes": self.separate_passes,
            "two_views": self.two_views,
            "top5": self.top5,
            "logit_distance_weight": self.logit_distance_weight,
            "logit_distance": serialize(self.logit_distance),
            "teacher_statistics": self.teacher_statistics,
            "from_logits": self.from_logits,
            "seed": self.seed,
            "num_examples": self.num_examples,
            "ensembling_momentum": self.ensembling_momentum,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        nested = ("student", "teacher", "consistency", "logit_distance")
        deserialize = keras.saving.deserialize_keras_object
        parts = {name: deserialize(config[name], custom_objects=custom_objects) for name in nested}
        return cls(**{**config, **parts})
