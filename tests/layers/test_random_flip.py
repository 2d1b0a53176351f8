import numpy as np

from keras_mt.layers import RandomHorizontalFlip


def test_half_of_the_images_are_mirrored_whole():
    images = np.random.default_rng(0).normal(size=(400, 5, 5, 2)).astype("float32")
    output = RandomHorizontalFlip(seed=2)(images, training=True).numpy()
    same = (output == images).all(axis=(1, 2, 3))
    mirrored = (output == images[:, :, ::-1]).all(axis=(1, 2, 3))
    assert (same ^ mirrored).all()
    assert 150 < mirrored.sum() < 250
