"""From a configuration to data, network, optimizer and `MeanTeacher`."""

import contextlib
import functools
import math
from collections.abc import Callable
from pathlib import Path

import keras
import tensorflow as tf

import keras_mt
from keras_mt.architectures import ARCHITECTURES
from keras_mt.data import Sampling
from keras_mt.distribution import distributed
from keras_mt.experiments import checks
from keras_mt.experiments.config import Config
from keras_mt.experiments.datasets.cache_folder import cache_folder
from keras_mt.experiments.datasets.channels import channel_moments
from keras_mt.experiments.datasets.image_data import ImageData
from keras_mt.experiments.datasets.in_memory import load_in_memory
from keras_mt.experiments.datasets.streamed import is_streamed, load_streamed
from keras_mt.experiments.datasets.zca_cache import cached_zca
from keras_mt.experiments.errors import UsageError
from keras_mt.experiments.preprocessing import preprocessing_of
from keras_mt.experiments.running.checkpoint_files import Identity
from keras_mt.experiments.running.checkpoints import Checkpoints
from keras_mt.experiments.running.domains import check_domains
from keras_mt.experiments.running.lengths import Lengths
from keras_mt.experiments.running.method_parts import consistency_of, mixing_of, perturbation_of, uncertainty_of
from keras_mt.experiments.running.progress import report
from keras_mt.experiments.running.strong_views import strong_view
from keras_mt.experiments.running.workers import Workers

_LARGEST_ZCA = 12_288  # 64×64 pixels in color: a matrix of 600 MB.
# What the library calls a value of --averaged_over.
REDUCTIONS = {"batch": "batch", "participants": "labeled"}
JIT_COMPILE = {"auto": "auto", "true": True, "false": False}
DTYPES = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}


def load_data(config: Config) -> ImageData:
    """Loads the data set of an experiment with its labels.

    Raises:
        UsageError: If the data set can't be used as it was asked.
    """
    common = {
        "cache_dir": config.cache_dir,
        "num_labels": config.labels,
        "phase": config.phase,
        "num_validation": config.num_validation,
        "data_seed": config.data_seed,
        "report": report,
    }
    if is_streamed(config.dataset, config.data_dir):
        common |= {"augmentation": config.augmentation, "labels_file": config.labels_file}
        data = load_streamed(config.dataset, config.data_dir, image_size=config.image_size or 224, **common)
        check_domains(config, data)
    else:
        checks.check_one_size(config)
        common |= {"num_extra_unlabeled": config.num_extra_unlabeled}
        data = load_in_memory(config.dataset, config.data_dir, image_size=config.image_size or 16, **common)
    if config.batch_size > data.num_examples:
        raise UsageError(f"--batch_size={config.batch_size} is above the {data.num_examples} training examples")
    if config.top5_error and len(data.class_names) < 6:
        raise UsageError(f"--top5_error needs at least 6 classes, not the {len(data.class_names)} of the data")
    return data


@contextlib.contextmanager
def broken_images_named(config: Config, data: ImageData, step: Callable[[], int]):
    """Turns what TensorFlow says of an image that it can't read into a `DataError` that names it.

    Args:
        config: The experiment.
        data: What is read from.
        step: Tells the number of the batch that was to come.
    """
    try:
        yield
    except tf.errors.OpError:
        data.find_broken(_sampling(config), step())
        raise


def _sampling(config):
    return Sampling(config.batch_size, config.labeled, config.seed, config.unlabeled_stream)


def batches(config: Config, data: ImageData, first_step: int):
    """Returns the training batches from step `first_step` on, sharded as the active strategy asks for."""
    return distributed(functools.partial(_batches, config, data, first_step))


def _batches(config, data, first_step, **shards):
    with_examples = config.method == "temporal_ensembling"
    return data.training_batches(_sampling(config), first_step=first_step, with_examples=with_examples, **shards)


def build_model(config: Config, data: ImageData, lengths: Lengths) -> keras_mt.MeanTeacher:
    """Builds student, teacher and optimizer, compiled and with initial weights from the first batch."""
    keras.utils.set_random_seed(config.seed)
    statistics = _whitening(config, data)
    student, teacher = (
        _network(config, data, dropout, statistics) for dropout in (config.student_dropout, config.teacher_dropout)
    )
    if config.architecture == "convnet13":
        with broken_images_named(config, data, lambda: 0):
            first_images, _ = next(iter(_batches(config, data, 0)))
        keras_mt.layers.initialize_from_batch(student, tf.nest.flatten(first_images)[0])
    try:
        model = _compiled(config, data, lengths, student, teacher)
    except ValueError as error:
        raise UsageError(f"such flags can't be combined: {error}") from error
    model.optimizer.build(model.trainable_variables)
    return model


def _compiled(config, data, lengths, student, teacher):
    model = keras_mt.MeanTeacher(
        student,
        teacher,
        method=config.method,
        consistency=consistency_of(config),
        consistency_on_labeled=config.consistency_on_labeled,
        reduction=REDUCTIONS[config.averaged_over],
        two_heads=config.num_heads == 2,
        separate_passes=config.labeled if config.separate_passes else None,
        logit_distance_weight=config.logit_distance_weight,
        logit_distance=keras_mt.losses.LogitDistance(config.logit_distance_over),
        teacher_statistics=config.teacher_statistics,
        two_views=data.num_views == 2,
        top5=config.top5_error,
        seed=config.seed,
        num_examples=data.num_examples,
        ensembling_momentum=config.ensembling_momentum,
        student_augmentation=strong_view(
            config.strong_augmentation, data.image_shape, 0 if config.strong_on_labeled else config.labeled
        ),
        mixing=mixing_of(config),
        perturbation=perturbation_of(config),
        uncertainty=uncertainty_of(config, lengths),
        class_balance=config.class_balance,
        statistics_of=config.statistics_of,
        teacher_sees=config.teacher_sees,
        second_ema_decay=config.second_ema_decay,
    )
    # XLA lacks the operation that rotates and shears.
    jit_compile = False if config.strong_augmentation == "randaugment" else JIT_COMPILE[config.jit_compile]
    model.compile(optimizer=_optimizer(config, lengths), jit_compile=jit_compile)
    return model


