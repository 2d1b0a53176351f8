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
