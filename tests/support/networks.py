"""Networks and arrays that many tests share."""

import numpy as np

import keras_mt


def small_convnet(**kwargs):
    """The paper's network at a sixteenth of its width, on 12×12 images of 4 classes."""
    return keras_mt.architectures.convnet13((12, 12, 1), 4, width=1 / 16, **kwargs)


def quiet_convnet(**kwargs):
    """The same without any noise."""
    return small_convnet(dropout=0.0, input_noise=0.0, translate=0, **kwargs)


def values(variables):
    return [variable.numpy() for variable in variables]


def largest_difference(first, second):
    return max(np.abs(a - b).max() for a, b in zip(first, second, strict=True))


def count_trained(network):
    """Returns how many numbers of a network are trained."""
    return sum(int(np.prod(w.shape)) for w in network.trainable_weights)