def mean_teacher_callback(config: Config, lengths: Lengths) -> keras_mt.MeanTeacherCallback:
    """Returns the callback that sets the schedules."""
    return keras_mt.MeanTeacherCallback(
        consistency_weight=config.max_consistency_weight,
        rampup_steps=lengths.rampup,
        ema_decay=config.ema_decay_after_rampup,
        ema_decay_during_rampup=config.ema_decay_during_rampup,
        ema_warmup=config.ema_warmup_power or config.ema_warmup,
        ema_every=config.ema_every,
        ema_start_step=config.ema_start_step,
        rampup=config.consistency_rampup,
        consistency_start_step=config.consistency_start_step,
        verbose=False,
    )


def checkpoints(
    config: Config, data: ImageData, folder: Path, model: keras_mt.MeanTeacher, lengths: Lengths, workers: Workers
) -> Checkpoints:
    """Returns the checkpoints of a run, which are still to be restored."""

    def active_schedules(step):
        before = step - 1  # Schedules count from 0.
        rate, weight = (
            float(schedule(before))
            for schedule in (learning_rate(config, lengths), mean_teacher_callback(config, lengths).consistency_weight)
        )
        return f"learning rate {rate:g}, consistency weight {weight:g}"

    return Checkpoints(
        folder,
        model,
        Identity(config.identity(), data.class_names, data.fingerprint(), lengths.training, data.details),
        active_schedules,
        config.steps_between_checkpoints,
        config.evaluation_steps,
        lengths.training,
        workers,
    )


def learning_rate(config: Config, lengths: Lengths) -> keras.optimizers.schedules.LearningRateSchedule:
    """Returns the learning rate as a function of the step, counted from 0."""
    schedules, rate = keras_mt.schedules, config.max_learning_rate
    if config.learning_rate_schedule == "cosine":
        return schedules.WarmUpCosine(rate, lengths.cosine, lengths.learning_rate_rampup, config.initial_learning_rate)
    if config.learning_rate_schedule == "seven_sixteenths_cosine":
        return schedules.SevenSixteenthsCosine(rate, lengths.training)
    return schedules.RampUpDown(rate, lengths.rampup, lengths.rampdown, lengths.training)


def _optimizer(config, lengths):
    schedules, rate = keras_mt.schedules, learning_rate(config, lengths)
    if config.optimizer == "sgd":
        decay = config.weight_decay, config.weight_decay_on
        return keras_mt.optimizers.NesterovSGD(rate, config.sgd_momentum, *decay)
    beta_2 = config.adam_beta_2_during_rampup, config.adam_beta_2_after_rampup
    return keras_mt.optimizers.ScheduledAdam(
        learning_rate=rate,
        beta_1=schedules.RampedBeta1(lengths.rampdown, lengths.training),
        beta_2=schedules.StepSwitch(*beta_2, lengths.rampup),
    )


def _whitening(config, data):
    if preprocessing_of(config.preprocessing, config.architecture, config.dataset_name) == "zca":
        numbers = math.prod(data.image_shape)
        if data.images is None:
            raise UsageError(f"--preprocessing=zca needs images of one size in memory, not --dataset={config.dataset}")
        if numbers > _LARGEST_ZCA:
            raise UsageError(
                f"--preprocessing=zca needs a matrix of {numbers}×{numbers} numbers for images of {numbers}; up to "
                f"{_LARGEST_ZCA} are allowed"
            )
        return cached_zca(data.images, cache_folder(config.cache_dir))
    return None


def _network(config, data, dropout, whitening):
    kind = preprocessing_of(config.preprocessing, config.architecture, config.dataset_name)
    preprocessing = ()
    shape = data.image_shape
    if config.translate >= min(shape[:2]):
        raise UsageError(f"--translate={config.translate} must be below the image size {shape[0]}×{shape[1]}")
    if kind == "standardize":
        preprocessing = (keras_mt.layers.ImageStandardization(dtype="float32"),)
    elif kind == "zca":
        preprocessing = (
            keras_mt.layers.GlobalContrastNormalization(dtype="float32"),
            keras_mt.layers.ZCAWhitening(dtype="float32"),
        )
    elif kind == "channels":
        mean, variance = channel_moments(config.dataset_name, data.images)
        preprocessing = (keras.layers.Normalization(mean=mean, variance=variance, dtype="float32"),)
    own = {"dropout": dropout, "mean_momentum": config.mean_momentum}
    if config.architecture != "convnet13":
        own = {"blocks": config.blocks_of_stages} if config.blocks else {}
    try:
        network = ARCHITECTURES[config.architecture](
            shape,
            len(data.class_names),
            num_heads=config.num_heads,
            width=config.width,
            input_noise=config.input_noise,
            translate=config.translate,
            flip=config.flip,
            preprocessing=preprocessing,
            synchronized=config.synchronized_statistics,
            dtype=DTYPES[config.precision],
            **own,
        )
    except ValueError as error:
        raise UsageError(
            f"--architecture={config.architecture} can't take --dataset={config.dataset}: {error}"
        ) from error
    if kind == "zca":
        preprocessing[1].set_weights(whitening)
    return network
