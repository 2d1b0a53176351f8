"""Networks and arrays that many tests share."""

import keras
import numpy as np

from keras_mt import layers

STATISTICS = 3  # Running means of `small_convnet` with one head.


def small_convnet(num_heads=1, dropout=0.5, input_noise=0.15, translate=2, dtype="float32"):
    """Each kind of layer of the paper's network in the paper's order, on 12×12 images of 4 classes.

    With all 13 layers each step that is traced takes seconds; the programs' tests train those.
    """
    x = images = keras.Input((12, 12, 1), name="images")
    if translate:
        x = layers.RandomPixelTranslation(translate, dtype="float32")(x)
    if input_noise:
        x = layers.GaussianNoise(input_noise, dtype="float32")(x)
    for filters in (8, 16):
        x = layers.WeightNormalizedConv2D(filters, 3, momentum=0.999, negative_slope=0.1, dtype=dtype)(x)
        x = keras.layers.MaxPooling2D(2, dtype=dtype)(x)
        x = layers.Dropout(dropout, dtype=dtype)(x)
    x = keras.layers.GlobalAveragePooling2D(dtype="float32")(x)
    heads = [
        layers.WeightNormalizedDense(4, momentum=0.999, dtype="float32", name=f"{name}_logits")(x)
        for name in ("classification", "consistency")[:num_heads]
    ]
    return keras.Model(images, heads if num_heads == 2 else heads[0])


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
