"""A network of two convolutions with the layers of convnet13."""

import keras

from keras_mt.architectures.ends import disturbed_images, network
from keras_mt.layers import Dropout, WeightNormalizedConv2D, WeightNormalizedDense


def small_network(
    input_shape, num_classes, *, num_heads, dropout, input_noise, translate, flip, preprocessing, mean_momentum,
    synchronized, dtype, width,
) -> keras.Model:  # fmt: skip
    """Returns a network as `keras_mt.architectures.convnet13` does, with the same arguments."""
    own = {"momentum": mean_momentum, "synchronized": synchronized}

    def head(name):
        return WeightNormalizedDense(num_classes, dtype="float32", name=name, **own)

    images, x = disturbed_images(
        input_shape, preprocessing=preprocessing, flip=flip, translate=translate, input_noise=input_noise
    )
    x = WeightNormalizedConv2D(8, 3, negative_slope=0.1, dtype=dtype, **own)(x)
    x = keras.layers.MaxPooling2D(2, dtype=dtype)(x)
    x = Dropout(dropout, dtype=dtype)(x)
    x = WeightNormalizedConv2D(16, 3, padding="valid", negative_slope=0.1, dtype=dtype, **own)(x)
    x = keras.layers.GlobalAveragePooling2D(dtype="float32")(x)
    return network(images, x, num_heads, head, "small_network")
