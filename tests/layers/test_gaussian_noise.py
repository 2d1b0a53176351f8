import numpy as np

from keras_mt.layers import GaussianNoise


def test_gaussian_noise_is_normal_with_the_asked_for_deviation():
    noise = GaussianNoise(0.15, seed=3)(np.zeros((101, 1001), "float32"), training=True).numpy().ravel() / 0.15
    np.testing.assert_allclose(
        [noise.mean(), noise.std(), (noise**3).mean(), (noise**4).mean()], [0, 1, 0, 3], atol=0.05
    )
    assert np.isfinite(noise).all()
    assert abs(np.corrcoef(noise[:-1], noise[1:])[0, 1]) < 0.02
