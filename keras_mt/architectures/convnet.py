"""The 13-layer ConvNet of the paper (appendix B, table 5)."""

import keras
from keras import layers

from keras_mt.layers import (
    Dropout,
    GaussianNoise,
    RandomHorizontalFlip,
    RandomPixelTranslation,
    WeightNormalizedConv2D,
    WeightNormalizedDense,
)

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
    dtype: str = "float32",
    name: str = "convnet13",
) -> keras.Model:
    """The paper's ConvNet with its input noise, from images `[batch, height, width, channels]` to logits.

    Preprocessing, augmentation and noise are layers of the network, so that student and teacher draw their own,
    and an exported teacher takes plain images.

    Args:
        input_shape: `(height, width, channels)`; at least 12×12. The paper's is `(32, 32, 3)`.
        num_classes: Number of classes, C.
        num_heads: 1, or 2 for a head of its own for the consistency cost.
        width: Multiplies all channel counts; 1.0 is the paper's network.
        dropout: Dropout rate after each pooling.
        input_noise: Standard deviation of the Gaussian input noise, in units of the preprocessed input.
        translate: Largest random translation per axis, in pixels.
        flip: Whether images are flipped horizontally at random.
        preprocessing: Deterministic layers applied first.
        mean_momentum: Momentum of the running means of mean-only batch normalization.
        dtype: Dtype policy of the layers; input layers and logits stay float32.
        name: Name of the model.

    Returns:
        A functional `keras.Model` with logits `[batch, num_classes]` in float32, or a list of two of them.

    Raises:
        ValueError: If the image is smaller than 12×12 or an argument is out of range.
    """
    if min(input_shape[:2]) < MINIMUM_IMAGE_SIZE:
        raise ValueError(
            f"convnet13 takes images of at least {MINIMUM_IMAGE_SIZE}×{MINIMUM_IMAGE_SIZE} pixels. "
            f"Received: input_shape={tuple(input_shape)}"
        )
    if num_heads not in (1, 2):
        raise ValueError(f"Argument `num_heads` must be 1 or 2. Received: num_heads={num_heads}")
    if width <= 0:
        raise ValueError(f"Argument `width` must be positive. Received: width={width}")

    def conv(x, filters, kernel_size, padding="same"):
        channels = max(1, round(filters * width))
        x = WeightNormalizedConv2D(channels, kernel_size, padding, momentum=mean_momentum, dtype=dtype)(x)
        return layers.LeakyReLU(negative_slope=0.1, dtype=dtype)(x)

    def head(head_name):
        return WeightNormalizedDense(num_classes, momentum=mean_momentum, dtype="float32", name=head_name)

    x = images = keras.Input(input_shape, dtype="float32", name="images")
    for layer in preprocessing:
        x = layer(x)
    if flip:
        x = RandomHorizontalFlip(dtype="float32")(x)
    x = RandomPixelTranslation(translate, dtype="float32")(x)
    x = GaussianNoise(input_noise, dtype="float32")(x)

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

    logits = [head("classification_logits"), head("consistency_logits")][:num_heads]
    outputs = [layer(x) for layer in logits]
    return keras.Model(images, outputs if num_heads == 2 else outputs[0], name=name)
