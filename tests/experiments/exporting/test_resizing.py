"""Pixels of any size become what `predict` makes of a picture, within one graph that ONNX and LiteRT have too."""

import numpy as np
import pytest
import tensorflow as tf

from keras_mt.experiments.datasets.image_views import plain_view
from keras_mt.experiments.exporting.resizing import FittedPixels, gray

SIZES = [(1, 1), (1, 500), (3, 2000), (300, 7), (7, 9), (16, 40), (61, 16), (16, 17), (31, 32), (64, 64), (300, 200),
         (600, 901), (225, 224), (256, 256)]  # fmt: skip


@pytest.mark.parametrize("size", [16, 32, 224])
def test_pixels_are_resized_and_cropped_as_in_evaluations(size):
    random = np.random.default_rng(0)
    for height, width in SIZES:
        image = random.integers(0, 256, (height, width, 3)).astype("uint8")
        views = FittedPixels((size, size, 3))(np.stack([image, image[::-1]]))
        for view, one in zip(views, (image, image[::-1]), strict=True):
            # The places of samples are rounded: the more pixels, the more that is.
            np.testing.assert_allclose(view, plain_view(tf.constant(one), size), atol=0.01)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_of_the_own_size_is_taken_as_it_is(channels):
    image = np.random.default_rng(0).integers(0, 256, (2, 16, 16, channels)).astype("uint8")
    np.testing.assert_array_equal(FittedPixels((16, 16, channels))(image), image)


def test_gray_and_transparent_pictures_are_taken():
    image = np.random.default_rng(0).integers(0, 256, (1, 20, 30, 4)).astype("uint8")
    colors, grays = FittedPixels((16, 16, 3)), FittedPixels((16, 16, 1))
    np.testing.assert_array_equal(colors(image), colors(image[..., :3]))
    np.testing.assert_array_equal(colors(image[..., :2]), colors(image[..., :1]))
    np.testing.assert_allclose(colors(image[..., :1]), np.repeat(grays(image[..., :1]), 3, axis=-1), atol=1e-4)
    np.testing.assert_allclose(grays(image), gray(colors(image)), atol=1e-4)


def test_gray_stays_what_it_is():
    image = np.repeat(np.arange(256, dtype="float32").reshape(16, 16, 1), 3, axis=-1)
    np.testing.assert_allclose(gray(tf.constant(image)), image[..., :1], atol=2e-5)


def test_images_with_channels_first_are_refused():
    with pytest.raises(tf.errors.InvalidArgumentError):
        FittedPixels((16, 16, 3))(np.zeros((2, 3, 16, 16), "uint8"))


def test_the_heap_is_whole_after_many_pictures():
    # A product over broadcast axes wrote past the end of buffers: most processes crashed before this many.
    for count in range(60):
        FittedPixels((16, 16, 3))(np.full((2, 20, 30, 1 + count % 4), 77, "uint8"))
