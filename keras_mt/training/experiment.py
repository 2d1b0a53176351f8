"""From flags to data, network, optimizer and `MeanTeacher`."""

import os
from pathlib import Path

import keras
import tensorflow as tf

import keras_mt
from keras_mt.architectures import ARCHITECTURES
from keras_mt.data import Dataset, load_dataset, training_batches
from keras_mt.data.whitening import cached_zca
from keras_mt.training import settings
from keras_mt.training.checkpoints import Checkpoints
from keras_mt.training.program import UsageError
from keras_mt.training.progress import report
from keras_mt.training.settings import FLAGS

_LARGEST_ZCA = 12_288  # 64×64 pixels in color: a matrix of 600 MB.
_DTYPES = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}


def load_data() -> Dataset:
    """Loads what --dataset names, with the labels of --num_labels and --data_seed."""
    return load_dataset(
        FLAGS.dataset,
        FLAGS.data_dir,
        cache_dir=FLAGS.cache_dir,
        num_labels=settings.labels_wanted(),
        num_extra_unlabeled=FLAGS.num_extra_unlabeled,
        phase=FLAGS.phase,
        num_validation=FLAGS.num_validation,
        data_seed=FLAGS.data_seed,
        image_size=int(FLAGS.image_size),
        report=report,
    )


def batches(data: Dataset, first_step: int) -> tf.data.Dataset:
    """Returns the training batches from step `first_step` on."""
    return training_batches(
        data.images,
        data.labels,
        data.labeled,
        batch_size=FLAGS.batch_size,
        labeled_per_batch=settings.labeled_per_batch(),
        seed=FLAGS.seed,
        first_step=first_step,
        with_examples=FLAGS.method == "temporal_ensembling",
    )


def build_model(data: Dataset) -> keras_mt.MeanTeacher:
    """Builds student, teacher and optimizer, compiled and with initial weights from the first batch."""
    keras.utils.set_random_seed(FLAGS.seed)
    statistics = _whitening(data)
    student, teacher = (
        _network(data, dropout, statistics) for dropout in (FLAGS.student_dropout, FLAGS.teacher_dropout)
    )
    first_images, _ = next(iter(batches(data, 0)))
    keras_mt.layers.initialize_from_batch(student, tf.nest.flatten(first_images)[0])
    model = keras_mt.MeanTeacher(
        student,
        teacher,
        method=FLAGS.method,
        consistency=FLAGS.consistency_trust,
        consistency_on_labeled=FLAGS.consistency_on_labeled,
        logit_distance_weight=FLAGS.logit_distance_weight,
        teacher_statistics=FLAGS.teacher_statistics,
        seed=FLAGS.seed,
        num_examples=len(data.images),
        ensembling_momentum=FLAGS.ensembling_momentum,
    )
    model.compile(optimizer=_optimizer(), jit_compile=settings.jit_compile())
    model.optimizer.build(model.trainable_variables)
    return model


def mean_teacher_callback() -> keras_mt.MeanTeacherCallback:
    """Returns the callback that sets the schedules of the flags."""
    return keras_mt.MeanTeacherCallback(
        consistency_weight=FLAGS.max_consistency_weight,
        rampup_steps=FLAGS.rampup_steps,
        ema_decay=FLAGS.ema_decay_after_rampup,
        ema_decay_during_rampup=FLAGS.ema_decay_during_rampup,
        ema_warmup=FLAGS.ema_warmup,
        verbose=False,
    )


def checkpoints(folder: Path, model: keras_mt.MeanTeacher) -> Checkpoints:
    """Returns the checkpoints of a run, which are still to be restored."""
    return Checkpoints(
        folder,
        model,
        settings.of_the_experiment(),
        _in_force,
        settings.checkpoint_steps(),
        FLAGS.evaluation_steps,
        FLAGS.training_steps,
    )


def _in_force(step):
    before = step - 1  # Schedules count from 0.
    weight = mean_teacher_callback().consistency_weight(before)
    return f"learning rate {float(_learning_rate()(before)):g}, consistency weight {float(weight):g}"


def _learning_rate():
    return keras_mt.schedules.RampUpDown(
        FLAGS.max_learning_rate, FLAGS.rampup_steps, FLAGS.rampdown_steps, FLAGS.training_steps
    )


def _optimizer():
    schedules = keras_mt.schedules
    beta_2 = FLAGS.adam_beta_2_during_rampup, FLAGS.adam_beta_2_after_rampup
    return keras_mt.optimizers.ScheduledAdam(
        learning_rate=_learning_rate(),
        beta_1=schedules.RampedBeta1(FLAGS.rampdown_steps, FLAGS.training_steps),
        beta_2=schedules.StepSwitch(*beta_2, FLAGS.rampup_steps),
    )


def _preprocessing_kind():
    if FLAGS.preprocessing == "auto":
        return "zca" if FLAGS.dataset == "cifar10" else "standardize"
    return FLAGS.preprocessing


def _whitening(data):
    if _preprocessing_kind() == "zca":
        numbers = data.images[0].size
        if numbers > _LARGEST_ZCA:
            raise UsageError(
                f"--preprocessing=zca needs a matrix of {numbers}×{numbers} numbers for images of {numbers}; up to "
                f"{_LARGEST_ZCA} are allowed"
            )
        return cached_zca(data.images, os.path.expanduser(FLAGS.cache_dir))
    return None


def _network(data, dropout, whitening):
    kind = _preprocessing_kind()
    preprocessing = ()
    shape = data.images.shape[1:]
    if FLAGS.translate >= min(shape[:2]):
        raise UsageError(f"--translate={FLAGS.translate} must be below the image size {shape[0]}×{shape[1]}")
    if kind == "standardize":
        preprocessing = (keras_mt.layers.ImageStandardization(dtype="float32"),)
    elif kind == "zca":
        preprocessing = (
            keras_mt.layers.GlobalContrastNormalization(dtype="float32"),
            keras_mt.layers.ZCAWhitening(dtype="float32"),
        )
    try:
        network = ARCHITECTURES[FLAGS.architecture](
            shape,
            len(data.class_names),
            num_heads=FLAGS.num_heads,
            width=FLAGS.width,
            dropout=dropout,
            input_noise=FLAGS.input_noise,
            translate=FLAGS.translate,
            flip=FLAGS.flip,
            preprocessing=preprocessing,
            mean_momentum=FLAGS.mean_momentum,
            dtype=_DTYPES[FLAGS.precision],
        )
    except ValueError as error:
        raise UsageError(
            f"--architecture={FLAGS.architecture} can't take --dataset={FLAGS.dataset}: {error}"
        ) from error
    if kind == "zca":
        preprocessing[1].set_weights(whitening)
    return network
