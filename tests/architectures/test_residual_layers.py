import keras
import numpy as np

from keras_mt.architectures.residual_layers import ResidualLayers


def test_a_stride_of_two_pads_both_sides():
    make = ResidualLayers("float32")
    images = keras.Input((6, 6, 1))
    network = keras.Model(images, make.convolution(images, 1, 3, 2))
    network.set_weights([np.ones((3, 3, 1, 1), "float32")])
    pixel = np.zeros((1, 6, 6, 1), "float32")
    pixel[0, 0, 0] = 1.0  # Seen by the output at (0, 0) only if rows -1 to 1 are.
    output = network(pixel).numpy()[0, :, :, 0]
    assert output.shape == (3, 3)
    assert output[0, 0] == 1.0
