"""From flags to data, network, optimizer and `MeanTeacher`."""

import contextlib
import functools
import math
import os
from collections.abc import Callable
from pathlib import Path

import keras
import tensorflow as tf

import keras_mt
from keras_mt.architectures import ARCHITECTURES
from keras_mt.data import Sampling
from keras_mt.distribution import distributed
from keras_mt.experiments.datasets.channels import channel_moments
from keras_mt.experiments.datasets.image_data import ImageData
from keras_mt.experiments.datasets.in_memory import load_in_memory
from keras_mt.experiments.datasets.streamed import is_streamed, load_streamed
from keras_mt.experiments.datasets.zca_cache import cached_zca
from keras_mt.experiments.errors import UsageError
from keras_mt.experiments.running import settings
from keras_mt.experiments.running.checkpoints import Checkpoints
from keras_mt.experiments.running.lengths import Lengths
from keras_mt.experiments.running.progress import report
from keras_mt.experiments.running.settings import FLAGS
from keras_mt.experiments.running.workers import Workers

_LARGEST_ZCA = 12_288  # 64×64 pixels in color: a matrix of 600 MB.
_DTYPES = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}


def load_data() -> ImageData:
    """Loads what --dataset names, with the labels of --num_labels and --data_seed, or of --labels_file."""
    common = {
        "cache_dir": FLAGS.cache_dir,
        "num_labels": settings.labels_wanted(),
        "phase": FLAGS.phase,
        "num_validation": FLAGS.num_validation,
        "data_seed": FLAGS.data_seed,
        "report": report,
    }
    if is_streamed(FLAGS.dataset, FLAGS.data_dir):
        size = settings.image_size(streamed=True)
        common |= {"image_size": size, "augmentation": FLAGS.augmentation, "labels_file": FLAGS.labels_file}
        return load_streamed(FLAGS.dataset, FLAGS.data_dir, **common)
    for name, default in (("augmentation", "network"), ("labels_file", None)):
        if getattr(FLAGS, name) != default:
            raise UsageError(
                f"--{name}={getattr(FLAGS, name)} needs images of any size (--dataset=folder or imagenet2012), not "
                f"--dataset={FLAGS.dataset}"
            )
    common |= {"image_size": settings.image_size(streamed=False), "num_extra_unlabeled": FLAGS.num_extra_unlabeled}
    return load_in_memory(FLAGS.dataset, FLAGS.data_dir, **common)


@contextlib.contextmanager
def broken_images_named(data: ImageData, step: Callable[[], int]):
    """Turns what TensorFlow says of an image that it can't read into a `DataError` that names it.

    Args:
        data: What is read from.
        step: Tells the number of the batch that was to come.
    """
    try:
        yield
    except tf.errors.OpError:
        data.find_broken(_sampling(), step())
        raise


def _sampling():
    return Sampling(FLAGS.batch_size, settings.labeled_per_batch(), FLAGS.seed, FLAGS.unlabeled_stream)


def batches(data: ImageData, first_step: int):
    """Returns the training batches from step `first_step` on, sharded as the active strategy asks for."""
    return distributed(functools.partial(_batches, data, first_step))


def _batches(data, first_step, **shards):
    with_examples = FLAGS.method == "temporal_ensembling"
    return data.training_batches(_sampling(), first_step=first_step, with_examples=with_examples, **shards)


def build_model(data: ImageData, lengths: Lengths) -> keras_mt.MeanTeacher:
    """Builds student, teacher and optimizer, compiled and with initial weights from the first batch."""
    keras.utils.set_random_seed(FLAGS.seed)
    statistics = _whitening(data)
    student, teacher = (
        _network(data, dropout, statistics) for dropout in (FLAGS.student_dropout, FLAGS.teacher_dropout)
    )
    if FLAGS.architecture == "convnet13":
        with broken_images_named(data, lambda: 0):
            first_images, _ = next(iter(_batches(data, 0)))
        keras_mt.layers.initialize_from_batch(student, tf.nest.flatten(first_images)[0])
    model = keras_mt.MeanTeacher(
        student,
        teacher,
        method=FLAGS.method,
        consistency=FLAGS.consistency_trust if FLAGS.consistency == "trust" else FLAGS.consistency,
        consistency_on_labeled=FLAGS.consistency_on_labeled,
        averaged_over=FLAGS.averaged_over,
        separate_passes=settings.labeled_per_batch() if FLAGS.separate_passes else None,
        logit_distance_weight=FLAGS.logit_distance_weight,
        logit_distance=keras_mt.losses.LogitDistance(FLAGS.logit_distance_over),
        teacher_statistics=FLAGS.teacher_statistics,
        two_views=data.num_views == 2,
        top5=FLAGS.top5_error,
        seed=FLAGS.seed,
        num_examples=data.num_examples,
        ensembling_momentum=FLAGS.ensembling_momentum,
    )
    model.compile(optimizer=_optimizer(lengths), jit_compile=settings.jit_compile())
    model.optimizer.build(model.trainable_variables)
    return model


