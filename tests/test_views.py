"""Augmentation: what moves pictures is found, and what both networks share moves labels and images alike."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import keras_mt
from keras_mt.view_checks import mixes_examples, moves_pictures
from keras_mt.views import Augmentation, SharedAugmentation

SIZE, CLASSES = 12, 5
IMAGE = (SIZE, SIZE, 1)
NEAREST = {"fill_mode": "constant", "interpolation": "nearest"}


def labels_and_images(count=6):
    """Maps of -1 to 4, and images that hold the label plus 1: 0, which layers fill in, is unlabeled."""
    labels = np.random.default_rng(0).integers(-1, CLASSES, (count, SIZE, SIZE)).astype("int32")
    return labels, (labels + 1).astype("float32")[..., None]


MOVING = {
    "flips": lambda: layers.RandomFlip(),
    "turns": lambda: layers.RandomRotation(0.2, **NEAREST),
    "shifts": lambda: layers.RandomTranslation(0.3, 0.3, **NEAREST),
    "shifts by reflection": lambda: layers.RandomTranslation(0.3, 0.3, fill_mode="reflect", interpolation="nearest"),
    "zooms": lambda: layers.RandomZoom(0.3, **NEAREST),
    "shears": lambda: layers.RandomShear(0.3, 0.3, **NEAREST),
    "perspectives": lambda: layers.RandomPerspective(1.0, interpolation="nearest"),
    "crops": lambda: layers.RandomCrop(8, 8),
    "CutMix": lambda: layers.CutMix(),
    "a pipeline": lambda: layers.Pipeline([layers.RandomFlip(), layers.RandomTranslation(0.3, 0.3, **NEAREST)]),
    "a Sequential": lambda: keras.Sequential([layers.RandomFlip(), layers.RandomTranslation(0.3, 0.3, **NEAREST)]),
    "a Sequential with an Input": lambda: keras.Sequential(
        [keras.Input(IMAGE), layers.RandomFlip(), layers.RandomTranslation(0.3, 0.3, **NEAREST)]
    ),
}


IN_GRAPH = ("flips", "perspectives", "crops", "CutMix", "a pipeline")


@pytest.mark.parametrize(
    ("name", "in_graph"),
    [
        pytest.param(
            name,
            in_graph,
            id=f"{name}-{'graph' if in_graph else 'eager'}",
            marks=pytest.mark.slow if in_graph and name not in IN_GRAPH else (),
        )
        for name in MOVING
        for in_graph in (False, True)
    ],
)
def test_a_shared_layer_moves_maps_exactly_as_images(name, in_graph):
    labels, images = labels_and_images()
    shared = SharedAugmentation(MOVING[name](), seed=0, maps=[True])
    shared.check(IMAGE)
    call = tf.function(shared) if in_graph else shared
    moved = []
    for step in (0, 1):
        x, y = call(tf.constant(images), tf.constant(labels), tf.constant(step, "int64"))
        np.testing.assert_array_equal(np.asarray(x)[..., 0] - 1, y)
        assert y.dtype == "int32"
        moved.append(np.asarray(y))
    assert moved[0].shape != labels.shape or (moved[0] != labels).any()
    assert (moved[0] != moved[1]).any()  # A draw of its own for each step,
    again = call(tf.constant(images), tf.constant(labels), tf.constant(0, "int64"))[1]
    np.testing.assert_array_equal(again, moved[0])  # and the same for the same step.


@pytest.mark.parametrize("filled_with", [0.0, 1.0, 3.0, 255.0, -1.0])
def test_what_a_layer_fills_in_is_unlabeled_whatever_it_is(filled_with):
    labels = np.random.default_rng(0).integers(0, CLASSES, (6, SIZE, SIZE))
    images = 10.0 + labels.astype("float32")[..., None]
    layer = layers.RandomTranslation((0.3, 0.3), (0.3, 0.3), fill_value=filled_with, **NEAREST)
    x, y = SharedAugmentation(layer, 0, [True])(tf.constant(images), tf.constant(labels), tf.constant(0, "int64"))
    expected = np.where(np.asarray(x)[..., 0] == filled_with, -1, np.asarray(x)[..., 0] - 10)
    assert (expected == -1).mean() > 0.4
    np.testing.assert_array_equal(y, expected)


LABELS = {
    "with an axis": lambda y: y[..., None],
    "bytes": lambda y: np.maximum(y, 0).astype("uint8"),
    "booleans": lambda y: y > 2,
    "floats": lambda y: y.astype("float32"),
    "one-hot": lambda y: np.where(y[..., None] < 0, -1, np.eye(CLASSES, dtype="int32")[y]),
    "probabilities": lambda y: 0.9 * np.eye(CLASSES, dtype="float32")[y] + np.float32(0.1 / CLASSES),
}


@pytest.mark.parametrize("kind", LABELS)
def test_maps_of_any_form_are_moved_as_integer_maps_are(kind):
    labels, images = labels_and_images()
    of_kind = LABELS[kind](labels)
    shared = SharedAugmentation(layers.RandomFlip(), 0, [True])
    step = tf.constant(0, "int64")
    x, moved = shared(tf.constant(images), tf.constant(of_kind), step)
    expected = LABELS[kind](np.asarray(x)[..., 0].astype("int32") - 1)
    np.testing.assert_allclose(moved, expected.astype(moved.dtype.name), atol=1e-6)
    assert moved.shape == of_kind.shape
    assert (np.asarray(moved) != of_kind).any()


def test_several_maps_are_moved_alike_and_other_labels_stay():
    labels, images = labels_and_images()
    shared = SharedAugmentation(layers.RandomRotation(0.2, **NEAREST), 0, [True, False, True])
    one_hot = LABELS["one-hot"](labels)
    x, y = shared(
        tf.constant(images),
        {"edges": tf.constant(one_hot), "kind": tf.range(6), "parts": tf.constant(labels)},
        tf.constant(0, "int64"),
    )
    np.testing.assert_array_equal(y["parts"], np.asarray(x)[..., 0] - 1)
    np.testing.assert_array_equal(y["edges"], LABELS["one-hot"](np.asarray(y["parts"])))
    np.testing.assert_array_equal(y["kind"], np.arange(6))


REFUSED = {
    "noise": (lambda: layers.GaussianNoise(0.1), "which fails on these"),
    "noise in a pipeline": (lambda: layers.Pipeline([layers.RandomFlip(), layers.GaussianNoise(0.1)]), "which fails"),
    "grayscale": (lambda: layers.RandomGrayscale(1.0), "which fails on these"),
    # Keras clips the map to the range of the image's values, and draws another distortion for it.
    "elastic": (lambda: layers.RandomElasticTransform(1.0), "after which no pixel has its class"),
    # Keras 3.15 gives the map another transformation than the image.
    "RandAugment": (lambda: layers.RandAugment(value_range=(0, 1)), "to different places"),
    "AugMix": (lambda: layers.AugMix(value_range=(0, 1)), "mixes them"),
    "mixup": (lambda: layers.MixUp(), "which fails on these"),
}


@pytest.mark.filterwarnings("ignore:Layer 'pipeline")
@pytest.mark.parametrize("name", REFUSED)
def test_a_layer_that_can_not_move_maps_is_refused(name):
    make, sentence = REFUSED[name]
    with pytest.raises(ValueError, match=f"`shared_augmentation` must .*{sentence}"):
        SharedAugmentation(make(), 0, [True]).check((24, 24, 1))


@pytest.mark.parametrize(
    "layer", [layers.RandomBrightness(0.2), layers.RandomErasing(1.0), layers.RandomGaussianBlur()]
)
def test_a_shared_layer_of_colors_leaves_maps_alone(layer):
    labels, images = labels_and_images()
    shared = SharedAugmentation(layer, 0, [True])
    shared.check(IMAGE)
    np.testing.assert_array_equal(shared(tf.constant(images), tf.constant(labels), tf.constant(0, "int64"))[1], labels)


def unet(outputs=CLASSES, size=SIZE, **arguments):
    inputs = keras.Input((size, size, 1))
    return keras.Model(inputs, layers.Conv2D(outputs, 1, **arguments)(inputs))


@pytest.mark.parametrize("form", ["layer", "function", "function with seed"])
def test_both_networks_and_the_labels_see_the_same_movement(form):
    seen = []

    class Seen(layers.Layer):
        def call(self, x):
            tf.numpy_function(lambda value: seen.append(value), [x], [])
            return x

    def flip(x, y):
        return x[:, :, ::-1], y[:, :, ::-1]

    def flip_by_seed(x, y, seed):
        places = tf.random.stateless_uniform([tf.shape(x)[0], 1, 1], seed) < 0.5
        return tf.where(places[..., None], x[:, :, ::-1], x), tf.where(places, y[:, :, ::-1], y)

    inputs = keras.Input(IMAGE)
    student = keras.Model(inputs, layers.Conv2D(CLASSES, 1)(Seen()(inputs)))
    shared = {"layer": layers.RandomFlip(), "function": flip, "function with seed": flip_by_seed}[form]
    gotten = []

    def loss(y_true, y_pred):
        tf.numpy_function(lambda value: gotten.append(value), [y_true], [])
        return tf.reduce_mean(tf.square(y_pred))

    model = keras_mt.MeanTeacher(student, shared_augmentation=shared)
    model.compile(keras.optimizers.SGD(0.0), loss=loss)
    labels, images = labels_and_images()
    images, labels = images + 1, np.maximum(labels, 0)
    images[..., 0] = labels
    callback = keras_mt.MeanTeacherCallback(1.0, verbose=False)
    seen.clear()
    model.fit(images, labels, batch_size=6, shuffle=False, callbacks=[callback], verbose=0)
    first, second = seen[-2:]
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first[..., 0], gotten[-1])
    assert (first[..., 0] != labels).any()


STUDENTS = {
    "numbers a pixel": ({"outputs": 1}, {"task": "regression"}),
    "a smaller map": ({"strides": 2}, {}),
}


@pytest.mark.parametrize("name", STUDENTS)
def test_a_layer_is_refused_for_outputs_that_are_no_maps_of_the_image(name):
    network, arguments = STUDENTS[name]
    with pytest.raises(ValueError, match="maps of classes of the image's size.*give a function of"):
        keras_mt.MeanTeacher(unet(**network), shared_augmentation=layers.RandomFlip(), **arguments)


def test_mixing_is_refused_where_labels_would_stay():
    classifier = keras.Sequential([keras.Input(IMAGE), layers.Flatten(), layers.Dense(CLASSES)])
    for argument in ("augmentation", "shared_augmentation"):
        for layer in (layers.CutMix(), layers.MixUp()):
            with pytest.raises(ValueError, match=f"`{argument}` must not mix examples"):
                keras_mt.MeanTeacher(classifier, **{argument: layer})
    keras_mt.MeanTeacher(classifier, augmentation=layers.RandomFlip())
    keras_mt.MeanTeacher(unet(), shared_augmentation=layers.CutMix())


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


def in_a_structure(kind, shape, last):
    inputs = keras.Input(shape, name="image")
    return keras.Model({"image": inputs} if kind is dict else [inputs], last(inputs))


def of_parts(function):
    """The function on each tensor of a dict or a list, which fails on a tensor."""
    return lambda x: {k: function(v) for k, v in x.items()} if hasattr(x, "items") else [function(v) for v in [*x][:1]]


@pytest.mark.parametrize("kind", [dict, list])
@pytest.mark.parametrize(("shape", "last"), [((8, 8, 1), layers.Conv2D(2, 1)), ((6, 2), layers.Dense(3))])
def test_an_augmentation_of_one_input_in_a_structure_is_tried_on_the_structure(kind, shape, last):
    student = in_a_structure(kind, shape, last)
    with pytest.raises(ValueError, match="must not move pictures"):
        keras_mt.MeanTeacher(student, augmentation=of_parts(lambda x: tf.reverse(x, [1])))
    keras_mt.MeanTeacher(student, augmentation=of_parts(lambda x: x + 0.1))


def test_an_augmentation_of_one_input_in_a_dict_trains_or_is_refused():
    def student():
        return in_a_structure(dict, (8, 8, 1), keras.Sequential([layers.Flatten(), layers.Dense(2)]))

    def cost(augmentation, x, network, **shared):
        model = keras_mt.MeanTeacher(network, augmentation=augmentation, **shared)
        model.compile(keras.optimizers.SGD(0.0))
        callback = keras_mt.MeanTeacherCallback(1.0, verbose=False)
        return model.fit(x, y, verbose=0, callbacks=[callback]).history["classification_cost"][0]

    x, y = np.random.default_rng(0).normal(size=(4, 8, 8, 1)).astype("float32"), np.arange(4) % 2
    network = student()
    right = keras.losses.sparse_categorical_crossentropy(y, network(x + 0.5), from_logits=True)
    got = cost(of_parts(lambda v: v + 0.5), {"image": x}, network)
    np.testing.assert_allclose(got, np.mean(right), rtol=1e-5)
    with pytest.raises(ValueError, match="must not mix examples"):
        keras_mt.MeanTeacher(student(), augmentation=of_parts(lambda v: 0.5 * (v + tf.reverse(v, [0]))))
    with pytest.raises(ValueError, match="one in a dict or list.*fails on a dict of one tensor"):
        cost(layers.GaussianNoise(0.1), {"image": x}, student())


def test_a_shared_layer_moves_the_one_image_in_a_dict():
    (labels, images), step = map(tf.constant, labels_and_images()), tf.constant(0, "int64")
    augmentation = SharedAugmentation(layers.RandomFlip(), 0, [True])
    moved, maps = augmentation({"image": images}, labels, step)
    alone, expected = augmentation(images, labels, step)
    np.testing.assert_array_equal(moved["image"], alone)
    np.testing.assert_array_equal(maps, expected)
