"""Pictures of all kinds become the pixels that Pillow finds in them."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from support.pictures import all_kinds, encoded, no_pictures, smooth

from keras_mt.experiments.datasets.decoding import decoded
from keras_mt.experiments.datasets.labeled_folder import LabeledFolder
from keras_mt.experiments.exporting.pixels import pixels

_JPEG = 3  # Decoders of JPEG differ by so much.


@pytest.fixture(scope="module")
def in_graph():
    return tf.function(decoded, input_signature=[tf.TensorSpec((), tf.string)])


@pytest.mark.parametrize("name", all_kinds())
def test_a_picture_has_the_pixels_that_pillow_finds(name, in_graph):
    content = all_kinds()[name]
    image = decoded(tf.constant(content)).numpy()
    expected = pixels(io.BytesIO(content)).astype(int)
    assert image.dtype == np.uint8
    assert np.abs(image - expected).max() <= (_JPEG if content[:2] == b"\xff\xd8" else 0)
    np.testing.assert_array_equal(in_graph(content), image)


@pytest.mark.parametrize("name", no_pictures())
def test_what_is_no_picture_is_refused(name, in_graph):
    for function in (decoded, in_graph):
        with pytest.raises(tf.errors.InvalidArgumentError):
            function(tf.constant(no_pictures()[name]))


@pytest.mark.parametrize("alpha", [False, True])
def test_of_an_animated_webp_the_first_image_is_taken(alpha):
    first, second = (smooth(30, 41, seed).convert("RGBA" if alpha else "RGB") for seed in (0, 1))
    content = encoded(first, "WEBP", save_all=True, append_images=[second, first, second], lossless=True)
    np.testing.assert_array_equal(decoded(tf.constant(content)), np.asarray(first)[..., :3])


def test_a_bmp_with_a_palette_has_its_colors():
    image = smooth(20, 30, 0).quantize(7)
    expected = np.asarray(image.convert("RGB"))
    assert len(np.unique(expected.reshape(-1, 3), axis=0)) == 7
    np.testing.assert_array_equal(decoded(tf.constant(encoded(image, "BMP"))), expected)


def test_of_16_bits_the_upper_8_are_taken_by_both():
    values = np.arange(2**16, dtype="uint16").reshape(256, 256)
    content = encoded(Image.fromarray(values), "PNG")
    np.testing.assert_array_equal(decoded(tf.constant(content))[..., 0], values >> 8)
    np.testing.assert_array_equal(pixels(io.BytesIO(content))[..., 0], values >> 8)


def test_a_folder_of_all_kinds_is_read_as_they_are_read_alone(tmp_path):
    for name, content in all_kinds().items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "labels.csv").write_text("color.jpg,a\ngray.png,b\n")
    ranges, _ = LabeledFolder(str(tmp_path), str(tmp_path / "labels.csv")).read("train")
    assert sorted(ranges.names) == sorted(all_kinds())
    images = ranges.images(tf.data.Dataset.range(len(ranges)).map(lambda index: (index, index)))
    for image, index in images:
        np.testing.assert_array_equal(image, decoded(tf.constant(all_kinds()[ranges.names[int(index)]])))
