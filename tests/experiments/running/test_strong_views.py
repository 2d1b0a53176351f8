"""The student's strong view: drawn for each image, a function of (seed, step), of the rows that it is meant for."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mt.experiments.running.strong_views import RandAugmentEach, strong_view
from keras_mt.views import STRONG_STUDENT_VIEW, Augmentation

SHAPE = (16, 16, 3)


@pytest.fixture(scope="module")
def images():
    coarse = np.random.default_rng(0).uniform(30, 220, (1, 4, 4, 3)).astype("float32")
    one = tf.image.resize(coarse, SHAPE[:2])
    return tf.cast(tf.repeat(one, 24, axis=0), "uint8")


def view_of(layer, seed=0):
    augmentation = Augmentation(layer, seed, [(None, *SHAPE)])
    return tf.function(lambda x, step: augmentation(x, step=step, view=STRONG_STUDENT_VIEW))


def at(view, images, step):
    return view(images, tf.constant(step, "int64")).numpy()


@pytest.mark.parametrize("name", ["erasing", "randaugment"])
def test_it_is_a_function_of_seed_and_step_that_leaves_the_first_rows_as_they_are(name, images):
    views, again = (view_of(strong_view(name, SHAPE, num_plain=8)) for _ in range(2))
    first, second = at(views, images, 3), at(views, images, 4)
    np.testing.assert_array_equal(first, at(again, images, 3))  # Another layer, traced anew.
    np.testing.assert_array_equal(first, at(views, images, 3))
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(first[:8], images[:8].numpy())
    assert np.abs(first[8:] - images[8:].numpy().astype("float32")).max(axis=(1, 2, 3)).min() > 1
    assert first.min() >= 0
    assert first.max() <= 255


def test_operations_are_drawn_for_each_image_and_not_for_a_batch(images):
    """Of marks that tell which operations an image had: one pair a batch would leave one or two of them."""
    marks = [keras.layers.Rescaling(1.0, offset) for offset in (1.0, 16.0, 256.0)]
    changed = at(view_of(RandAugmentEach(marks)), images, 0) - images.numpy()
    per_image = changed[:, 0, 0, 0]
    assert {*per_image} <= {a + b for a in (0, 1, 16, 256) for b in (0, 1, 16, 256)}
    assert len({*per_image}) > 4
    np.testing.assert_array_equal(changed, np.broadcast_to(per_image[:, None, None, None], changed.shape))


def test_batches_that_leave_operations_without_an_image_are_augmented(images):
    view = view_of(strong_view("randaugment", SHAPE))
    for step in range(10):
        assert np.isfinite(at(view, images[:1], step)).all()


def test_another_seed_is_another_view(images):
    views = [at(view_of(strong_view("erasing", SHAPE), seed), images, 0) for seed in range(2)]
    assert not np.array_equal(*views)


def test_gray_images_have_no_operation_on_colors():
    gray = tf.cast(np.random.default_rng(0).uniform(0, 255, (8, 16, 16, 1)), "uint8")
    layer = strong_view("randaugment", (16, 16, 1))
    augmentation = Augmentation(layer, 0, [(None, 16, 16, 1)])
    assert augmentation(gray, step=tf.constant(0, "int64"), view=STRONG_STUDENT_VIEW).shape == (8, 16, 16, 1)
