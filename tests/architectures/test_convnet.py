import keras
import numpy as np
import pytest

from keras_mt import layers
from keras_mt.architectures import convnet13


@pytest.mark.parametrize(("heads", "count"), [(1, 3_121_812), (2, 3_123_112)])
def test_the_papers_network_has_the_papers_number_of_weights(heads, count):
    network = convnet13((32, 32, 3), 10, num_heads=heads)
    assert sum(np.prod(w.shape) for w in network.trainable_weights) == count


@pytest.mark.parametrize("size", [(12, 12, 1), (28, 28, 1), (17, 40, 3), (32, 32, 3)])
def test_it_takes_images_from_12_pixels_on(size):
    network = convnet13(size, 7, width=1 / 16)
    assert network(np.zeros((2, *size), "uint8")).shape == (2, 7)


def test_smaller_images_are_refused():
    with pytest.raises(ValueError, match=r"12×12.*\(11, 32, 3\)"):
        convnet13((11, 32, 3), 10)


@pytest.mark.parametrize("arguments", [{"num_heads": 3}, {"width": 0}, {"dropout": 1.0}, {"input_noise": -1}])
def test_bad_arguments_are_named(arguments):
    with pytest.raises(ValueError, match="Received"):
        convnet13((12, 12, 1), 10, **arguments)


def test_preprocessing_and_logits_stay_float32_under_bfloat16():
    network = convnet13(
        (12, 12, 1),
        4,
        width=1 / 16,
        dtype="mixed_bfloat16",
        preprocessing=(layers.ImageStandardization(dtype="float32"),),
    )
    computed = {layer.compute_dtype for layer in network.layers if "conv2d" in layer.name}
    assert computed == {"bfloat16"}
    assert network(np.zeros((2, 12, 12, 1), "uint8")).dtype == "float32"


def test_the_network_survives_saving(tmp_path):
    network = convnet13((12, 12, 1), 4, width=1 / 16, flip=True, preprocessing=(layers.ImageStandardization(),))
    images = np.random.default_rng(0).integers(0, 255, (3, 12, 12, 1)).astype("uint8")
    network.save(tmp_path / "network.keras")
    again = keras.models.load_model(tmp_path / "network.keras")
    np.testing.assert_allclose(again(images), network(images), atol=1e-6)
