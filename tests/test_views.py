"""Augmentation: what moves pictures is found, and what both networks share moves labels and images alike."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import keras_mt
from keras_mt.views import SharedAugmentation

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
