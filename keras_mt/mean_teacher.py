"""The method: noise twice, two passes, two costs, one optimizer step, one average."""

import collections
import contextlib
import dataclasses
import functools
import itertools
import types
import warnings

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_mt import (
    averages,
    first_batch,
    losses,
    low_precision,
    option_checks,
    schedules,
    serving,
    student_checks,
    tasks,
    xla,
)
from keras_mt import teacher as teachers
from keras_mt.distribution import ReplicatedModel, sum_over_replicas
from keras_mt.labels import Sum
from keras_mt.losses_of_users import check_hinge, require_reduction
from keras_mt.losses_on_replicas import times_replicas
from keras_mt.metrics_of_users import each_its_own, name_in_logs
from keras_mt.outputs import Output
from keras_mt.own_compute_loss import OwnComputeLoss
from keras_mt.passes import JointPasses, SeparatePasses
from keras_mt.perturbation import DIVERGENCES
from keras_mt.structures import (
    Structure,
    as_rank,
    first_tensor,
    in_places,
    map_tensors,
    names_of,
    spread,
    spread_metrics,
)
from keras_mt.tasks import TASKS
from keras_mt.temporal_ensembling import PredictionEnsemble, require_examples, split_index
from keras_mt.trackers import Given, Named, Trackers, mean_or_nan
from keras_mt.unit_interval import stays_in_unit_interval
from keras_mt.unlabeled_numbers import check_unlabeled_numbers
from keras_mt.views import (
    PERTURBATION,
    STRONG_STUDENT_VIEW,
    STRONG_TEACHER_VIEW,
    STUDENT_VIEW,
    TEACHER_VIEW,
    Augmentation,
    SharedAugmentation,
    noise_of_uncertainty,
    seed_of_pass,
)

METHODS = ("mean_teacher", "pi", "temporal_ensembling", "vat", "supervised")
REDUCTIONS = ("batch", "labeled")
STATISTICS_OF = ("labeled", "unlabeled")
TEACHER_SEES = ("all", "unlabeled")
_SYNCHRONIZED = "synchronized"  # In files: the checksum of weights that student and teacher had in common.
_SHARES_OF = 10  # Batches in which `consistency_weight="auto"` counts labels.


def _check(argument, value, allowed):
    if value not in allowed:
        raise ValueError(f"Argument `{argument}` must be one of {allowed}. Received: {argument}={value!r}")


