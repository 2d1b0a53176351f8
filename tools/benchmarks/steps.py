"""Training steps of the same network, and what they are made of."""

import contextlib
import dataclasses
import os
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from keras import layers

import keras_mt
from benchmarks import pipeline, torch_worker
from benchmarks.machine import Size
from benchmarks.timing import ratio
from keras_mt import schedules
from keras_mt.architectures import convnet13
from keras_mt.averages import averaged_pairs, update_ema
from keras_mt.data.pipeline_options import without_tuning

_WEIGHT = schedules.RampUpDown(1.0, 40_000)
_DECAY = schedules.EMADecay(0.99, 0.999, 40_000)
_PASSES = 4  # Of a Mean Teacher step, in forward ones: teacher 1, student 1, and its gradient 2.


class Steps(contextlib.ExitStack):
    """The actions to compare, and the figures that follow from their times.

    Args:
        size: How large.
        with_bfloat16: Whether bfloat16 is measured too.
        torch: A Python that has PyTorch, if that takes part.
    """

    def __init__(self, size: Size, with_bfloat16: bool, torch: str | None):
        super().__init__()
        self.size = size
        data = _random_batches(size)
        narrow = dataclasses.replace(size, width=size.width / 4)
        float32, quarter = _mean_teacher(size), _mean_teacher(narrow)
        self.actions = {
            "mean_teacher": _training_step(float32, data),
            "supervised": _training_step(_supervised(size), data),
            "plain_keras": _training_step(_plain_keras(size), _all_labeled(data)),
            "mean_teacher_teacher_sees_unlabeled": _training_step(
                _mean_teacher(size, teacher_sees="unlabeled", consistency_on_labeled=False), data
            ),
            "mean_teacher_xla": _training_step(_mean_teacher(size, jit_compile=True), data),
            "mean_teacher_quarter_width": _training_step(quarter, data),
            "supervised_quarter_width": _training_step(_supervised(narrow), data),
            "average_and_ramps": _average_alone(float32),
            "evaluation_quarter_width": _evaluation(quarter, size.evaluated),
            "matrix_product": _matrix_product(size.matrix, "float32"),
        }
        if with_bfloat16:
            self.actions |= {
                "mean_teacher_bfloat16": _training_step(_mean_teacher(size, "mixed_bfloat16"), data),
                "supervised_bfloat16": _training_step(_supervised(size, "mixed_bfloat16"), data),
                "matrix_product_bfloat16": _matrix_product(size.matrix, "bfloat16"),
            }
        examples = {"73257": size.examples, "604388": size.examples_with_extra}
        for name, count in examples.items():
            self.actions[f"mean_teacher_{name}"] = _training_step(
                _mean_teacher(size), pipeline.batches(count, size.batch_size)
            )
        self.torch = None
        if torch:
            worker = torch_worker.TorchWorker(torch, size.batch_size, threads=len(os.sched_getaffinity(0)))
            self.enter_context(worker)
            self.torch = worker.version
            for suffix, compiled in (("", False), ("_compiled", True)):
                self.actions |= {
                    f"torch_mean_teacher{suffix}": worker.step_of(size.width, compiled=compiled),
                    f"torch_supervised{suffix}": worker.step_of(size.width, teacher=False, compiled=compiled),
                    f"torch_mean_teacher_quarter_width{suffix}": worker.step_of(narrow.width, compiled=compiled),
                }
                if with_bfloat16:
                    step = worker.step_of(size.width, bfloat16=True, compiled=compiled)
                    self.actions[f"torch_mean_teacher_bfloat16{suffix}"] = step
        self._forward_operations = _forward_operations(float32.student) * size.batch_size

    def figures(self, seconds: dict[str, list[float]]) -> dict[str, float]:
        """Returns the figures by their names in the JSON file."""
        figures = {
            "mean_teacher_over_supervised": ratio(seconds, "mean_teacher", "supervised"),
            "mean_teacher_teacher_sees_unlabeled_over_supervised": ratio(
                seconds, "mean_teacher_teacher_sees_unlabeled", "supervised"
            ),
            "ema_share_of_step": ratio(seconds, "average_and_ramps", "mean_teacher"),
            "xla_speedup": ratio(seconds, "mean_teacher", "mean_teacher_xla"),
            "step_time_604388_over_73257": ratio(seconds, "mean_teacher_604388", "mean_teacher_73257"),
            "mean_teacher_over_supervised_quarter_width": ratio(
                seconds, "mean_teacher_quarter_width", "supervised_quarter_width"
            ),
            "supervised_over_plain_keras": ratio(seconds, "supervised", "plain_keras"),
            "mean_teacher_over_plain_keras": ratio(seconds, "mean_teacher", "plain_keras"),
        }
        both = {
            "mean_teacher_over_supervised_bfloat16": ("mean_teacher_bfloat16", "supervised_bfloat16"),
            "bfloat16_speedup": ("mean_teacher", "mean_teacher_bfloat16"),
        }
        for name in ("mean_teacher", "supervised", "mean_teacher_quarter_width", "mean_teacher_bfloat16"):
            both[f"torch_over_keras_{name}"] = (f"torch_{name}", name)
            both[f"torch_compiled_over_keras_{name}"] = (f"torch_{name}_compiled", name)
        figures |= {name: ratio(seconds, *pair) for name, pair in both.items() if seconds.keys() >= set(pair)}
        step_rate = self.size.batch_size / float(np.median(seconds["mean_teacher_quarter_width"]))
        figures["images_per_second_quarter_width"] = step_rate
        operations = _PASSES * self._forward_operations
        figures["floating_point_operations_per_step"] = operations
        for suffix in [name.removeprefix("matrix_product") for name in seconds if name.startswith("matrix_product")]:
            peak = 2 * self.size.matrix**3 / float(np.median(seconds[f"matrix_product{suffix}"]))
            figures[f"matmul_operations_per_second{suffix}"] = peak
            step = operations / float(np.median(seconds[f"mean_teacher{suffix}"]))
            figures[f"share_of_matmul_peak{suffix}"] = step / peak
        return figures


