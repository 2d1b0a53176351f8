"""Segmentation as people do it: Dice and cross-entropy compiled, few labeled images in each batch, volumes too."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_mt
from keras_mt.data import two_stream


def dice_and_cross_entropy(labels, logits):
    labels = keras.ops.one_hot(keras.ops.cast(labels, "int32"), 2)
    probabilities = keras.ops.softmax(logits)
    axes = list(range(len(logits.shape) - 1))
    both, all_of = keras.ops.sum(labels * probabilities, axes), keras.ops.sum(labels + probabilities, axes)
    cross_entropy = keras.ops.categorical_crossentropy(labels, logits, from_logits=True)
    return keras.ops.mean(cross_entropy) + 1 - keras.ops.mean((2 * both + 1) / (all_of + 1))


def balls(count, axes, size=8):
    """Noisy images or volumes with a bright ball each, and which of their pixels it covers."""
    random = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(*[np.arange(size)] * axes, indexing="ij"))
    centers = random.uniform(2, size - 3, (count, axes))
    far = np.sqrt(((grid[None] - centers[(...,) + (None,) * axes]) ** 2).sum(axis=1))
    labels = (far < 2.5).astype("int32")
    return (labels + random.normal(0, 0.3, labels.shape)).astype("float32")[..., None], labels


def network(axes, size=8):
    convolution = {2: keras.layers.Conv2D, 3: keras.layers.Conv3D}[axes]
    return keras.Sequential(
        [
            keras.Input((*[size] * axes, 1)),
            convolution(8, 3, padding="same", activation="relu"),
            keras.layers.BatchNormalization(momentum=0.9),
            convolution(2, 1),
        ]
    )


def flipped(x, y, seed):
    """Flips along each axis, of images or volumes and their maps."""
    for axis in range(1, len(y.shape)):
        chosen = tf.random.stateless_uniform([tf.shape(x)[0]], seed + axis) < 0.5
        chosen = tf.reshape(chosen, [-1] + [1] * (len(y.shape) - 1))
        x, y = tf.where(chosen[..., None], tf.reverse(x, [axis]), x), tf.where(chosen, tf.reverse(y, [axis]), y)
    return x, y


@pytest.mark.parametrize("axes", [2, 3])
def test_two_labeled_and_two_unlabeled_images_a_batch_train_under_dice(axes):
    keras.utils.set_random_seed(0)
    x, labels = balls(40, axes)
    batches = two_stream((x[:6], labels[:6]), x[6:30], labeled_per_batch=2, batch_size=4)
    model = keras_mt.MeanTeacher(
        network(axes), shared_augmentation=flipped, augmentation=keras.layers.GaussianNoise(0.1)
    )
    model.compile(keras.optimizers.Adam(0.01), loss=dice_and_cross_entropy)
    callback = keras_mt.MeanTeacherCallback(2.0, rampup_steps=20, ema_decay=0.9, verbose=False)
    model.fit(batches, steps_per_epoch=60, callbacks=[callback], verbose=0)
    found, real = model.predict(x[30:], verbose=0).argmax(axis=-1) == 1, labels[30:] == 1
    assert (found & real).sum() / (found | real).sum() > 0.8


def test_what_a_shared_layer_fills_in_is_not_in_the_dice_of_labeled_positions():
    x, labels = balls(4, 2)
    seen = []

    def loss(y_true, y_pred):
        tf.numpy_function(lambda y: seen.append(y), [y_true], [])
        return dice_and_cross_entropy(y_true, y_pred)

    half = keras.layers.RandomTranslation((0.5, 0.5), 0.0, fill_mode="constant", interpolation="nearest")
    model = keras_mt.MeanTeacher(network(2), shared_augmentation=half)
    model.compile(keras.optimizers.SGD(0.01), loss=keras_mt.losses.LabeledPositions(loss))
    labels[2:] = -1
    callback = keras_mt.MeanTeacherCallback(1.0, verbose=False)
    model.fit(x, labels, batch_size=4, shuffle=False, callbacks=[callback], verbose=0)
    # Of two labeled images the lower halves, which hold what the upper ones held.
    np.testing.assert_array_equal(seen[-1], labels[:2, :4].ravel())


def test_a_plain_dice_of_partly_labeled_images_is_refused_with_the_way_out():
    x, labels = balls(4, 2)
    labels[0, 0] = -1
    model = keras_mt.MeanTeacher(network(2))
    model.compile("sgd", loss=dice_and_cross_entropy)
    with pytest.raises(ValueError, match="LabeledPositions"):
        model.fit(x, labels, callbacks=[keras_mt.MeanTeacherCallback(1.0, verbose=False)], verbose=0)


# Metrics ------------------------------------------------------------------------------------------------------------


def dice_of_each_image(y_true, y_pred):
    y_true, y_pred = tf.cast(y_true, "float32"), tf.sigmoid(y_pred)
    return 2 * tf.reduce_sum(y_true * y_pred, (1, 2, 3)) / tf.reduce_sum(y_true + y_pred, (1, 2, 3))


def dice_of_a_batch(y_true, y_pred):
    y_true, y_pred = tf.one_hot(tf.cast(y_true, "int32"), 3), tf.nn.softmax(y_pred)
    return 2 * tf.reduce_sum(y_true * y_pred) / tf.reduce_sum(y_true + y_pred)


def right_pixels(y_true, y_pred):
    return tf.cast(tf.cast(y_true, "int64") == tf.argmax(y_pred, axis=-1), "float32")


class WithoutWeights(keras.metrics.Metric):
    """Counts each position that it is given."""

    def __init__(self, name="own"):
        super().__init__(name=name)
        self.right, self.of = (self.add_variable((), "zeros", name=part) for part in ("right", "of"))

    def update_state(self, y_true, y_pred, sample_weight=None):
        weight = tf.ones_like(right_pixels(y_true, y_pred)) if sample_weight is None else sample_weight
        self.right.assign_add(tf.reduce_sum(weight * right_pixels(y_true, y_pred)))
        self.of.assign_add(tf.reduce_sum(weight))

    def result(self):
        return self.right / self.of


class IgnoresWeights(WithoutWeights):
    def update_state(self, y_true, y_pred, sample_weight=None):
        super().update_state(y_true, y_pred)


class MakesItsVariablesLate(WithoutWeights):
    def __init__(self, name="own"):
        keras.metrics.Metric.__init__(self, name=name)

    def update_state(self, y_true, y_pred, sample_weight=None):
        if not self.variables:
            self.right, self.of = (self.add_variable((), "zeros", name=part) for part in ("right", "of"))
        super().update_state(y_true, y_pred, sample_weight)


def measured(make, labels, sample_weight=None, jit_compile=False):
    """What a metric is in `evaluate`, and what it is by itself of the images that are labeled."""
    yes_or_no = labels.shape[-1] == 1
    images = np.random.default_rng(0).normal(size=(*labels.shape[:3], 2)).astype("float32")
    student = keras.Sequential(
        [keras.Input((4, 4, 2)), keras.layers.Conv2D(1 if yes_or_no else 3, 3, padding="same", use_bias=False)]
    )
    model = keras_mt.MeanTeacher(student, task="multilabel" if yes_or_no else "multiclass", method="supervised")
    argument = "metrics" if sample_weight is None else "weighted_metrics"
    model.compile("sgd", jit_compile=jit_compile, **{argument: [make()]})
    got = model.evaluate(images, labels, sample_weight=sample_weight, verbose=0, return_dict=True)
    metric = make() if isinstance(make(), keras.metrics.Metric) else keras.metrics.MeanMetricWrapper(make())
    whole = (labels >= 0).reshape(len(labels), -1).all(axis=1)
    weights = {} if sample_weight is None else {"sample_weight": sample_weight[whole]}
    metric.update_state(labels[whole], student(images[whole]), **weights)
    (value,) = (got[name] for name in got if name not in ("loss", "student_loss") and "error" not in name)
    return value, float(metric.result())


OF_EXAMPLES = {
    "image": (lambda: dice_of_each_image, (4, 4, 1)),
    "batch": (lambda: dice_of_a_batch, (4, 4)),
    "class": (IgnoresWeights, (4, 4)),
}
OF_POSITIONS = {
    "function": lambda: right_pixels, "class": WithoutWeights, "late": MakesItsVariablesLate,
    "Keras": lambda: keras.metrics.SparseCategoricalAccuracy(name="own"),
}  # fmt: skip


def maps_of_classes(*shape):
    labels = np.random.default_rng(1).integers(0, 2 if shape[-1] == 1 else 3, (6, *shape))
    labels[4:] = -1
    return labels


@pytest.mark.parametrize("kind", OF_EXAMPLES)
def test_a_metric_of_images_or_batches_is_that_of_the_images_that_are_labeled_throughout(kind):
    make, shape = OF_EXAMPLES[kind]
    got, right = measured(make, maps_of_classes(*shape))
    assert got == pytest.approx(right, rel=1e-5)


def test_a_metric_of_each_image_is_weighed_by_the_image():
    got, right = measured(lambda: dice_of_each_image, maps_of_classes(4, 4, 1), np.arange(1.0, 7.0))
    assert got == pytest.approx(right, rel=1e-5)


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("kind", OF_EXAMPLES)
def test_a_metric_of_images_or_batches_refuses_images_that_are_labeled_in_part(kind, jit_compile):
    make, shape = OF_EXAMPLES[kind]
    labels = maps_of_classes(*shape)
    labels[0, 0] = -1
    with pytest.raises(ValueError, match="ignores weights of positions inside of an example"):
        measured(make, labels, jit_compile=jit_compile)


@pytest.mark.parametrize("kind", OF_POSITIONS)
def test_a_metric_of_positions_is_that_of_the_positions_that_are_labeled(kind):
    labels = maps_of_classes(4, 4)
    labels[:4, :2] = -1  # As many in each image, so that a mean over images is one over positions.
    images = np.random.default_rng(0).normal(size=(6, 4, 4, 2)).astype("float32")
    student = keras.Sequential([keras.Input((4, 4, 2)), keras.layers.Conv2D(3, 3, padding="same")])
    model = keras_mt.MeanTeacher(student, method="supervised")
    model.compile("sgd", metrics=[OF_POSITIONS[kind]()])
    got = model.evaluate(images, labels, verbose=0, return_dict=True)
    right = np.mean(student(images[:4, ...]).numpy().argmax(axis=-1)[:, 2:] == labels[:4, 2:])
    assert got["right_pixels" if kind == "function" else "own"] == pytest.approx(right, rel=1e-5)