def mean_teacher_callback(lengths: Lengths) -> keras_mt.MeanTeacherCallback:
    """Returns the callback that sets the schedules of the flags."""
    return keras_mt.MeanTeacherCallback(
        consistency_weight=FLAGS.max_consistency_weight,
        rampup_steps=lengths.rampup,
        ema_decay=FLAGS.ema_decay_after_rampup,
        ema_decay_during_rampup=FLAGS.ema_decay_during_rampup,
        ema_warmup=FLAGS.ema_warmup,
        rampup=FLAGS.consistency_rampup,
        verbose=False,
    )


def checkpoints(folder: Path, model: keras_mt.MeanTeacher, lengths: Lengths, workers: Workers) -> Checkpoints:
    """Returns the checkpoints of a run, which are still to be restored."""

    def in_force(step):
        before = step - 1  # Schedules count from 0.
        rate, weight = (
            float(schedule(before))
            for schedule in (_learning_rate(lengths), mean_teacher_callback(lengths).consistency_weight)
        )
        return f"learning rate {rate:g}, consistency weight {weight:g}"

    return Checkpoints(
        folder,
        model,
        settings.of_the_experiment(),
        in_force,
        settings.checkpoint_steps(),
        FLAGS.evaluation_steps,
        lengths.training,
        workers,
    )


def _learning_rate(lengths):
    schedules, rate = keras_mt.schedules, FLAGS.max_learning_rate
    if FLAGS.learning_rate_schedule == "cosine":
        return schedules.WarmUpCosine(rate, lengths.cosine, lengths.learning_rate_rampup, FLAGS.initial_learning_rate)
    if FLAGS.learning_rate_schedule == "seven_sixteenths_cosine":
        return schedules.SevenSixteenthsCosine(rate, lengths.training)
    return schedules.RampUpDown(rate, lengths.rampup, lengths.rampdown, lengths.training)


def _optimizer(lengths):
    schedules, rate = keras_mt.schedules, _learning_rate(lengths)
    if FLAGS.optimizer == "sgd":
        decay = FLAGS.weight_decay, FLAGS.weight_decay_on
        return keras_mt.optimizers.NesterovSGD(rate, FLAGS.sgd_momentum, *decay)
    beta_2 = FLAGS.adam_beta_2_during_rampup, FLAGS.adam_beta_2_after_rampup
    return keras_mt.optimizers.ScheduledAdam(
        learning_rate=rate,
        beta_1=schedules.RampedBeta1(lengths.rampdown, lengths.training),
        beta_2=schedules.StepSwitch(*beta_2, lengths.rampup),
    )


def _preprocessing_kind():
    if FLAGS.preprocessing == "auto":
        if FLAGS.architecture != "convnet13":
            return "channels"
        return "zca" if FLAGS.dataset == "cifar10" else "standardize"
    return FLAGS.preprocessing


def _whitening(data):
    if _preprocessing_kind() == "zca":
        numbers = math.prod(data.image_shape)
        if data.images is None:
            raise UsageError(f"--preprocessing=zca needs images of one size in memory, not --dataset={FLAGS.dataset}")
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
    shape = data.image_shape
    if FLAGS.translate >= min(shape[:2]):
        raise UsageError(f"--translate={FLAGS.translate} must be below the image size {shape[0]}×{shape[1]}")
    if kind == "standardize":
        preprocessing = (keras_mt.layers.ImageStandardization(dtype="float32"),)
    elif kind == "zca":
        preprocessing = (
            keras_mt.layers.GlobalContrastNormalization(dtype="float32"),
            keras_mt.layers.ZCAWhitening(dtype="float32"),
        )
    elif kind == "channels":
        mean, variance = channel_moments(FLAGS.dataset, data.images)
        preprocessing = (keras.layers.Normalization(mean=mean, variance=variance, dtype="float32"),)
    own = {"dropout": dropout, "mean_momentum": FLAGS.mean_momentum}
    if FLAGS.architecture != "convnet13":
        own = {"blocks": settings.blocks()} if FLAGS.blocks else {}
    try:
        network = ARCHITECTURES[FLAGS.architecture](
            shape,
            len(data.class_names),
            num_heads=FLAGS.num_heads,
            width=FLAGS.width,
            input_noise=FLAGS.input_noise,
            translate=FLAGS.translate,
            flip=FLAGS.flip,
            preprocessing=preprocessing,
            synchronized=FLAGS.synchronized_statistics,
            dtype=_DTYPES[FLAGS.precision],
            **own,
        )
    except ValueError as error:
        raise UsageError(
            f"--architecture={FLAGS.architecture} can't take --dataset={FLAGS.dataset}: {error}"
        ) from error
    if kind == "zca":
        preprocessing[1].set_weights(whitening)
    return network
