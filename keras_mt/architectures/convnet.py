"""The 13-layer ConvNet of Tarvainen & Valpola (2017), appendix B, table 5."""

import keras
from keras import layers

from keras_mt.architectures.ends import disturbed_images, network, scaled
from keras_mt.layers import Dropout, WeightNormalizedConv2D, WeightNormalizedDense

MINIMUM_IMAGE_SIZE = 12


def convnet13(
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    num_heads: int = 1,
    width: float = 1.0,
    dropout: float = 0.5,
    input_noise: float = 0.15,
    translate: int = 2,
    flip: bool = False,
    preprocessing: tuple[keras.layers.Layer, ...] = (),
    mean_momentum: float = 0.999,
    synchronized: bool = True,
    dtype: str = "float32",
    name: str = "convnet13",
) -> keras.Model:
    """A ConvNet of 13 layers with weight normalization and input noise.

    Args:
        input_shape: `(height, width, channels)`; at least 12×12. Published: `(32, 32, 3)`.
        num_classes: Number of classes, C.
        num_heads: 1, or 2 for a head of its own for the consistency cost.
        width: Multiplies all channel counts; 1.0 is the published network.
        dropout: Dropout rate after each pooling, in [0, 1).
        input_noise: Standard deviation of the Gaussian input noise, in units of the preprocessed input.
        translate: Largest random translation per axis, in pixels.
        flip: Whether images are flipped horizontally at random.
        preprocessing: Deterministic layers applied first.
        mean_momentum: Momentum of the running means of mean-only batch normalization, in [0, 1].
        synchronized: Whether batch means are those of the global batch when several replicas train.
        dtype: Dtype policy of the layers; input layers and logits stay float32.
        name: Name of the model.

    Returns:
        A functional `keras.Model` with logits `[batch, num_classes]` in float32, or a list of two of them.

    Raises:
        ValueError: If the image is smaller than 12×12 or an argument is out of range.

    Reference: Tarvainen & Valpola (2017), https://arxiv.org/abs/1703.01780, appendix B, table 5

    Example:

    ```python
    network = keras_mt.architectures.convnet13((32, 32, 3), 10, width=1 / 16)
    logits = network(np.zeros((2, 32, 32, 3), "uint8"))  # [2, 10]
    ```
    """
    if min(input_shape[:2]) < MINIMUM_IMAGE_SIZE:
        raise ValueError(
            f"convnet13 takes images of at least {MINIMUM_IMAGE_SIZE}×{MINIMUM_IMAGE_SIZE} pixels. "
            f"Received: input_shape={tuple(input_shape)}"
        )

    def conv(x, filters, kernel_size, padding="same"):
        return WeightNormalizedConv2D(
            scaled(filters, width),
            kernel_size,
            padding,
            momentum=mean_momentum,
            negative_slope=0.1,
            synchronized=synchronized,
            dtype=dtype,
        )(x)

    def head(head_name):
        return WeightNormalizedDense(
            num_classes, momentum=mean_momentum, synchronized=synchronized, dtype="float32", name=head_name
        )

    images, x = disturbed_images(
        input_shape, preprocessing=preprocessing, flip=flip, translate=translate, input_noise=input_noise
    )
    for filters in (128, 256):
        x = conv(x, filters, 3)
        x = conv(x, filters, 3)
        x = conv(x, filters, 3)
        x = layers.MaxPooling2D(2, dtype=dtype)(x)
        x = Dropout(dropout, dtype=dtype)(x)

    x = conv(x, 512, 3, padding="valid")
    x = conv(x, 256, 1)
    x = conv(x, 128, 1)
    x = layers.GlobalAveragePooling2D(dtype="float32")(x)

    return network(images, x, num_heads, head, name)