@keras.saving.register_keras_serializable(package="keras_mt")
class MeanTeacher(ReplicatedModel, keras.Model):
    """Trains a student with the help of its own average, the teacher, from few labels and many examples.

    Wrap any built network, `compile` it as usual (the default loss is that of Tarvainen & Valpola 2017), and `fit` it
    with a `MeanTeacherCallback`. Unlabeled examples have the label -1 (one-hot: -1 in each column; numbers: NaN).
    Calling the model, `predict`, `export` and the metrics of `evaluate` return the teacher's predictions.

    A student may have several outputs, as a list or a dict. Then `task`, `consistency`, `consistency_weights` and
    `from_logits`, the `loss`, `loss_weights` and `metrics` of `compile`, and the labels are one value for all outputs
    or have the outputs' structure, and each output is labeled or not by itself.

    Args:
        student: A built `keras.Model` from a batch of examples to logits `[batch, classes]` (or, for each pixel,
            `[batch, height, width, classes]`), or to a list or dict of outputs.
        teacher: A second network of the same shape, if the student can't be cloned or the teacher's noise is to
            differ. Its weights are overwritten with the student's, unless `teacher_weights="own"`.
        teacher_weights: `"student"`: the teacher is the student until the first step. `"own"`: it keeps the weights
            and `trainable` flags that `teacher` has, as for a pretrained or frozen teacher.
        task: What outputs mean. `"multiclass"`: one of the classes of the last axis; labels are integers or one-hot.
            `"multilabel"`: each output is yes or no (sigmoid); labels are 0, 1 or -1 for each. `"regression"`: each
            output is a number; labels are numbers, NaN without one, and errors are absolute errors. None: an output
            among several that is not trained.
        method: `"mean_teacher"`; `"pi"` (the target is the student itself under a second draw of noise, with a
            gradient of its own); `"temporal_ensembling"` (the target is an average of the student's own past
            predictions for the example; `fit` then takes `(x, index of each example)` as its `x`); `"vat"` (the target
            is the student's own prediction for the unperturbed example, without a gradient; it needs a
            `perturbation`); or `"supervised"` (no consistency cost). The average of the weights is kept for all five.
        consistency: `"mse"`, `"kl"` (not for regression), a trust in [0, 1] (multiclass; see
            `losses.TrustConsistency`) or a `keras.losses.Loss` of the target's and the student's logits.
        consistency_weights: Weight of each output in the consistency cost, beside the callback's weight for all.
        consistency_on_labeled: Whether labeled examples take part in the consistency cost.
        reduction: `"batch"`: costs of labels and consistency costs are divided by the whole batch, as published; or
            `"labeled"`: costs of labels by the number of labeled examples, consistency costs by the number of examples
            that take part in them.
        separate_passes: If given, the number k of labeled rows that each batch begins with, all others being unlabeled:
            they and the unlabeled rows are forwarded separately, with batch statistics of their own, and the
            consistency cost is that of unlabeled rows (the protocol of TorchSSL). `keras_mt.data.two_stream` makes such
            batches; `fit(shuffle=True)` on arrays does not, and is refused.
        statistics_of: Which separate passes update running statistics: `"labeled"`, the student's labeled pass
            alone; or `"unlabeled"`, the unlabeled pass of each network. The latter is for labels in one domain only:
            the teacher sees the target domain alone, and has its statistics (French et al. 2018).
        teacher_sees: `"all"` rows of a batch, or the `"unlabeled"` ones alone, which is cheaper where labeled examples
            take no part in the consistency cost. Its batch statistics are then those of unlabeled rows.
        augmentation: A `keras.Layer` or a function, applied to each batch twice, with noise of its own for the student
            and for the teacher; not in `evaluate` and `predict`. A function with an argument `seed` gets one that is
            a function of (seed, step, view); others draw as they do. Where outputs are per pixel, it must not move
            pictures.
        student_augmentation: The same for the student's view alone, after `augmentation`: a strong view.
        teacher_augmentation: The same for the teacher's view alone.
        mixing: `keras_mt.mixing.Interpolation` or `keras_mt.mixing.CutMix`: how the student's unlabeled examples are
            mixed, and its targets alike.
        perturbation: `keras_mt.VirtualAdversarial`, which perturbs the student's view of unlabeled examples.
        uncertainty: `keras_mt.Uncertainty`, which leaves out what the teacher is uncertain of.
        class_balance: Weight of a cost, beside the consistency cost and under its weight, that pulls the student's mean
            prediction over unlabeled rows to all classes alike: its cross-entropy, times the number of classes, times
            the share of examples whose target is sure (French et al. 2018).
        shared_augmentation: A Keras image preprocessing layer, or a function from `(images, labels)` to
            `(images, labels)`, applied once to each batch: it moves both networks' view and the labels alike.
        two_views: Whether `fit` takes `(view for the student, view for the teacher)` as its `x`: two tensors or two
            structures of them. `evaluate` and `predict` take plain examples.
        two_heads: Whether the student's two outputs are the two heads of Tarvainen & Valpola (2017), section 3.4: the
            first is trained by the classification cost, the second by the consistency cost, against the teacher's
            first. Predictions are those of the first.
        logit_distance_weight: Weight of the squared distance between two heads.
        logit_distance: The Keras loss that measures it, by default `losses.LogitDistance()`.
        top5: Whether `evaluate` also tells the errors among the first five classes.
        teacher_statistics: The teacher's running statistics (batch normalization) are its `"own"`, from its own
            passes as published; the `"ema"` of the student's; or a `"copy"` of them. Where no pass of the teacher
            updates them, `"own"` means `"ema"`. `"auto"`: its own, or a copy where no pass of the teacher updates them.
        second_ema_decay: Decay in [0, 1) of a second, longer average of the student's weights, a third network
            `average` beside the teacher that teaches. It is evaluated as well, and is what predicts and is exported.
            Early on it is the plain mean of all students.
        from_logits: Whether the student's outputs are logits (default) or probabilities.
        seed: All noise of a step is a function of this seed and the number of batches trained on.
        num_examples: Number of training examples; `"temporal_ensembling"` needs it.
        ensembling_momentum: α of the average of predictions, `Z ← αZ + (1 - α)z` once an epoch.
        name: Name of the model.

    Raises:
        ValueError: If the student is not built or can't be cloned, or can't be trained as it is asked for; the
            sentence names the argument and what is allowed.

    Reference: Tarvainen & Valpola (2017), https://arxiv.org/abs/1703.01780

    Example:

    ```python
    import keras
    import numpy as np

    import keras_mt

    student = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    x, labels = np.random.normal(size=(60, 4)), np.where(np.arange(60) < 12, np.arange(60) % 3, -1)

    model = keras_mt.MeanTeacher(student)
    model.compile(optimizer="adam")
    model.fit(x, labels, callbacks=[keras_mt.MeanTeacherCallback(consistency_weight=10.0, rampup_steps=500)])
    ```
    """

    def __init__(
        self,
        student: keras.Model,
        teacher: keras.Model | None = None,
        task="multiclass",
        method: str = "mean_teacher",
        consistency="mse",
        consistency_on_labeled: bool = True,
        reduction: str = "batch",
        separate_passes: int | None = None,
        augmentation=None,
        two_views: bool = False,
        top5: bool = False,
        logit_distance_weight: float = 0.0,
        logit_distance: keras.losses.Loss | None = None,
        teacher_statistics: str = "auto",
        from_logits=True,
        seed: int = 0,
        num_examples: int | None = None,
        ensembling_momentum: float = 0.6,
        two_heads: bool = False,
        consistency_weights=1.0,
        shared_augmentation=None,
        teacher_weights: str = "student",
        student_augmentation=None,
        teacher_augmentation=None,
        mixing=None,
        perturbation=None,
        uncertainty=None,
        class_balance: float = 0.0,
        statistics_of: str = "labeled",
        teacher_sees: str = "all",
        second_ema_decay: float | None = None,
        name: str = "mean_teacher",
    ):
        # The networks cast what they take as their own policies say; the global one is not for raw examples.
        super().__init__(name=name, autocast=False)
        _check("method", method, METHODS)
        _check("teacher_statistics", teacher_statistics, averages.TEACHER_STATISTICS)
        _check("teacher_weights", teacher_weights, teachers.TEACHER_WEIGHTS)
        _check("reduction", reduction, REDUCTIONS)
        _check("statistics_of", statistics_of, STATISTICS_OF)
        _check("teacher_sees", teacher_sees, TEACHER_SEES)
        student_checks.check_built(student)
        student_checks.warn_of_methods(student)
        self._under_strategy = tf.distribute.has_strategy()
        self.student = student
        self.teacher = teachers.make_teacher(student) if teacher is None else teacher
        self.average = None
        if second_ema_decay is not None:
            self.average = teachers.make_teacher(student, "Such a student can't have `second_ema_decay`.")
        self.task = task
        self.method = method
        self.consistency = consistency
        self.consistency_weights = consistency_weights
        self.consistency_on_labeled = consistency_on_labeled
        self.reduction = reduction
        self.separate_passes = separate_passes
        self.augmentation = augmentation
        self.student_augmentation = student_augmentation
        self.teacher_augmentation = teacher_augmentation
        self.shared_augmentation = shared_augmentation
        self.mixing = mixing
        self.perturbation = perturbation
        self.uncertainty = uncertainty
        self.class_balance = class_balance
        self.statistics_of = statistics_of
        self.teacher_sees = teacher_sees
        self.second_ema_decay = second_ema_decay
        self.two_views = two_views
        self.two_heads = two_heads
        self.top5 = top5
        self.logit_distance_weight = logit_distance_weight
        self.logit_distance = logit_distance or losses.LogitDistance()
        require_reduction(self.logit_distance, "logit distance")
        self.teacher_weights = teacher_weights
        self.teacher_statistics = teacher_statistics
        self.from_logits = from_logits
        self.seed = seed
        self.num_examples = num_examples
        self.ensembling_momentum = ensembling_momentum

        teachers.check_same_weights(student, self.teacher)
        if teacher_weights == "own" and (teacher is None or method != "mean_teacher"):
            raise ValueError(
                'Argument `teacher_weights="own"` needs a network as `teacher=` and method="mean_teacher". Received: '
                f"teacher={teacher}, method={method!r}"
            )
        self._unsaid = False  # Whether the teacher took over a changed student, and nobody was told.
        self._copy_student(self._followers())
        pairs = averages.averaged_pairs(student, self.teacher)
        of_teacher = [t for _, t in pairs if t.trainable or teacher_weights == "student"]
        self.check_scope({"student": [s for s, _ in pairs], "teacher": of_teacher}, wrapping=True)
        spec = student_checks.output_spec(student)
        self.outputs_of_student = self._make_outputs(spec)
        trained = {place for o in self.outputs_of_student for place in (o.place, o.consistency_place)}
        flat = self._flat = Structure(spec, trained).flat
        flat(student_checks.output_spec(student, training=True), "training")
        option_checks.check_options(self)
        self.prediction_ensembles = self._make_ensembles()
        self._augment, self._augment_student, self._augment_teacher, self._augment_both = self._make_augmentations()
        self.batches_seen = self.add_weight(
            shape=(), initializer="zeros", dtype="int64", trainable=False, name="batches_seen"
        )
        # Averages of weights of low precision, in float32.
        self.exact_averages = [
            self.add_weight(shape=w.shape, initializer="zeros", dtype="float32", autocast=False, trainable=False,
                            name=f"average_{place}")
            for place, w in enumerate(self._averaged_weights()) if averages.needs_exact_average(w)
        ]  # fmt: skip
        if second_ema_decay is not None:
            # Counted here: the optimizer's own steps begin anew when the model is compiled again.
            self.average_updates = self.add_weight(
                shape=(), initializer="zeros", dtype="int64", trainable=False, name="average_updates"
            )
        self._passes = (
            SeparatePasses(seed, flat, separate_passes, statistics_of) if separate_passes else JointPasses(seed, flat)
        )
        self._consistency_weight = None
        self._ema_decay = schedules.EMADecay(0.999, 0.999, 0)
        if second_ema_decay is not None:
            self._second_ema_decay = schedules.EMADecay(second_ema_decay, second_ema_decay, 0, warmup=True)
        self._class_weight = None
        self._trackers, self._metrics_of_student = self._make_trackers(), ()
        self._fitted, self._fitted_in_batches = [], False
        self._label_shapes = {}
        self._compiled_student = False
        self._compared = not self._followers()
        self._warned_of_nothing = set()
        self.built = True

    # One step ----------------------------------------------------------------------------------------------------

    @xla.checked(training=True)
    def train_step(self, data):
        self._follow_flags()  # Those that this trace of the step has; they may have changed since `compile`.
        x, y, sample_weight = self._unpack(data)
        first_batch.require_finite(x)
        x, index = self._split_index(self.require_rows(x, teachers.layers_of(self.student)), training=True)

        # Views: the same examples twice, under independent noise.
        x, y = self._moved(x, y, sample_weight)
        x, x_of_target = self._views(x)
        labeled = self._labeled_rows(y)
        mixture = self.mixing.draw(x, labeled, self.seed, self.batches_seen) if self.mixing else None
        x = mixture.inputs(x) if mixture else x
        step = tf.identity(self.optimizer.iterations)
        weight = self._consistency_weight(step) if self._consistency_weight else tf.constant(0.0)
        statistics = averages.snapshot_statistics(self.teacher)

        # Target: outside of the tape, so that no gradient can reach the teacher and none is recorded.
        target, known, rows = None, None, self._rows_of_target(labeled)
        if self.method == "temporal_ensembling":
            target, known = self._past_predictions(index)
        if self.method == "mean_teacher":
            target = self._passes.target(self.teacher, x_of_target, self.batches_seen, rows=rows)
        if self.method == "vat":
            target = self._passes.target(self.student, x_of_target, self.batches_seen, False, rows=rows)
        certain = self._certain(x_of_target, rows, step)
        goals = self._goals(target, certain, mixture)
        if self.perturbation:
            x = self._perturbed(x, goals, labeled)

        # Student, costs.
        with tf.GradientTape() as tape:
            outputs, added = self._passes.student(self.student, x, self.batches_seen)
            if self.method == "pi":  # Its target gets a gradient too; statistics are updated once a step.
                target = self._passes.target(self.student, x_of_target, self.batches_seen, False, rows=rows)
                added.append(list(self.student.losses))
                goals = self._goals(target, certain, mixture)
            labels = self._labels(y, outputs, sample_weight, self._class_weight)
            self._passes.require_order(self.outputs_of_student, labels)
            costs = self._costs(x, labels, outputs, goals, known, weight, added, mixture)
            loss = tf.add_n(costs.totals())
            scaled_loss = self.optimizer.scale_loss(loss)

        # Optimizer.
        weights = self.trainable_variables
        self.optimizer.apply(tape.gradient(scaled_loss, weights), weights)

        # Average. Without an optimizer step (gradients accumulate, or were infinite under loss scaling) it stays.
        stepped = tf.greater(tf.convert_to_tensor(self.optimizer.iterations), step)
        decay = tf.where(stepped, self._ema_decay(step), 1.0)
        exact, copies, frozen = self._exact_by_id(), self._ema_decay.start_step > 0, self._ema_decay.frozen(step)
        averages.update_ema(averages.averaged_pairs(self.student, self.teacher), exact, decay, copies)
        if self.average is not None:
            second = tf.where(stepped, self._second_ema_decay(self.average_updates), 1.0)
            averages.update_ema(averages.averaged_pairs(self.student, self.average), exact, second)
            self.average_updates.assign_add(tf.cast(stepped, "int64"))

        # Statistics.
        rule = self._statistics_rule()
        averages.update_statistics(rule, self.student, self.teacher, statistics, decay, copies, frozen)
        if self.average is not None:
            source = self.teacher if self.teacher in self._followers() else self.student
            averages.update_statistics("copy", source, self.average, statistics, decay)
        averages.synchronize_statistics(self._networks().values())
        self.batches_seen.assign_add(1)
        self._remember(index, outputs, stepped)

        # Report.
        self._trackers.keep(weight, decay)
        return self._report(labels, outputs, target, goals, loss, costs)

    def _unpack(self, data):
        """Returns `(x, flat labels, flat weights of examples)` of a batch."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        return x, self._flat_labels(y), self._flat_weights(sample_weight)

    def check_batch(self, data, training: bool) -> None:
        """Checks a batch before a step that is compiled by XLA; see `xla.checked`."""
        x, y, sample_weight = self._unpack(data)
        if training:
            first_batch.require_finite(x)
            self._split_index(x, training)  # It checks the indices.
        if not (training and self._augment_both):  # Which may make the labels.
            for output in self.outputs_of_student:
                output.labels(y[output.place], None, sample_weight[output.place], None)

    def _split_index(self, x, training=False):
        if self.prediction_ensembles:
            x, index = split_index(x, student_checks.number_of_inputs(self.student), training)
            return x, require_examples(index, self.num_examples) if training else index
        if self.two_views and not training:
            first_batch.check_one_view(x, student_checks.number_of_inputs(self.student))
        return x, None

    def _moved(self, x, y, sample_weight):
        """A batch after the augmentation that both networks share."""
        if not self._augment_both:
            return x, y
        if any(weight is not None and len(weight.shape) > 1 for weight in sample_weight):
            raise ValueError(
                "`sample_weight` must be one number an example: `shared_augmentation` does not move weights. "
                f"Received: shapes {[tuple(w.shape) for w in sample_weight if w is not None]}"
            )
        x, y = self._augment_both(x, keras.tree.pack_sequence_as(self._template, y), step=self.batches_seen)
        return x, self._flat_labels(y)

    def _views(self, x):
        """The student's and the target's view of a batch."""
        if self.two_views:
            return self._two(x)
        views = [x, x]
        if self._augment:
            views = [self._augment(x, step=self.batches_seen, view=view) for view in (STUDENT_VIEW, TEACHER_VIEW)]
        if self._augment_student:
            views[0] = self._augment_student(views[0], step=self.batches_seen, view=STRONG_STUDENT_VIEW)
        if self._augment_teacher:
            views[1] = self._augment_teacher(views[1], step=self.batches_seen, view=STRONG_TEACHER_VIEW)
        return views

    def _two(self, x):
        if not isinstance(x, (tuple, list)) or len(x) != 2:
            found = f"{len(x)} parts" if isinstance(x, (tuple, list)) else f"one {type(x).__name__}"
            raise ValueError(
                "With two_views=True `fit` takes `x=(view for the student, view for the teacher)`. Received: " + found
            )
        return x

    def _labeled_rows(self, y):
        """Booleans `[batch]`: which rows have a label of any output; None if nothing asks for it."""
        if not (self.mixing or self.perturbation or self.teacher_sees == "unlabeled"):
            return None
        labels = [output.labels(y[output.place], None, None, None) for output in self.outputs_of_student]
        return ops.any(ops.stack([of_output.examples for of_output in labels]), axis=0)

    def _rows_of_target(self, labeled):
        """Places of the rows that the target's network sees; None for all of them."""
        if self.teacher_sees == "all" or self.method in ("supervised", "temporal_ensembling"):
            return None
        unlabeled = tf.where(~labeled)[:, 0]
        # Convolutions fail on no rows at all. Where none is unlabeled, no cost sees the target.
        return tf.cond(tf.size(unlabeled) > 0, lambda: unlabeled, lambda: tf.range(tf.size(labeled, out_type="int64")))

    def _certain(self, x, rows, step):
        """For each output what the teacher is certain of, in further passes of it; None if that is not asked."""
        if not self.uncertainty:
            return None
        passes = [
            self._passes.target(self.teacher, x, self.batches_seen, False, noise_of_uncertainty(k), rows)
            for k in range(self.uncertainty.passes)
        ]
        masks = {}
        for output in self.outputs_of_student:
            logits = [output.logits(outputs[output.place]) for outputs in passes]
            masks[output.place] = self.uncertainty.mask(output, logits, step)
        return masks

    def _goals(self, target, certain, mixture):
        """For each output what the student is pulled to: logits, and how far they are trusted, or None for 1."""
        if target is None:
            return None
        goals = []
        for output in self.outputs_of_student:
            logits, trust = output.target(target[output.place])
            shares = {"confident_share": trust, "certain_share": None}
            if certain is not None:
                shares["certain_share"] = certain[output.place]
                trust = certain[output.place] if trust is None else trust * certain[output.place]
            if mixture:
                logits = mixture.target(output, logits)
                trust = None if trust is None else mixture.weights(output, trust)
            goals.append(_Goal(logits, trust, shares))
        return goals

    def _perturbed(self, x, goals, labeled):
        """The student's view after the perturbation that moves its prediction furthest from its goals."""

        def divergence(perturbed):
            before = averages.snapshot_statistics(self.student)
            outputs, _ = self._passes.student(self.student, perturbed, self.batches_seen)
            averages.restore_statistics(before)
            total = 0.0
            for output, goal in zip(self.outputs_of_student, goals, strict=True):
                cost = DIVERGENCES[output.task_name](reduction="sum")
                logits = output.logits(outputs[output.consistency_place])
                total += output.consistency_weight * ops.cast(cost(goal.logits, logits), "float32")
            return total

        (values,) = keras.tree.flatten(x)
        values = ops.cast(values, keras.backend.result_type(values.dtype, float))  # Images often come as uint8.
        change = self.perturbation(values, divergence, seed_of_pass(self.seed, self.batches_seen, PERTURBATION))
        if not self.perturbation.on_labeled:
            change = ops.where(as_rank(labeled, change), 0.0, change)
        return keras.tree.pack_sequence_as(x, [values + ops.cast(change, values.dtype)])

    def _labels(self, y, outputs, sample_weight, class_weight):
        return [
            output.labels(y[output.place], outputs[output.place], sample_weight[output.place], class_weight)
            for output in self.outputs_of_student
        ]

    def _costs(self, x, labels, outputs, goals, known, weight, added, mixture):
        """All costs of a batch, each divided by what it is to be divided by over all replicas."""
        trained = self.outputs_of_student
        sums = [
            self._label_cost(x, output, of_output, outputs[output.place], mixture)
            for output, of_output in zip(trained, labels, strict=True)
        ]
        if goals is not None:
            for output, of_output, goal in zip(trained, labels, goals, strict=True):
                mask = self._passes.mask(of_output.whole.mask, self.consistency_on_labeled)
                if known is not None:
                    known = as_rank(known, of_output.mask)
                    mask = known if mask is None else known * as_rank(mask, known)
                if mixture and mask is not None:
                    mask = mixture.weights(output, mask)
                predicted = outputs[output.consistency_place]
                sums.append(output.consistency_cost(goal.logits, predicted, mask, goal.trust))
        rows = ops.cast(ops.shape(labels[0].mask)[0], "float32")
        *counts, rows_of_all = sum_over_replicas([*(s.count for s in sums), rows])
        values = [ops.divide_no_nan(s.total, ops.cast(c, s.total.dtype)) for s, c in zip(sums, counts, strict=True)]
        of_labels = [_times(o.loss_weight, value) for o, value in zip(trained, values, strict=False)]
        consistency = [
            ops.cast(weight, value.dtype) * _times(o.consistency_weight, value)
            for o, value in zip(trained, values[len(trained) :], strict=False)
        ]
        if self.class_balance:
            for place, (output, goal) in enumerate(zip(trained, goals, strict=True)):
                balance = output.class_balance(goal.trust, outputs[output.consistency_place], labels[place].examples)
                factor = ops.cast(weight, balance.dtype) * self.class_balance
                cost = factor * _times(output.consistency_weight, balance)
                consistency[place] += ops.cast(cost, consistency[place].dtype)
        distance = []
        if self.logit_distance_weight:
            value = self.logit_distance(outputs[0], outputs[1])
            require_reduction(self.logit_distance, "logit distance", value)
            value *= times_replicas(self.logit_distance, outputs[0], outputs[1])
            if self.logit_distance.reduction != "sum":
                value *= ops.cast(rows / rows_of_all, value.dtype)  # The mean over this replica's rows.
            distance = [self.logit_distance_weight * value]
        return _Costs(of_labels, consistency, distance, self._penalties(added), rows, rows_of_all)

    def _label_cost(self, x, output, labels, outputs, mixture):
        """The cost of labels of a batch; of mixed labeled examples that of both labels."""
        own_loss = self._own_loss(x, output, training=True)
        if not (mixture and self.mixing.labels):
            return output.label_cost(labels, outputs, own_loss)
        parts = [(s, output.label_cost(part, outputs, own_loss)) for s, part in mixture.labels(output, labels)]
        if len(parts) == 1:
            return parts[0][1]
        total = tf.add_n([ops.cast(share, s.total.dtype) * s.total for share, s in parts])
        return Sum(total, tf.add_n([share * ops.cast(s.count, "float32") for share, s in parts]))

    def _own_loss(self, x, output, training):
        """The student's own `compute_loss`, for the labeled rows of a batch."""
        if output.compute_loss is None:
            return None

        def of_labeled(examples, y, y_pred, weight):
            rows = map_tensors(lambda part: tf.boolean_mask(part, examples), x)
            return output.compute_loss(rows, y, y_pred, weight, training)

        return of_labeled

    def _penalties(self, added):
        """What layers add to the loss: activity losses of each pass, and penalties of weights once."""
        every = [ops.sum(loss) for part in added for loss in part]
        if not every or not self._wants_penalties():
            return []
        others = added[1:]
        twice = (
            [v.regularizer(v) for v in self.student.trainable_weights if v.regularizer is not None] if others else []
        )
        total = tf.add_n([ops.cast(loss, keras.config.floatx()) for loss in every])
        for penalty in twice:
            total -= len(others) * ops.cast(ops.sum(penalty), total.dtype)
        return [total / tf.distribute.get_strategy().num_replicas_in_sync]

    def _exact_by_id(self):
        low = [w for w in self._averaged_weights() if averages.needs_exact_average(w)]
        return {id(w): average for w, average in zip(low, self.exact_averages, strict=True)}

    def _averaged_weights(self):
        return [*self.teacher.weights, *(self.average.weights if self.average is not None else [])]

    def _networks(self):
        """All networks by the names that they are evaluated under."""
        networks = {"student": self.student, "teacher": self.teacher}
        return networks if self.average is None else {**networks, "average": self.average}

    def _statistics_rule(self):
        moves = self.method == "mean_teacher" and (not self.separate_passes or self.statistics_of == "unlabeled")
        without = {"auto": "copy", "own": "ema"}
        rule = self.teacher_statistics
        return rule if rule not in without else "own" if moves else without[rule]

    def _past_predictions(self, index):
        """The targets of temporal ensembling as the network would output them, and which examples have one."""
        target, known = {}, None
        for output, ensemble in zip(self.outputs_of_student, self.prediction_ensembles, strict=True):
            probabilities, known = ensemble.target(index[0])
            target[output.place] = output.task.logits(probabilities) if output.from_logits else probabilities
        return target, known

    def _remember(self, index, outputs, stepped):
        for output, ensemble in zip(self.outputs_of_student, self.prediction_ensembles, strict=False):
            example, counted = index
            if isinstance(self.optimizer, keras.optimizers.LossScaleOptimizer):
                counted = counted & stepped  # What made gradients infinite is no prediction to keep.
            ensemble.update(example, output.task.probabilities(output.logits(outputs[output.place])), counted)

    # Evaluation, prediction ----------------------------------------------------------------------------------------

    @xla.checked(training=False)
    def test_step(self, data):
        x, y, sample_weight = self._unpack(data)
        x, _ = self._split_index(x)
        sums = {}
        for name, network in self._networks().items():
            outputs = self._flat(network(x, training=False), "inference")
            labels = self._labels(y, outputs, sample_weight, None)
            rows = ops.cast(ops.shape(labels[0].mask)[0], "float32")
            added = list(network.losses)
            for output, of_output in zip(self.outputs_of_student, labels, strict=True):
                prediction = outputs[output.place]
                cost = output.label_cost(of_output, prediction, self._own_loss(x, output, training=False))
                count = ops.cast(cost.count, cost.total.dtype)
                mean = ops.divide_no_nan(cost.total, count)
                sums[output.metric_name(f"{name}_label_cost")] = mean * count, count
                sums |= self._errors(name, output, of_output, prediction)
                if self.top5:
                    errors = losses.classification_errors(of_output.values, prediction, among=5)
                    sums[output.metric_name(f"{name}_top5_error")] = self._trackers.sums(errors, of_output.mask)
                if network is self.predictor:
                    output.update_metrics(of_output, prediction)
            penalties = [ops.cast(ops.sum(loss), "float32") for loss in added if self._wants_penalties()]
            sums[f"{name}_penalty"] = tf.add_n([tf.zeros(()), *penalties]) * rows, rows
        self._trackers.add(sums)
        return self.logs_of_replica(self.get_metrics_result())

    @property
    def predictor(self) -> keras.Model:
        """The network that predicts and is exported: the teacher, or the second average if there is one."""
        self._follow_until_first_step()
        return self.teacher if self.average is None else self.average

    def call(self, inputs, training=None):
        """Returns the teacher's outputs, in the student's structure; of two heads, those of the first."""
        outputs = self.predictor(self._split_index(inputs)[0], training=training)
        return keras.tree.flatten(outputs)[0] if self.two_heads else outputs

    def export(self, filepath, format="tf_saved_model", verbose=None, input_signature=None, **kwargs) -> None:
        """As `keras.Model.export`: exports the teacher in inference mode; of two heads, the first.

        Outputs are named by the keys of a dict, else `output_0`, `output_1` and so on.
        """
        serving.export(self.predictor, filepath, format, verbose, input_signature, first_only=self.two_heads, **kwargs)

    # Report --------------------------------------------------------------------------------------------------------

    def _report(self, labels, outputs, target, goals, loss, costs):
        whole, rows = costs.rows_of_all, costs.rows
        tracker = next(m for m in self.metrics if m.name == "loss")
        tracker.total.assign_add(ops.cast(loss * ops.cast(whole, loss.dtype), tracker.total.dtype))
        tracker.count.assign_add(ops.cast(rows, tracker.count.dtype))
        sums = {}
        for name, parts in costs.by_name().items():
            if parts:
                sums[name] = tf.add_n(parts) * ops.cast(whole, parts[0].dtype), rows
            if len(self.outputs_of_student) > 1:
                for output, part in zip(self.outputs_of_student, parts, strict=False):
                    sums[output.metric_name(name)] = part * ops.cast(whole, part.dtype), rows
        for output, of_output in zip(self.outputs_of_student, labels, strict=True):
            labeled = ops.sum(ops.cast(of_output.examples, "float32"))
            sums[output.metric_name("labeled_per_batch")] = labeled * whole, rows
            sums |= self._errors("student", output, of_output, outputs[output.place])
            if self._measures_teacher_in_training():
                sums |= self._errors("teacher", output, of_output, target[output.place])
            output.update_metrics(of_output, outputs[output.place])
        for output, of_output, goal in zip(self.outputs_of_student, labels, goals or (), strict=False):
            counted = self._passes.mask(of_output.mask, self.consistency_on_labeled)
            for name, share in goal.shares.items():
                if share is not None:
                    weights = ops.ones_like(share) * (1.0 if counted is None else as_rank(counted, share))
                    if of_output.padding is not None:
                        weights *= as_rank(of_output.padding, share)
                    sums[output.metric_name(name)] = self._trackers.sums(share, weights)
        self._trackers.add(sums)
        return self.logs_of_replica(self.get_metrics_result())

    def _errors(self, network, output, labels, prediction):
        sums = self._trackers.sums(output.errors(labels, prediction), labels.mask)
        return {output.metric_name(f"{network}_error"): sums}

    def _measures_teacher_in_training(self):
        return self.method == "mean_teacher" and not self.separate_passes and self.teacher_sees == "all"

    def _make_trackers(self):
        """The metrics that are kept besides the loss and those of `compile`."""
        several = len(self.outputs_of_student) > 1
        names = ["classification_cost", "consistency_cost", "logit_distance_cost"]
        networks = tuple(self._networks())
        names += [f"{network}_penalty" for network in networks]
        losses_of_networks = self._names_of_losses()
        derived = ["teacher_student_distance", *losses_of_networks]  # The former the callback adds to the logs.
        others = []
        for output in self.outputs_of_student:
            of_output = [
                f"{n}_{what}" for n in networks for what in ("error", "label_cost", *(["top5_error"] * self.top5))
            ]
            of_output += names[:2] if several else []
            names += [output.metric_name(name) for name in of_output]
            derived += [output.metric_name(name) for name in losses_of_networks] if several else []
            others += [output.metric_name(name) for name in ("labeled_per_batch", *self._shares_of_targets(output))]
        twice = [name for name, count in collections.Counter([*names, *derived, *others]).items() if count > 1]
        if twice:
            raise ValueError(
                "Outputs of the student (keys of a dict, or layers) need other names: two logs would be called "
                f"{twice[0]!r}. Received: outputs {[output.name for output in self.outputs_of_student]}"
            )
        return Trackers([*names, *others], ["consistency_weight", "ema_decay"], lower_is_better=[*names, *derived])

    def _names_of_losses(self):
        """What the loss of each network is called in evaluation: that of the one that predicts is Keras' `loss`."""
        return [*(f"{network}_loss" for network in list(self._networks())[:-1]), "loss"]

    def _shares_of_targets(self, output):
        confident = isinstance(output.consistency, losses.Confident) and output.consistency.threshold > 0
        names = ["confident_share"] if confident else []
        return names + ["certain_share"] if self.uncertainty else names

    @property
    def metrics(self):
        given = [of_output for output in self.outputs_of_student for of_output in output.metrics]
        networks = {id(metric) for network in self._networks().values() for metric in network.metrics}
        theirs = [m for m in super().metrics if m is not self._trackers and id(m) not in networks]
        return [*theirs, self._trackers, Given([*given, *self._metrics_of_student], "given")]

    def get_metrics_result(self):
        results = super().get_metrics_result()
        for output in self.outputs_of_student:
            labeled = self._trackers.count(output.metric_name("student_error"))
            results |= {metric.name: metric.result_or_nan(labeled) for metric in output.metrics}
        results |= {metric.name: metric.result_or_nan(1.0) for metric in self._metrics_of_student}
        if self._reported == "evaluation":
            return self._results_of_evaluation(results)
        if self._reported == "training":
            return self._results_of_training(results)
        return results

    def _results_of_training(self, results):
        several = len(self.outputs_of_student) > 1
        networks = tuple(self._networks())
        hidden = {f"{n}_penalty" for n in networks}
        if self.method == "supervised":
            hidden |= {"consistency_cost"}
        if not self.logit_distance_weight:
            hidden |= {"logit_distance_cost"}
        for output in self.outputs_of_student:
            hidden |= {output.metric_name(f"{n}_{what}") for n in networks for what in ("label_cost", "top5_error")}
            hidden |= {output.metric_name(f"{n}_error") for n in networks[2:]}
            if not self._measures_teacher_in_training():
                hidden |= {output.metric_name("teacher_error")}
            if self.method == "supervised" and several:
                hidden |= {output.metric_name("consistency_cost")}
        return {name: value for name, value in results.items() if name not in hidden}

    def _results_of_evaluation(self, results):
        """The loss is the sum of means over all examples, so that it does not depend on the batch size."""
        several = len(self.outputs_of_student) > 1
        kept = {}
        for network, name in reversed(list(zip(self._networks(), self._names_of_losses(), strict=True))):
            total = results[f"{network}_penalty"]
            for output in self.outputs_of_student:
                labeled = self._trackers.count(output.metric_name(f"{network}_error"))
                value = mean_or_nan(results[output.metric_name(f"{network}_label_cost")], labeled)
                total = total + _times(output.loss_weight, ops.cast(value, total.dtype))
                if several:
                    kept[output.metric_name(name)] = value
            kept[name] = total
        for output in self.outputs_of_student:
            names = [output.metric_name(f"{n}_{what}") for what in ("error", "top5_error") for n in self._networks()]
            kept |= {name: results[name] for name in names if name in results}
            kept |= {of_output.name: results[of_output.name] for of_output in output.metrics}
        return kept

    def _flatten_metrics_in_order(self, logs):
        """What is returned without `return_dict`: first, in Keras' order, what Keras would return; then the rest.

        Where Keras has the losses of several outputs, training has their classification costs.
        """
        # Private, and Keras is pinned: it looks for names in its own metrics of `compile` alone.
        trained, losses_of_outputs = self.outputs_of_student, []
        given = [metric.name for output in trained for metric in output.metrics]
        if len(trained) > 1:  # Losses are in the order of the dict of losses, or of outputs; metrics sorted by name.
            loss = self._given_to_compile.loss
            keys = list(loss if isinstance(loss, dict) else self._template) if isinstance(self._template, dict) else []
            cost = "classification_cost" if self._reported == "training" else "loss"
            places = {f"{key}_{cost}": place for place, key in enumerate(keys)}
            names = [output.metric_name(cost) for output in trained]
            given, losses_of_outputs = sorted(given), sorted(names, key=lambda name: places.get(name, len(places)))
        first = ["loss", *losses_of_outputs, *given, *(metric.name for metric in self._metrics_of_student)]
        first = [name for name in dict.fromkeys(first) if name in logs]
        return [logs[name] for name in (*first, *sorted(set(logs) - set(first)))]

    def _warn_of_nothing(self):
        counts = {o: float(self._trackers.count(o.metric_name("student_error"))) for o in self.outputs_of_student}
        nothing = [str(output) for output, count in counts.items() if not count]
        if nothing and self._reported not in self._warned_of_nothing:
            self._warned_of_nothing.add(self._reported)
            where = " in an epoch of training" if self._reported == "training" else ""
            warnings.warn(
                f"No labeled example{where} for {' and '.join(nothing)}: its errors, loss and metrics are NaN.",
                stacklevel=3,
            )

    # What Keras asks of a model ---------------------------------------------------------------------------------

    @property
    def trainable_variables(self):
        # Not `teacher.trainable = False`: that would put the teacher's batch normalization into inference mode.
        return self.student.trainable_variables if self.trainable else []

    @property
    def trainable_weights(self):
        return self.trainable_variables

    @property
    def non_trainable_variables(self):
        trained = {id(v) for v in self.trainable_variables}
        return [v for v in self.variables if id(v) not in trained]

    @property
    def non_trainable_weights(self):
        trained = {id(v) for v in self.trainable_variables}
        return [v for v in self.weights if id(v) not in trained]

    @property
    def losses(self):
        return self.student.losses

    def compile(
        self,
        optimizer="adam",
        loss=None,
        loss_weights=None,
        metrics=None,
        weighted_metrics=None,
        run_eagerly: bool = False,
        steps_per_execution: int = 1,
        jit_compile="auto",
        auto_scale_loss: bool = True,
    ):
        """As `keras.Model.compile`; the loss is the task's unless one is given.

        A loss of the user's gets the labeled examples alone, and its value is multiplied by their share of the batch
        (`reduction="batch"`) or not (`reduction="labeled"`). One that is a single number for a batch is computed on the
        rows of each replica, as in Keras. Of a loss that is a sum over a batch the mean of the batches' sums is
        reported, as in Keras. `metrics` are measured on labeled examples: of the student
        in training, of the teacher in evaluation. The teacher takes over the student's `trainable` flags, unless
        `teacher_weights="own"`.
        """
        if optimizer is None:
            raise ValueError("Argument `optimizer` must be an optimizer of Keras, or its name. Received: None")
        optimizer = keras.optimizers.get(optimizer)
        scaled = not auto_scale_loss or isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
        if not scaled and low_precision.computes_in("float16", self.student):
            # Keras would look at the dtype policy of this wrapper, which is float32.
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
        self.check_scope({"student": self.student.trainable_weights})
        self.check_compiled(optimizer, jit_compile)
        self._check_unchanged()
        self._follow_flags()
        compute_loss = self._compute_loss_of_student(loss)
        per_output = [self._spread(self._with_idle(value), argument) for value, argument in (
            (loss, "loss"), (loss_weights, "loss_weights"))]  # fmt: skip
        wanted = [spread_metrics(in_places(given, self._template, self._names, name, partly=True), self._template, name)
            for given, name in ((metrics, "metrics"), (weighted_metrics, "weighted_metrics"))]  # fmt: skip
        for argument, given, of_outputs in (("loss", loss, per_output[0]), ("metrics", metrics, wanted[0]),
                                            ("weighted_metrics", weighted_metrics, wanted[1])):  # fmt: skip
            self._check_idle(argument, given, of_outputs)
        wanted = each_its_own(wanted)
        for output in self.outputs_of_student:
            place = output.place
            if loss is not None and per_output[0][place] is None:
                raise ValueError(
                    "Argument `loss` must name a loss for each output that has a task. Received: None for "
                    f"{output}; one that is not trained has task=None, and one without labels is labeled -1 (NaN)"
                )
            output.compile(*(values[place] for values in (*per_output, *wanted)), compute_loss)
        of_student = student_checks.own_metrics(self.student, teachers.layers_of(self.student))
        self._metrics_of_student = tuple(Named(metric, metric.name) for metric in of_student)
        name_in_logs(self.outputs_of_student, self._metrics_of_student, self._trackers.names)
        super().compile(
            optimizer=optimizer,
            run_eagerly=run_eagerly,
            steps_per_execution=steps_per_execution,
            jit_compile=jit_compile,
            auto_scale_loss=False,
        )
        # Keras would track metrics in a dict, also those of which each output has one of its own.
        self._given_to_compile = types.SimpleNamespace(
            optimizer=optimizer, loss=loss, loss_weights=loss_weights, metrics=metrics,
            weighted_metrics=weighted_metrics, run_eagerly=run_eagerly,
            steps_per_execution=steps_per_execution, jit_compile=self.jit_compile,
            auto_scale_loss=False,  # The optimizer above scales if it is to.
        )  # fmt: skip

    def _check_idle(self, argument, given, of_outputs):
        """Refuses what `compile` is given for an output without a task; one value for all outputs is for the others."""
        lists = isinstance(given, (list, tuple)), isinstance(self._template, (list, tuple))
        if not isinstance(given, dict) and not (all(lists) and len(given) == len(self._template)):
            return
        trained = {output.place for output in self.outputs_of_student}
        for place, value in enumerate(of_outputs):
            if place not in trained and value:
                raise ValueError(
                    f"Argument `{argument}` must have nothing for output {self._names[place]!r}, which has no task and "
                    f"is not trained: give it one with `task=`, or None here. Received: {value}"
                )

    def get_compile_config(self):
        return keras.saving.serialize_keras_object(vars(self._given_to_compile)) if self.compiled else None

    def compile_from_config(self, config):
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    def _wants_penalties(self):
        """Whether layers' losses count: they do, unless the student's own `compute_loss` adds none."""
        own = self.outputs_of_student[0].compute_loss
        return own is None or own.adds_losses

    def _compute_loss_of_student(self, loss):
        if not student_checks.own_method(self.student, "compute_loss"):
            return None
        if len(self.outputs_of_student) > 1 or self.two_heads:
            raise ValueError(
                f"The student's own `compute_loss` ({type(self.student).__name__}) can be called for one output. "
                f"Received: a student with {len(self.student.outputs)}"
            )
        if sparse := student_checks.sparse_inputs(self.student):
            raise ValueError(
                f"The student's own `compute_loss` ({type(self.student).__name__}) is called with the labeled rows of "
                "dense inputs: give a student with dense inputs, and `x` as `tf.sparse.to_dense(x)` or `x.toarray()`. "
                f"Received: a student with the sparse input {sparse[0].name!r}"
            )
        if loss is not None or self._compiled_student or not self.student.compiled:
            (output,) = self.outputs_of_student
            own = output.task.loss(output.from_logits, "sum_over_batch_size")
            self.student.compile(loss=own if loss is None else loss)
            self._compiled_student = True
        return OwnComputeLoss(self.student)

    def fit(
        self, x=None, y=None, batch_size=None, epochs=1, verbose="auto", callbacks=None, validation_split=0.0,
        validation_data=None, shuffle=True, class_weight=None, sample_weight=None, **kwargs,
    ):  # fmt: skip
        """As `keras.Model.fit`. Labels are checked, and the teacher is before the first step.

        `class_weight` weighs each label, pixel or token of its class. `sample_weight` weighs the cost of labels only.
        """
        self.check_scope({"student": self.student.trainable_weights})
        self._check_callbacks(callbacks)
        self._check_validation(validation_split, validation_data)
        self._set_class_weight(class_weight)
        self._note_labels("train_function", x, y)
        if self._is_first_step() or not first_batch.is_batched(x) or self._wants_shares(callbacks):
            self._fitted_in_batches = first_batch.is_batched(x)
            self._fitted, x = first_batch.peek(x, y, _SHARES_OF if self._wants_shares(callbacks) else 1)
        try:
            if not first_batch.is_batched(x) and self._fitted:
                given, labels = self._fitted[0]
                trained = first_batch.rows_of_training(given, validation_split if validation_data is None else 0.0)
                self._check_arrays(given, labels, trained)
                self._fitted = [(given, first_batch.first_labels(labels, trained))]
                if kwargs.get("steps_per_epoch") is None and self._under_strategy:
                    examples = first_tensor(x).shape[0]
                    self.check_shares(
                        teachers.layers_of(self.student), int(examples * (1 - validation_split)), batch_size or 32
                    )
            elif self._fitted:
                self._check_first_labels(self._fitted[0][1])
            if self._is_first_step() and self._fitted and not self._under_strategy:
                self._before_first_step(self._fitted[0][0], say=verbose != 0)
            with self._sentences():
                history = super().fit(
                    x, y, batch_size, epochs, verbose, callbacks, validation_split, validation_data, shuffle, None,
                    sample_weight, **kwargs,
                )  # fmt: skip
            self._warn_of_nothing()
            return history
        finally:
            self._fitted = []

    def train_on_batch(self, x, y=None, sample_weight=None, class_weight=None, return_dict=False):
        """As `keras.Model.train_on_batch`, with the checks of `fit`."""
        self._set_class_weight(class_weight)
        self._note_labels("train_function", x, y)
        if self._is_first_step():
            self._check_first_labels(y)
            self._before_first_step(x)
        with self._sentences():
            return super().train_on_batch(x, y, sample_weight, None, return_dict)

    def evaluate(self, x=None, y=None, *args, **kwargs):
        """As `keras.Model.evaluate`, of both networks; `loss` and the compiled metrics are the teacher's.

        Without `return_dict=True` the list begins with what Keras returns, in its order; what this package adds
        follows, sorted by name.
        """
        if kwargs.get("_use_cached_eval_dataset"):  # After an epoch of `fit`, whose metrics are reset next.
            self._warn_of_nothing()
        self._note_labels("test_function", x, y)
        self._follow_until_first_step()
        with self._sentences():
            results = super().evaluate(x, y, *args, **kwargs)
        self._warn_of_nothing()
        return results

    def test_on_batch(self, x, y=None, *args, **kwargs):
        """As `keras.Model.test_on_batch`, of both networks."""
        self._note_labels("test_function", x, y)
        self._follow_until_first_step()
        with self._sentences():
            return super().test_on_batch(x, y, *args, **kwargs)

    def predict(self, *args, **kwargs):
        """As `keras.Model.predict`, of the network that predicts."""
        self._follow_until_first_step()
        return super().predict(*args, **kwargs)

    def predict_on_batch(self, x):
        """As `keras.Model.predict_on_batch`, of the network that predicts."""
        self._follow_until_first_step()
        return super().predict_on_batch(x)

    def make_train_function(self, force=False):
        if self.method != "supervised" and self._consistency_weight is None:
            warnings.warn(
                f"This trains on the labels alone: method={self.method!r}, but no `MeanTeacherCallback` sets the "
                "weight of the consistency cost. Pass `callbacks=[MeanTeacherCallback(consistency_weight=...)]`.",
                stacklevel=2,
            )
        self._check_frozen_teacher()
        if not self.trainable_variables:
            warnings.warn("The student has no trainable weights: nothing is learned.", stacklevel=2)
        if slow := low_precision.slowness_sentence(self.student):
            warnings.warn(slow, stacklevel=2)
        return super().make_train_function(force)

    @contextlib.contextmanager
    def _sentences(self):
        """Raises what a compiled step found wrong with labels as the sentence that arrays get."""
        try:
            yield
        except tf.errors.InvalidArgumentError as error:
            sentence = tasks.sentence_of(error)
            if sentence is None:
                raise
            raise ValueError(sentence) from None

    # Before the first step ---------------------------------------------------------------------------------------

    def _is_first_step(self):
        # Not of the optimizer, which may have trained the student alone: what is saved and loaded with this model.
        return int(tf.identity(self.batches_seen.value)) == 0

    def before_first_step(self, batch) -> None:
        if self._is_first_step():
            self._before_first_step(keras.utils.unpack_x_y_sample_weight(batch)[0])

    def after_callbacks_began(self) -> None:
        """Called before a training function runs for the first time: callbacks may have set weights."""
        if self._is_first_step():
            self._follow_student(at_first_step=True)

    def _before_first_step(self, x, say=True):
        """Makes the teacher the student, once more, and checks that it is."""
        self._follow_student(at_first_step=True)
        if self._unsaid and say:
            print("The student's weights were changed after it was wrapped: the teacher starts from them.", flush=True)
        self._unsaid = False
        if self._compared:
            return
        x = self._two(x)[0] if self.two_views else self._split_index(x)[0]
        rows = self._as_student_takes(first_batch.rows_of(x, self._rows_to_compare()))
        if 0 in first_tensor(rows).shape[:1]:
            return  # No rows show nothing; some networks fail on them, which the step says in a sentence.
        for network in self._followers():
            outputs, layers = teachers.check_same_answers(self.student, network, rows)
        for output in self.outputs_of_student:
            about = output.task_name, output.from_logits
            for place in {output.place, output.consistency_place}:
                activation = student_checks.activation_of(layers[place])
                student_checks.check_probabilities(*about, activation, str(output))
                stays_between = functools.partial(stays_in_unit_interval, self.student, rows, place)
                student_checks.check_values(*about, outputs[place], str(output), stays_between)
        self._compared = True

    def _rows_to_compare(self):
        """A few, or the batch size that a stateful student was built with."""
        inputs = getattr(self.student, "inputs", None) or []
        return next((tensor.shape[0] for tensor in inputs if tensor.shape[0]), 4)

    def _as_student_takes(self, rows):
        # As Keras' own loop does with arrays of float64.
        return map_tensors(lambda part: tf.cast(part, keras.config.floatx()) if part.dtype.is_floating else part, rows)

    def _check_unchanged(self):
        shapes = teachers.shapes_of(self.student), teachers.shapes_of(self.teacher)
        if shapes[0] != shapes[1]:
            raise ValueError(
                "The student must keep the weights it was wrapped with; wrap it again after adding layers, LoRA or "
                f"quantizing. Received: weights of shapes {shapes[0]}, when it was wrapped {shapes[1]}"
            )

    def _follow_student(self, at_first_step=False):
        """Copies a student that was changed after wrapping, but not to what was given other weights itself."""
        self._check_unchanged()
        if not self._followers():
            return
        now = teachers.fingerprint(self.student)
        found = {id(n): teachers.fingerprint(n) for n in self._followers()}
        untouched = [n for n in self._followers() if found[id(n)] in (self._synchronized, now)]
        changed = any(found[id(n)] != now for n in untouched)
        if untouched and at_first_step:
            self._copy_student(untouched)
        elif changed or (untouched and teachers.keeps_more_than_weights(self.student)):
            for network in untouched:  # Not states of recurrent layers, which go on from one prediction to the next.
                teachers.copy_network(self.student, network)
            self._synchronized = now
        self._unsaid = self._unsaid or changed

    def _follow_flags(self):
        """What is frozen moves in no network."""
        for network in self._followers():
            teachers.follow_trainable(self.student, network)

    def _follow_until_first_step(self):
        """Lets no stale teacher be asked. Not inside of compiled steps: who calls them has followed."""
        inside = tf.distribute.has_strategy() and not tf.distribute.in_cross_replica_context()
        if tf.executing_eagerly() and not inside and self._is_first_step():
            self._follow_student()

    def _check_frozen_teacher(self):
        """With `teacher_weights="own"` flags are the user's: the average must not move what they froze."""
        if self.teacher_weights != "own" or self._ema_decay.always_one:
            return
        pairs = averages.averaged_pairs(self.student, self.teacher)
        frozen = [t.path for _, t in pairs if not t.trainable]
        if frozen:
            raise ValueError(
                f"Argument `ema_decay` must be 1.0 for a teacher that is frozen: {len(frozen)} of its weights have "
                f"trainable=False ({frozen[0]} first), and the average of the student would move them. Received: "
                f"ema_decay={self._ema_decay.after:g}; give 1.0 to `MeanTeacherCallback`, or set "
                "`teacher.trainable = True`"
            )

    def reset_teacher(self) -> None:
        """Makes the teacher equal to the student, for example after a supervised start."""
        self._copy_student(list(self._networks().values())[1:])

    def _copy_student(self, networks):
        for network in networks:
            if network in self._followers():
                teachers.follow_trainable(self.student, network)
            teachers.copy_network(self.student, network)
            for theirs, ours in teachers.pairs_of_states(self.student, network):
                ours.assign(theirs)
        self._synchronized = teachers.fingerprint(self.student)

    def _followers(self):
        """The networks that are the student until the first step."""
        _, teacher, *others = self._networks().values()
        return [*([teacher] if self.teacher_weights == "student" else []), *others]

    def recompute_statistics(self, x, steps: int | None = None) -> None:
        """Makes the running statistics of the network that predicts anew, as plain means over batches.

        For batch normalization in a network of averaged weights, whose statistics are else averages themselves. As in
        training, layers draw noise; weights stay as they are. Layers without a `momentum` are left alone.

        Args:
            x: Batches of what the network takes: a `tf.data.Dataset` of batches (with or without labels), or an
                iterable of arrays.
            steps: Number of batches; None for all.

        Raises:
            ValueError: If there are no batches.

        Reference: Izmailov et al. (2018), https://arxiv.org/abs/1803.05407 (`update_bn` of PyTorch's `swa_utils`)
        """
        batches = (keras.utils.unpack_x_y_sample_weight(batch)[0] for batch in x)
        averages.recompute_statistics(self.predictor, itertools.islice(batches, steps), self.seed)

    def teacher_distance(self) -> float:
        """Returns the Euclidean distance between the averaged weights and the student's."""
        return averages.distance(averages.averaged_pairs(self.student, self.teacher))

    def follow(
        self, consistency_weight: keras.optimizers.schedules.LearningRateSchedule, ema_decay: schedules.EMADecay
    ) -> None:
        """Sets the schedules of the optimizer step that training follows; `MeanTeacherCallback` calls it.

        Args:
            consistency_weight: Weight w of the consistency cost as a function of the optimizer step.
            ema_decay: Decay α of the teacher's average, likewise.
        """
        new = (consistency_weight, ema_decay)
        old = (self._consistency_weight, self._ema_decay)
        if any(type(a) is not type(b) or a.get_config() != b.get_config() for a, b in zip(old, new, strict=True)):
            self._consistency_weight, self._ema_decay = new
            self.train_function = None  # The schedules are compiled into it.

    # What fit was given ------------------------------------------------------------------------------------------

    def _spread(self, value, argument):
        return spread(in_places(value, self._template, self._names, argument), self._template, argument)

    def _flat_labels(self, y):
        if y is None:
            raise ValueError(
                "`fit` and `evaluate` need labels `y`: -1 (for numbers NaN) for unlabeled examples. Received: y=None"
            )
        template = self._template
        if isinstance(template, (list, tuple)):
            y = in_places(y, template, self._names, "y", partly=True)
        flat = keras.tree.flatten(y)
        for part in flat:
            first_batch.check_dense(part, "y")
        if isinstance(template, dict):
            if not isinstance(y, dict):
                raise ValueError(
                    f"Argument `y` must be a dict with labels for {sorted(template)}. Received: {type(y).__name__}"
                )
            missing = [o.name for o in self.outputs_of_student if y.get(o.name, y) is None or o.name not in y]
            if missing and not any(isinstance(part, (dict, list, tuple)) for part in template.values()):
                raise ValueError(f"Argument `y` must hold labels for each trained output. Received: none for {missing}")
            return spread({key: y.get(key) for key in template} | y, template, "y")
        if isinstance(template, (list, tuple)):
            if len(flat) != len(keras.tree.flatten(template)) or (len(flat) > 1 and not isinstance(y, (list, tuple))):
                raise ValueError(
                    f"Argument `y` must be a list of labels for each of {len(template)} outputs. Received: {len(flat)}"
                )
            return flat
        if len(flat) != 1:
            found = f"{len(flat)} arrays"
            if all(np.ndim(part) == 0 for part in flat):
                found = f"a list of {len(flat)} numbers; make it an array with `np.array(y)`"
            raise ValueError(f"Argument `y` must be the labels of one output. Received: {found}")
        return flat

    def _flat_weights(self, sample_weight):
        """Weights of the examples of each output; what has no task needs no entry, as it needs no labels."""
        return self._spread(self._with_idle(sample_weight), "sample_weight")

    def _with_idle(self, value):
        """A dict by outputs with None for outputs without a task that it leaves out."""
        template = self._template
        if not isinstance(value, dict) or not isinstance(template, (dict, list, tuple)):
            return value
        trained = {output.place for output in self.outputs_of_student}
        parts = template.items() if isinstance(template, dict) else zip(self._names, template, strict=False)
        idle = [key for key, part in parts if not trained & set(keras.tree.flatten(part))]
        return dict.fromkeys(idle) | value

    def _note_labels(self, function, x, y):
        """Lets a step be traced anew for labels of another kind: TensorFlow would give both an unknown shape."""
        first_batch.check_pandas(x, "x")
        first_batch.check_pandas(y, "y")
        shapes = first_batch.label_shapes(x, y)
        if shapes != self._label_shapes.setdefault(function, shapes):
            setattr(self, function, None)
            self._label_shapes[function] = shapes

    def _check_arrays(self, x, y, trained):
        first_batch.check_finite(x)
        y = self._flat_labels(y)
        for output in self.outputs_of_student:
            labels = y[output.place]
            if isinstance(labels, np.ndarray):
                tasks.check_arrays(output.task_name, labels, self._given_shape(output), output.labels_name, trained)
                check_hinge(output, labels, whole=True)
                check_unlabeled_numbers(output, labels, whole=True)
        if self.prediction_ensembles and isinstance(x, (tuple, list)) and len(x) > 1:
            example = x[1]
            if isinstance(example, np.ndarray) and (example.min() < 0 or example.max() >= self.num_examples):
                wrong = example[(example < 0) | (example >= self.num_examples)][0]
                raise ValueError(f"Indices of examples must be from 0 to {self.num_examples - 1}. Received: {wrong}")

    def _check_first_labels(self, y):
        """Checks what Keras would say otherwise of labels that come in batches: that there are any, and numbers."""
        y = self._flat_labels(y)
        for output in self.outputs_of_student:
            labels = y[output.place]
            if hasattr(labels, "shape") and hasattr(labels, "dtype"):
                tasks.check_shape(output.task_name, labels, self._given_shape(output), output.labels_name)
                check_hinge(output, labels, whole=False)
                check_unlabeled_numbers(output, labels, whole=False)

    def _given_shape(self, output):
        """The shape of an output as labels must have it, of which a shared augmentation may change the sizes."""
        if self.shared_augmentation is None:
            return output.shape
        return (output.shape[0], *(None for _ in output.shape[1:-1]), output.shape[-1])

    def _set_class_weight(self, class_weight):
        """Keras' own looks up the weight of class -1, and weighs examples, not pixels."""
        if class_weight is not None:
            if not isinstance(class_weight, dict):
                raise ValueError(
                    "Argument `class_weight` must be a dict from classes to weights. Received: "
                    f"{type(class_weight).__name__}"
                )
            if len(self.outputs_of_student) > 1 or self.outputs_of_student[0].task_name == "regression":
                raise ValueError("Argument `class_weight` needs one output of classes. Received: several, or numbers")
            classes = 2 if self.outputs_of_student[0].task_name == "multilabel" else self.num_outputs()
            unknown = [key for key in class_weight if key not in range(classes)]
            if unknown:
                raise ValueError(
                    f"Argument `class_weight` must name classes from 0 to {classes - 1}. Received: {unknown[0]!r}"
                )
            wrong = [weight for weight in class_weight.values() if not np.isfinite(weight)]
            if wrong:
                raise ValueError(f"Argument `class_weight` must hold finite numbers. Received: {wrong[0]}")
            class_weight = tuple(float(class_weight.get(c, 1.0)) for c in range(classes))
        if class_weight != self._class_weight:
            self._class_weight = class_weight
            self.train_function = None  # They are compiled into it.

    @staticmethod
    def _schedules_of(callbacks):
        """Each `MeanTeacherCallback` among callbacks as `fit` takes them, by what only it has."""
        callbacks = getattr(callbacks, "callbacks", callbacks)  # Of a `keras.callbacks.CallbackList`.
        given = callbacks if isinstance(callbacks, (list, tuple)) else [callbacks]
        return [callback for callback in given if hasattr(callback, "automatic")]

    def _check_callbacks(self, callbacks):
        given = self._schedules_of(callbacks)
        if len(given) > 1:
            raise ValueError(
                f"Argument `callbacks` must hold one `MeanTeacherCallback`: the last would win. Received: {len(given)}"
            )

    def _check_validation(self, validation_split, validation_data):
        """Refuses two views in `evaluate` before an epoch of training."""
        if self.two_views and validation_data is None and validation_split:
            raise ValueError(
                "With two_views=True `evaluate` takes plain examples, not two views: leave out `validation_split` and "
                f"give `validation_data=(x, y)`. Received: validation_split={validation_split}"
            )
        if self.two_views and isinstance(validation_data, (tuple, list)):
            first_batch.check_one_view(validation_data[0], student_checks.number_of_inputs(self.student))

    def _wants_shares(self, callbacks):
        return any(callback.automatic for callback in self._schedules_of(callbacks))

    def labeled_shares(self, of_batches: bool = True) -> list[float] | None:
        """Returns how much of what `fit` was given is labeled, in [0, 1], for each output.

        Of what comes in batches the first ten are counted.

        Args:
            of_batches: Whether batches are; None is returned for them otherwise.

        Returns:
            A share for each trained output; None if that can't be seen.
        """
        if not self._fitted or (self._fitted_in_batches and not of_batches):
            return None
        shares = []
        flat = [self._flat_labels(y) for _, y in self._fitted]
        for output in self.outputs_of_student:
            parts = [tf.convert_to_tensor(labels[output.place]) for labels in flat]
            masks = [output.task.mask(part, output.rank)[1].numpy().ravel() for part in parts]
            shares.append(float(np.mean(np.concatenate(masks))))
        return shares

    def num_outputs(self) -> int | None:
        """Returns the size of the last axis of the first output; None if a subclassed student does not tell."""
        return self.outputs_of_student[0].shape[-1]

    # Making --------------------------------------------------------------------------------------------------------

    def _make_outputs(self, spec):
        """The trained outputs of the student, and the structure that labels have."""
        if spec is None:
            raise ValueError(
                f"The outputs of the student {self.student.name!r} can't be seen: its `call` fails on a symbolic "
                "batch. Wrap it as a functional model: `keras.Model(inputs, network(inputs))`."
            )
        flat = keras.tree.flatten(spec)
        if self.two_heads:
            if len(flat) != 2:
                raise ValueError(f"Argument `two_heads` needs a student with two outputs. Received: {len(flat)}")
            spec, self._template = flat[0], 0
        else:
            self._template = keras.tree.pack_sequence_as(spec, list(range(len(flat))))
        if self.logit_distance_weight > 0 and not self.two_heads:
            raise ValueError(
                "A logit distance needs a student with two heads and two_heads=True. Received: two_heads=False, "
                f"{len(flat)} output{'s' * (len(flat) > 1)}"
            )
        self._names = names_of(self._template, self.student)
        names = self._names if keras.tree.is_nested(self._template) else [""]  # Logs of one output have no prefix.
        arguments = [
            self._spread(value, argument)
            for value, argument in (
                (self.task, "task"),
                (self.consistency, "consistency"),
                (self.consistency_weights, "consistency_weights"),
                (self.from_logits, "from_logits"),
            )
        ]
        outputs = []
        for place, (name, task, consistency, weight, from_logits) in enumerate(zip(names, *arguments, strict=True)):
            if task is None:
                continue
            _check("task", task, tuple(TASKS))
            if not weight >= 0:
                raise ValueError(f"Argument `consistency_weights` must not be negative. Received: {weight}")
            shape = flat[place].shape
            output = Output(
                name,
                place,
                shape,
                task,
                consistency,
                weight,
                from_logits,
                self.reduction,
                1 if self.two_heads else None,
            )
            if len(shape) < 2:
                raise ValueError(f"Outputs must be [batch, ..., classes]. Received: {output} of shape {tuple(shape)}")
            if task == "multiclass" and shape[-1] == 1:
                raise ValueError(
                    f'The task "multiclass" needs at least 2 classes; for a yes-or-no output use task="multilabel". '
                    f"Received: {output} with 1 column"
                )
            for p in {place, output.consistency_place}:
                activation = student_checks.final_activation(self.student, p)
                student_checks.check_probabilities(task, from_logits, activation, str(output))
            outputs.append(output)
        if not outputs:
            raise ValueError("Argument `task` must name a task for at least one output. Received: None for all")
        return outputs

    def _make_ensembles(self):
        if self.method != "temporal_ensembling":
            return []
        if self.num_examples is None:
            raise ValueError("Temporal ensembling needs the argument `num_examples`. Received: num_examples=None")
        for output in self.outputs_of_student:
            if None in output.shape[1:]:
                raise ValueError(
                    f"Temporal ensembling needs outputs of a known size. Received: {output} of shape {output.shape}"
                )
        shapes = [output.shape[1:] for output in self.outputs_of_student]
        return [PredictionEnsemble(self.num_examples, shape, self.ensembling_momentum) for shape in shapes]

    def _make_augmentations(self):
        inputs = student_checks.input_shapes(self.student)
        views, both = [], None
        for argument in ("augmentation", "student_augmentation", "teacher_augmentation"):
            given = getattr(self, argument)
            views.append(None if given is None else Augmentation(given, self.seed, inputs))
            if given is not None:
                option_checks.check_augmentation(self, argument, views[-1], inputs)
        if self.shared_augmentation is not None:
            of_pixels = [o for o in self.outputs_of_student if o.rank > 2]
            if isinstance(self.shared_augmentation, keras.Layer):
                option_checks.check_shared_layer(self, of_pixels, inputs)
            mapped = {output.place for output in of_pixels}
            maps = [place in mapped for place in keras.tree.flatten(self._template)]
            both = SharedAugmentation(self.shared_augmentation, self.seed, maps)
            if isinstance(self.shared_augmentation, keras.Layer) and of_pixels:
                both.check(tuple(size or 32 for size in inputs[0][1:]))
        return *views, both

    # Saving ----------------------------------------------------------------------------------------------------------

    _OBJECTS = (
        "student", "teacher", "consistency", "augmentation", "student_augmentation", "teacher_augmentation",
        "shared_augmentation", "mixing", "perturbation", "uncertainty", "logit_distance",
    )  # fmt: skip
    _VALUES = (
        "task", "method", "consistency_on_labeled", "consistency_weights", "reduction", "separate_passes", "two_views",
        "two_heads", "top5", "logit_distance_weight", "teacher_statistics", "teacher_weights", "from_logits", "seed",
        "num_examples", "ensembling_momentum", "class_balance", "statistics_of", "teacher_sees",
        "second_ema_decay", "name",
    )  # fmt: skip

    def save_own_variables(self, store):
        """As Keras has it; and what tells, when it is loaded, whether the student is changed afterwards."""
        self._follow_until_first_step()
        super().save_own_variables(store)
        store[_SYNCHRONIZED] = np.array(self._synchronized, "int64")

    def load_own_variables(self, store):
        """As Keras has it."""
        keys = list(store.keys())
        super().load_own_variables({key: store[key] for key in keys if key != _SYNCHRONIZED})
        if _SYNCHRONIZED in keys:  # Not in files of earlier versions.
            self._synchronized = int(np.asarray(store[_SYNCHRONIZED]))

    def get_config(self):
        # Losses that a network was compiled with before are not used: whoever loads the file need not have them.
        calls_student = student_checks.own_method(self.student, "compute_loss")
        with contextlib.ExitStack() as stack:
            for network in [self.teacher] if calls_student else [self.student, self.teacher]:
                stack.enter_context(teachers.uncompiled(network))
            objects = {name: keras.saving.serialize_keras_object(getattr(self, name)) for name in self._OBJECTS}
        return objects | {name: getattr(self, name) for name in self._VALUES}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        deserialize = keras.saving.deserialize_keras_object
        parts = {name: deserialize(config[name], custom_objects=custom_objects) for name in cls._OBJECTS}
        return cls(**{**config, **parts})


@dataclasses.dataclass(frozen=True)
class _Goal:
    """What one output of the student is pulled to: logits, weights of their trust, and the shares that are reported."""

    logits: tf.Tensor
    trust: tf.Tensor | None
    shares: dict


class _Costs:
    """The costs of a batch, weighted, per output; and the rows of this replica and of all."""

    def __init__(self, of_labels, consistency, distance, penalties, rows, rows_of_all):
        self.of_labels, self.consistency, self.distance = of_labels, consistency, distance
        self.penalties = penalties  # Reported with the cost of labels.
        self.rows, self.rows_of_all = rows, rows_of_all

    def by_name(self):
        names = ("classification_cost", "consistency_cost", "logit_distance_cost")
        parts = ([*self.of_labels, *self.penalties], self.consistency, self.distance)
        return dict(zip(names, parts, strict=True))

    def totals(self):
        return [tf.add_n(parts) for parts in self.by_name().values() if parts]


def _times(weight, value):
    return value if weight == 1.0 else weight * value
