import numpy as np

from keras_mt.layers import Dropout


def test_dropout_keeps_the_mean_and_the_asked_for_share():
    output = Dropout(0.25, seed=3)(np.ones((100, 1000), "float32"), training=True).numpy()
    np.testing.assert_allclose((output == 0).mean(), 0.25, atol=0.01)
    np.testing.assert_allclose(np.unique(output), [0.0, 1 / 0.75], rtol=1e-6)
