import keras
import numpy as np
import pytest
from support.networks import count_trained

from keras_mt.architectures import shake_shake26
from keras_mt.architectures.residual_layers import ResidualLayers
from keras_mt.architectures.shake_shake26 import shift_convolution


def test_shake_shake_has_the_papers_number_of_weights():
    assert count_trained(shake_shake26((32, 32, 3), 10)) == 26_197_316


def test_the_shift_convolution_equals_the_golden_values(golden):
    value = golden("residual")
    inputs = value["shift_conv/input_nhwc"]
    images = keras.Input(inputs.shape[1:])
    network = keras.Model(images, shift_convolution(ResidualLayers("float32"), images, 8))
    kernel = value["shift_conv/kernel_oihw"].transpose(2, 3, 1, 0)
    halves = [layer for layer in network.layers if isinstance(layer, keras.layers.Conv2D)]
    for layer, part in zip(halves, (slice(0, 4), slice(4, 8)), strict=True):
        layer.set_weights([kernel[..., part], value["shift_conv/bias"][part]])
    np.testing.assert_allclose(network(inputs, training=False), value["shift_conv/output_nhwc"], atol=1e-5)


@pytest.mark.parametrize("arguments", [{"input_shape": (30, 32, 3)}, {"input_shape": (8, 8, 3), "num_heads": 3}])
def test_bad_arguments_are_named(arguments):
    with pytest.raises(ValueError, match="Received"):
        shake_shake26(num_classes=4, **arguments)
