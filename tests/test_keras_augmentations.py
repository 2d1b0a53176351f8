"""What Keras' augmentation layers draw for a batch, as docs/methods.md says; under the seeds of a step."""

import re
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mt.view_checks import mixes_examples
from keras_mt.views import STUDENT_VIEW, TEACHER_VIEW, Augmentation

ROWS = 16
SHAPE = (12, 12, 3)
STRENGTHS = {
    "RandomFlip": (), "RandomTranslation": (0.3, 0.3), "RandomRotation": (0.2,), "RandomZoom": (0.3,),
    "RandomShear": (0.3, 0.3), "RandomPerspective": (1.0,), "RandomElasticTransform": (), "RandomErasing": (),
    "RandomBrightness": (0.5,), "RandomContrast": (0.5, (0, 255)),
    "RandomColorJitter": ((0, 255), 0.5, 0.5, (0.2, 0.8)),
    "RandomColorDegeneration": (0.8,), "RandomGrayscale": (), "RandomHue": (0.5,), "RandomSaturation": ((0.1, 0.9),),
    "RandomSharpness": (0.8,), "RandomPosterization": (4,), "Solarization": (0.5, 0.5), "RandomInvert": (0.5,),
}  # fmt: skip


@pytest.fixture(scope="module")
def copies():
    """One image in all rows: what differs afterwards was drawn for each of them."""
    coarse = np.random.default_rng(0).uniform(30, 220, (1, 4, 4, 3)).astype("float32")
    return tf.repeat(tf.image.resize(coarse, SHAPE[:2]), ROWS, axis=0)


def views(layer, copies, steps=(0, 1), view=STUDENT_VIEW):
    augmentation = Augmentation(layer, 7, [(None, *SHAPE)])
    return [augmentation(copies, step=tf.constant(step, "int64"), view=view).numpy() for step in steps]


def distinct(images):
    return len({image.tobytes() for image in images})


def test_the_page_names_these_layers():
    page = (Path(__file__).parents[1] / "docs" / "methods.md").read_text()
    (row,) = re.findall(r"^\| for each image \| (.*) \|$", page, re.MULTILINE)
    assert re.findall(r"`(\w+)`", row) == list(STRENGTHS)
    assert f"Keras {keras.__version__}" in page


@pytest.mark.parametrize("name", STRENGTHS)
def test_these_draw_for_each_image_and_are_a_function_of_step_and_view(copies, name):
    def make():
        return getattr(keras.layers, name)(*STRENGTHS[name])

    first, second = views(make(), copies)
    assert distinct(first) > 1
    np.testing.assert_array_equal(first, views(make(), copies, [0])[0])
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, views(make(), copies, [0], TEACHER_VIEW)[0])


def test_a_crop_has_one_place_a_batch_and_a_blur_one_strength(copies):
    for image in views(keras.layers.RandomCrop(8, 8), copies, range(4)):
        assert distinct(image) == 1
    for image in views(keras.layers.RandomGaussianBlur(1.0, 3, 1.0), copies, range(4)):
        assert distinct(image) <= 2  # Blurred or not.


def test_randaugment_draws_its_operations_once_a_batch(copies):
    layer = keras.layers.RandAugment(num_ops=2)
    assert layer.get_random_transformation(copies)["layer_idxes"].shape == (2,)


@pytest.mark.parametrize("layer", [keras.layers.MixUp(), keras.layers.CutMix()])
def test_layers_that_mix_examples_are_seen(layer):
    assert mixes_examples(Augmentation(layer, 0, [(None, *SHAPE)]), SHAPE)
