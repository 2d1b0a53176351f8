"""The method: noise twice, two passes, two costs, one optimizer step, one average."""

import keras
import tensorflow as tf
from keras import ops

from keras_mt import losses, metrics, schedules
from keras_mt import teacher as twin
from keras_mt.passes import JointPasses, SeparatePasses
from keras_mt.tasks import TASKS
from keras_mt.temporal_ensembling import PredictionEnsemble, split_visit
from keras_mt.views import STUDENT_VIEW, TEACHER_VIEW, Augmentation
from keras_mt.wrapper import StudentAndTeacher

METHODS = ("mean_teacher", "pi", "temporal_ensembling", "supervised")


def _check(argument, value, allowed):
    if value not in allowed:
        raise ValueError(f"Argument `{argument}` must be one of {allowed}. Received: {argument}={value!r}")


@keras.saving.register_keras_serializable(package="keras_mt")
class MeanTeacher(StudentAndTeacher):
    """Trains a student with the help of its own average, the teacher, from few labels and many examples.

    Wrap any built network, `compile` it as usual (the default loss is the paper's), and `fit` it with a
    `MeanTeacherCallback`. Examples without a label have the label -1 (one-hot: -1 in each column). Calling the
    model, `predict`, and the metrics of `evaluate` answer with the teacher.

    Args:
        student: A built `keras.Model` from a batch of examples to logits `[batch, classes]` (or, for each pixel,
            `[batch, height, width, classes]`), or to a list of two of them: the first is trained by the
            classification cost, the second by the consistency cost.
        teacher: A second network of the same shape, if the student can't be cloned or the teacher's noise is to
            differ. Its weights are overwritten with the student's.
        task: What outputs mean. `"multiclass"`: one of the classes of the last axis; labels are integers or one-hot.
            `"multilabel"`: each output is yes or no (sigmoid); labels are 0, 1 or -1 for each. `"regression"`: each
            output is a number; labels are numbers, NaN without one, and errors are absolute errors.
        method: `"mean_teacher"`; `"pi"` (the target is the student itself under a second draw of noise, with a
            gradient of its own); `"temporal_ensembling"` (the target is an average of the student's own past
            predictions for the example; `fit` then takes `(x, index of each example)` as its `x`); or
            `"supervised"` (no consistency cost). The average of the weights is kept for all four.
        consistency: `"mse"`, `"kl"` (not for regression), a trust in [0, 1] (multiclass; see
            `losses.TrustConsistency`) or a `keras.losses.Loss` of the target's and the student's logits.
        consistency_on_labeled: Whether labeled examples take part in the consistency cost.
        averaged_over: `"batch"`: both costs are divided by the whole batch, whoever takes part in them, as published;
            or `"participants"`: each by the number of examples that take part in it.
        separate_passes: If given, the number k of labeled rows that each batch begins with: they and the unlabeled rows
            pass apart, with batch statistics of their own, of which only those of the student's labeled pass are
            kept, and the consistency cost is that of unlabeled rows (the protocol of TorchSSL).
        augmentation: A `keras.Layer` or a function, applied to each batch twice, with noise of its own for the student
            and for the teacher; not in `evaluate` and `predict`. A function with an argument `seed` gets one that is
            a function of (seed, step, view); others draw as they do.
        two_views: Whether `fit` takes `(view for the student, view for the teacher)` as its `x`: two tensors or two
            structures of them. `evaluate` and `predict` take plain examples.
        top5: Whether `evaluate` also tells the errors among the first five classes.
        logit_distance_weight: Weight of the squared distance between two heads.
        logit_distance: The Keras loss that measures it, by default `losses.LogitDistance()`.
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
        task: str = "multiclass",
        method: str = "mean_teacher",
        consistency="mse",
        consistency_on_labeled: bool = True,
        averaged_over: str = "batch",
        separate_passes: int | None = None,
        augmentation=None,
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
        _check("task", task, tuple(TASKS))
        _check("method", method, METHODS)
        _check("teacher_statistics", teacher_statistics, twin.TEACHER_STATISTICS)
        _check("averaged_over", averaged_over, tuple(losses.REDUCTIONS))
        if separate_passes is not None and separate_passes < 1:
            raise ValueError(
                f"Argument `separate_passes` must be positive. Received: separate_passes={separate_passes}"
            )
        if logit_distance_weight < 0:
            raise ValueError(
                "Argument `logit_distance_weight` must not be negative. "
                f"Received: logit_distance_weight={logit_distance_weight}"
            )
        if two_views and augmentation is not None:
            raise ValueError("Arguments `two_views` and `augmentation` exclude each other. Received: both")
        if task != "multiclass" and (method == "temporal_ensembling" or top5):
            raise ValueError(f"Temporal ensembling and `top5` need classes. Received: task={task!r}")
        twin.check_student(student, from_logits, two_heads=logit_distance_weight > 0)
        if teacher is None:
            teacher = twin.make_twin(student)
        twin.check_twins(student, teacher)
        self.student = student
        self.teacher = teacher
        self.reset_teacher()
        self.task = task
        self.shape_of_outputs = twin.shape_of_outputs(student)
        self.rank = len(self.shape_of_outputs)
        self.method = method
        self.consistency = TASKS[task].consistency(consistency, losses.REDUCTIONS[averaged_over])
        self.consistency_on_labeled = consistency_on_labeled
        self.averaged_over = averaged_over
        self.separate_passes = separate_passes
        self.augmentation = augmentation
        self._augment = augmentation and Augmentation(augmentation, seed, tf.nest.flatten(student.inputs))
        self.two_views = two_views
        self.top5 = top5
        self.logit_distance_weight = logit_distance_weight
        self.logit_distance = logit_distance or losses.LogitDistance()
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
        self._fitted = (None, None)
        self.built = True

    def reduction(self) -> str:
        """Returns what costs are divided by, in Keras' words."""
        return losses.REDUCTIONS[self.averaged_over]

    # The method ------------------------------------------------------------------------------------------------

    def train_step(self, data):
        x, labels, labeled, label_weight = self._unpack(data)
        x, visit = self._split_visit(x, training=True)
        x, x_of_target = self._views(x)
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
            parts = {"classification_cost": self._cost_of_labels(x, labels, logits, label_weight, training=True)}
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
        return outputs if self.from_logits else TASKS[self.task].logits(outputs)

    def _views(self, x):
        """The student's and the target's view of a batch."""
        if self.two_views:
            return x
        if not self._augment:
            return x, x
        return tuple(self._augment(x, self.batches_seen, view) for view in (STUDENT_VIEW, TEACHER_VIEW))

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

    def test_step(self, data):
        x, labels, labeled, label_weight = self._unpack(data)
        x, _ = self._split_visit(x)
        for name, network in (("student", self.student), ("teacher", self.teacher)):
            logits, _ = twin.heads(network(x, training=False))
            loss = self._cost_of_labels(x, labels, logits, label_weight, training=False)
            self._update_mean("loss" if name == "teacher" else "student_loss", loss, labeled)
            self._trackers[f"{name}_error"].update_state(self._errors(labels, logits), labeled)
            if self.top5:
                errors = losses.classification_errors(labels, logits, among=5)
                self._trackers[f"{name}_top5_error"].update_state(errors, labeled)
        return self.logs_of_replica(self.compute_metrics(x, labels, logits, self._of_examples(label_weight)))

    def _unpack(self, data):
        """Returns `(x, labels with nothing hidden, mask of what is labeled, the weights of the labels in the cost)`."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        task = TASKS[self.task]
        if task.each_output and len(y.shape) < self.rank:
            y = ops.expand_dims(y, -1)
        labels, labeled = task.mask(y, self.rank)
        if sample_weight is None:
            return x, labels, labeled, labeled
        sample_weight = ops.cast(sample_weight, "float32")
        while len(sample_weight.shape) < len(labeled.shape):  # Weights of examples, labels of pixels or outputs.
            sample_weight = ops.expand_dims(sample_weight, -1)
        return x, labels, labeled, labeled * sample_weight

    def _of_examples(self, weight):
        """The weights that losses and metrics of Keras take, which reduce the last axis."""
        return ops.min(weight, axis=-1) if TASKS[self.task].each_output else weight

    def _cost_of_labels(self, x, labels, outputs, weight, training):
        weight = weight if self.has_own_cost else self._of_examples(weight)
        return self.compute_loss(x, labels, outputs, weight, training=training)

    def _errors(self, labels, outputs):
        return TASKS[self.task].errors(labels, self._logits(outputs))

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
        self._trackers["student_error"].update_state(self._errors(labels, logits), labeled)
        if self._measures_teacher_in_training():
            self._trackers["teacher_error"].update_state(self._errors(labels, target), labeled)
        return self.logs_of_replica(self.compute_metrics(x, labels, logits, self._of_examples(label_weight)))

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
            "task": self.task,
            "method": self.method,
            "consistency": serialize(self.consistency),
            "consistency_on_labeled": self.consistency_on_labeled,
            "averaged_over": self.averaged_over,
            "separate_passes": self.separate_passes,
            "augmentation": serialize(self.augmentation),
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
        nested = ("student", "teacher", "consistency", "augmentation", "logit_distance")
        deserialize = keras.saving.deserialize_keras_object
        parts = {name: deserialize(config[name], custom_objects=custom_objects) for name in nested}
        return cls(**{**config, **parts})