def _random_batches(size):
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (size.batch_size, 32, 32, 3)).astype("uint8")
    labels = np.where(np.arange(size.batch_size) % 2, np.arange(size.batch_size) % 10, -1).astype("int32")
    return without_tuning(tf.data.Dataset.from_tensors((images, labels)).repeat())


def _all_labeled(data):
    return without_tuning(data.map(lambda x, y: (x, tf.maximum(y, 0))))


def _network(size, dtype):
    standardize = keras_mt.layers.ImageStandardization(dtype="float32")
    return convnet13((32, 32, 3), 10, width=size.width, preprocessing=(standardize,), dtype=dtype)


def _optimizer():
    return keras_mt.optimizers.ScheduledAdam(schedules.RampUpDown(0.003, 40_000))


def _mean_teacher(size, dtype="float32", jit_compile=False, **options):
    model = keras_mt.MeanTeacher(_network(size, dtype), **options)
    model.compile(_optimizer(), jit_compile=jit_compile)
    return model


def _supervised(size, dtype="float32"):
    model = _network(size, dtype)
    model.compile(_optimizer(), loss=keras_mt.losses.ClassificationCost(), jit_compile=False)
    return model


def _plain_keras(size):
    """The same network of Keras' own layers, supervised, without anything of this package."""
    x = inputs = keras.Input((32, 32, 3), dtype="uint8")
    x = layers.Rescaling(1 / 127.5, -1)(x)
    for blocks in (
        ((128, 3, "same"),) * 3,
        ((256, 3, "same"),) * 3,
        ((512, 3, "valid"), (256, 1, "same"), (128, 1, "same")),
    ):
        for filters, kernel, padding in blocks:
            x = layers.Conv2D(round(filters * size.width), kernel, padding=padding, use_bias=False)(x)
            x = layers.LeakyReLU(0.1)(layers.BatchNormalization()(x))
        if blocks[0][2] == "same":
            x = layers.Dropout(0.5)(layers.MaxPooling2D()(x))
    model = keras.Model(inputs, layers.Dense(10)(layers.GlobalAveragePooling2D()(x)))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.003), loss=loss, jit_compile=False)
    return model


def _training_step(model: keras.Model, data: tf.data.Dataset) -> Callable[[], float]:
    """Returns a function that does one step and waits for it, built as `fit` builds its own."""
    callbacks = []
    if isinstance(model, keras_mt.MeanTeacher):
        callbacks = [keras_mt.MeanTeacherCallback(1.0, 40_000, 0.999, 0.99, verbose=False)]
    model.fit(data, steps_per_epoch=1, verbose=0, callbacks=callbacks, shuffle=False)
    iterator = iter(data)
    return lambda: float(model.train_function(iterator)["loss"])


def _average_alone(model):
    """Returns a function that does what a step adds to its passes: ramps and average."""
    step = tf.Variable(0, dtype="int64")

    @tf.function
    def average():
        update_ema(averaged_pairs(model.student, model.teacher), {}, _DECAY(step))
        step.assign_add(1)
        return _WEIGHT(step)

    return lambda: float(average())


def _evaluation(model, count):
    images = np.zeros((count, 32, 32, 3), "uint8")
    data = keras_mt.data.batches.evaluation_batches(images, np.arange(count) % 10, batch_size=500)
    return lambda: model.evaluate(data, verbose=0)


def _matrix_product(size, dtype):
    left, right = (tf.cast(tf.random.normal((size, size)), dtype) for _ in range(2))
    product = tf.function(lambda: tf.matmul(left, right))
    return lambda: float(product()[0, 0])


def _forward_operations(network):
    """Multiplications and additions of one image's forward pass through the convolutions, from their shapes."""
    total = 0
    for layer in network.layers:
        if isinstance(layer, keras_mt.layers.WeightNormalizedConv2D):
            _, height, width, channels = layer.output.shape
            total += 2 * height * width * channels * int(np.prod(layer.v.shape[:3]))
    return total
