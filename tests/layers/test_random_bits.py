import keras
import numpy as np

from keras_mt.layers.random_bits import random_chances, random_integers, random_normals, random_uniforms


def generator():
    return keras.random.SeedGenerator(1)


def test_integers_are_uniform_from_the_minimum_to_the_maximum():
    values, counts = np.unique(random_integers([6000], -2, 3, generator()), return_counts=True)
    np.testing.assert_array_equal(values, [-2, -1, 0, 1, 2, 3])
    assert np.abs(counts - 1000).max() < 150  # Five standard deviations of 29.


def test_uniforms_lie_strictly_between_0_and_1():
    values = random_uniforms([100_000], generator()).numpy()
    assert 0.0 < values.min() < 1e-3
    assert 1.0 - 1e-3 < values.max() < 1.0
    np.testing.assert_allclose([values.mean(), values.std()], [0.5, 12**-0.5], atol=0.005)


def test_normals_have_the_asked_for_shape_also_of_an_odd_number():
    assert random_normals([3, 5, 7], generator()).shape == (3, 5, 7)


def test_chances_are_exact_at_the_ends_of_what_16_bits_hold():
    assert not random_chances([100_000], 0.0, generator()).numpy().any()
    assert random_chances([100_000], 1.0, generator()).numpy().mean() > 0.9999


def test_successive_draws_differ():
    seeds = generator()
    assert (random_uniforms([10], seeds).numpy() != random_uniforms([10], seeds).numpy()).all()
