"""What moves pictures or mixes examples is found by trying it, and refused where labels would stay."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import keras_mt
from keras_mt.view_checks import mixes_examples, moves_pictures
from keras_mt.views import Augmentation

IMAGE, CLASSES = (12, 12, 1), 5


def noise(x):
    return x + tf.random.normal(tf.shape(x), stddev=0.3)


def sometimes_mirrored(x):
    return tf.where(tf.random.uniform([tf.shape(x)[0]] + [1] * (len(x.shape) - 1)) < 0.5, tf.reverse(x, [1]), x)


def mirrored_by_seed(x, seed):
    places = tf.random.stateless_uniform([tf.shape(x)[0]] + [1] * (len(x.shape) - 1), seed) < 0.5
    return tf.where(places, tf.reverse(x, [1]), x)


MOVES = {
    "a flip": layers.RandomFlip,
    "a small turn": lambda: layers.RandomRotation(0.05),
    "a shift": lambda: layers.RandomTranslation(0.1, 0.1),
    "a zoom": lambda: layers.RandomZoom(0.2),
    "a crop": lambda: layers.RandomCrop(8, 8),
    "an elastic transform": lambda: layers.RandomElasticTransform(1.0, value_range=(0, 1)),
    "a flip in a Sequential": lambda: keras.Sequential([layers.GaussianNoise(0.1), layers.RandomFlip()]),
    "a flip in a pipeline": lambda: layers.Pipeline([layers.RandomFlip(), layers.GaussianNoise(0.1)]),
    "a function that mirrors": lambda: lambda x: x[:, ::-1],
    "a function that mirrors at random": lambda: sometimes_mirrored,
    "one under noise": lambda: lambda x: noise(sometimes_mirrored(x)),
    "one by seed": lambda: mirrored_by_seed,
    "a roll": lambda: lambda x: tf.roll(x, tf.random.uniform((), 1, 3, "int32"), 1),
    "a flip drawn by Keras": lambda: (
        lambda x: keras.ops.where(keras.random.uniform((keras.ops.shape(x)[0], 1, 1, 1)) < 0.5, keras.ops.flip(x, 2), x)
    ),
}
STAYS = {
    "noise": lambda: layers.GaussianNoise(0.3),
    "dropout": lambda: layers.Dropout(0.3),
    "brightness": lambda: layers.RandomBrightness(0.3, value_range=(0, 1)),
    "brightness of bytes": lambda: layers.RandomBrightness(0.3),
    "contrast": lambda: layers.RandomContrast(0.5, value_range=(0, 1)),
    "blur": lambda: layers.RandomGaussianBlur(1.0, value_range=(0, 1)),
    "erasing": lambda: layers.RandomErasing(1.0, value_range=(0, 1)),
    "inversion": lambda: layers.RandomInvert(0.5, value_range=(0, 1)),
    "rescaling": lambda: layers.Rescaling(2.0, -1.0),
    "a Sequential": lambda: keras.Sequential([layers.GaussianNoise(0.1), layers.RandomContrast(0.1)]),
    "a function of noise": lambda: noise,
    "clipped noise": lambda: lambda x: tf.clip_by_value(noise(x), 0, 1),
    "strong noise": lambda: lambda x: x + tf.random.normal(tf.shape(x), stddev=3.0),
    "noise by seed": lambda: lambda x, seed: x + tf.random.stateless_normal(tf.shape(x), seed),
    "noise of Keras": lambda: lambda x: x + 0.3 * keras.random.normal(keras.ops.shape(x)),
    "noise of NumPy": lambda: lambda x: x + np.random.normal(0, 0.3, x.shape[1:]).astype("float32"),
}


def moves(make, shape=IMAGE, axes=None):
    return moves_pictures(Augmentation(make(), 0, [(None, *shape)]), shape, axes)


@pytest.mark.filterwarnings("ignore:`build..` was called")
@pytest.mark.parametrize("name", MOVES)
def test_what_moves_pictures_is_found(name):
    assert moves(MOVES[name])


@pytest.mark.parametrize("name", STAYS)
def test_what_changes_values_in_place_is_not_taken_for_movement(name):
    assert not moves(STAYS[name])


@pytest.mark.parametrize("shape", [(16, 3), (6, 8, 8, 2)], ids=["sequence", "volume"])
def test_movement_is_found_in_sequences_and_volumes(shape):
    for make in (lambda: sometimes_mirrored, lambda: mirrored_by_seed, lambda: lambda x: tf.roll(x, 1, 1)):
        assert moves(make, shape)
    for make in (lambda: noise, lambda: layers.GaussianNoise(0.3)):
        assert not moves(make, shape)


def test_movement_along_an_axis_that_outputs_do_not_have_is_fine():
    """Spectrograms `[frames, bins, 1]` with labels of frames: pitch may be shifted, time may not."""
    assert moves(lambda: lambda x: tf.roll(x, 2, 1), axes=1)
    assert not moves(lambda: lambda x: tf.roll(x, 2, 2), axes=1)


def test_looking_leaves_the_random_state_of_the_program_alone():
    np.random.seed(3)
    expected = np.random.uniform()
    np.random.seed(3)
    moves(lambda: noise)
    assert np.random.uniform() == expected


def test_mixing_is_found():
    for layer, expected in ((layers.CutMix(), True), (layers.MixUp(), True), (layers.RandomFlip(), False)):
        assert mixes_examples(Augmentation(layer, 0, [(None, *IMAGE)]), IMAGE) is expected
    assert mixes_examples(Augmentation(lambda x: 0.5 * (x + tf.reverse(x, [0])), 0, []), IMAGE)
    assert not mixes_examples(Augmentation(noise, 0, []), IMAGE)


@pytest.mark.parametrize("axis", [1, 2])
def test_an_augmentation_that_moves_what_a_dense_output_labels_is_refused_in_the_constructor(axis):
    inputs = keras.Input((8, 6, 1))
    frames = keras.Model(inputs, layers.Dense(2)(layers.Reshape((8, 6))(inputs)))
    arguments = {"task": "multilabel", "augmentation": lambda x: tf.roll(x, 2, axis)}
    if axis == 2:
        keras_mt.MeanTeacher(frames, **arguments)
        return
    with pytest.raises(ValueError, match="must not move pictures.*Use `shared_augmentation`"):
        keras_mt.MeanTeacher(frames, **arguments)


def test_a_subclassed_students_augmentation_is_looked_at():
    class Network(keras.Model):
        def __init__(self, **arguments):
            super().__init__(**arguments)
            self.last = layers.Conv2D(CLASSES, 1)

        def call(self, x):
            return self.last(x)

    networks = [Network(), Network()]
    for network in networks:
        network(np.zeros((1, *IMAGE), "float32"))
    student, teacher = networks
    keras_mt.MeanTeacher(student, teacher=teacher, augmentation=layers.GaussianNoise(0.1))
    with pytest.raises(ValueError, match="must not move pictures"):
        keras_mt.MeanTeacher(student, teacher=teacher, augmentation=layers.RandomFlip())


@pytest.mark.parametrize("form", ["layer", "function"])
def test_an_augmentation_that_fails_on_whole_numbers_is_refused_with_what_to_do(form):
    def noise(x):
        return x + keras.random.normal(keras.ops.shape(x))

    layer = keras.layers.GaussianNoise(0.1) if form == "layer" else noise
    layers = keras.layers.Rescaling(1 / 255), keras.layers.Flatten(), keras.layers.Dense(3)
    model = keras_mt.MeanTeacher(keras.Sequential([keras.Input((6, 6, 1), dtype="uint8"), *layers]), augmentation=layer)
    model.compile("sgd")
    images, labels = np.zeros((8, 6, 6, 1), "uint8"), np.arange(8) % 3
    callback = keras_mt.MeanTeacherCallback(1.0, verbose=False)
    with pytest.raises(ValueError, match="of dtype uint8. Received: .* fails on them with TypeError. Make them float"):
        model.fit(images, labels, verbose=0, callbacks=[callback])
