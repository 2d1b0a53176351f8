import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mt.layers import Dropout, GaussianNoise, RandomHorizontalFlip, RandomPixelTranslation
from keras_mt.layers.random_translation import translate

LAYERS = [
    Dropout(0.3, seed=1),
    GaussianNoise(0.5, seed=1),
    RandomHorizontalFlip(seed=1),
    RandomPixelTranslation(2, seed=1),
]


def test_translation_equals_the_golden_values(golden):
    values = golden("translate")
    moved = translate(values["images"], values["vertical_offset"], values["horizontal_offset"])
    np.testing.assert_array_equal(moved, values["translated"])


def test_translation_is_uniform_over_whole_pixels_and_independent_on_each_axis():
    image = np.zeros((4000, 11, 11, 1), "float32")
    image[:, 5, 5] = 1.0
    moved = RandomPixelTranslation(2, seed=3)(image, training=True).numpy()[..., 0]
    counts = moved.sum(axis=0)[3:8, 3:8]
    assert counts.sum() == 4000
    # 25 places, 160 expected of each, standard deviation 12.4.
    assert counts.min() > 100
    assert counts.max() < 220


def test_dropout_keeps_the_mean_and_the_asked_for_share():
    output = Dropout(0.25, seed=3)(np.ones((100, 1000), "float32"), training=True).numpy()
    np.testing.assert_allclose((output == 0).mean(), 0.25, atol=0.01)
    np.testing.assert_allclose(np.unique(output), [0.0, 1 / 0.75], rtol=1e-6)


def test_gaussian_noise_is_normal_with_the_asked_for_deviation():
    noise = GaussianNoise(0.15, seed=3)(np.zeros((101, 1001), "float32"), training=True).numpy().ravel() / 0.15
    np.testing.assert_allclose(
        [noise.mean(), noise.std(), (noise**3).mean(), (noise**4).mean()], [0, 1, 0, 3], atol=0.05
    )
    assert np.isfinite(noise).all()
    assert abs(np.corrcoef(noise[:-1], noise[1:])[0, 1]) < 0.02


def test_half_of_the_images_are_mirrored_whole():
    images = np.random.default_rng(0).normal(size=(400, 5, 5, 2)).astype("float32")
    output = RandomHorizontalFlip(seed=2)(images, training=True).numpy()
    same = (output == images).all(axis=(1, 2, 3))
    mirrored = (output == images[:, :, ::-1]).all(axis=(1, 2, 3))
    assert (same ^ mirrored).all()
    assert 150 < mirrored.sum() < 250


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)
def test_noise_is_off_in_evaluation(layer):
    images = np.random.default_rng(0).normal(size=(8, 6, 6, 2)).astype("float32")
    np.testing.assert_array_equal(layer(images), images)
    assert (layer(images, training=True).numpy() != images).any()


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)
def test_draws_are_the_same_with_and_without_xla(layer):
    # Keras' own Dropout and GaussianNoise draw other numbers under XLA.
    images = np.random.default_rng(0).normal(size=(8, 6, 6, 2)).astype("float32")
    outputs = []
    for jit_compile in (False, True):
        again = type(layer).from_config(layer.get_config())
        outputs.append(tf.function(lambda x, again=again: again(x, training=True), jit_compile=jit_compile)(images))
    np.testing.assert_allclose(*outputs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)
def test_noise_layers_keep_the_compute_dtype(layer):
    config = {**layer.get_config(), "dtype": "mixed_bfloat16"}
    config["name"] = "again"
    output = type(layer).from_config(config)(tf.ones((2, 6, 6, 1)), training=True)
    assert output.dtype == tf.bfloat16


@pytest.mark.parametrize(
    "make",
    [lambda: Dropout(1.0), lambda: Dropout(-0.1), lambda: GaussianNoise(-1.0), lambda: RandomPixelTranslation(-1)],
)
def test_bad_arguments_are_named(make):
    with pytest.raises(ValueError, match="Received"):
        make()


def test_a_translation_beyond_the_image_is_refused():
    with pytest.raises(ValueError, match="max_pixels=4"):
        RandomPixelTranslation(4)(keras.Input((4, 4, 1)))
