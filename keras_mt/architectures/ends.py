"""Both ends of a network: images with their noise, and one head or two."""

import keras

from keras_mt.layers import GaussianNoise, RandomHorizontalFlip, RandomPixelTranslation

NAMES_OF_HEADS = ("classification_logits", "consistency_logits")


def disturbed_images(
    input_shape: tuple[int, int, int],
    *,
    preprocessing: tuple[keras.layers.Layer, ...] = (),
    flip: bool = False,
    translate: int = 0,
    input_noise: float = 0.0,
) -> tuple:
    """Returns `(images, features)`: the symbolic input, and what the first layer of the network gets of it.

    Preprocessing, augmentation and noise are layers of the network, so that student and teacher draw their own, and an
    exported teacher takes plain images. All in float32.

    Args:
        input_shape: `(height, width, channels)`.
        preprocessing: Deterministic layers, applied first.
        flip: Whether images are flipped horizontally at random.
        translate: Largest random translation per axis, in pixels.
        input_noise: Standard deviation of the Gaussian noise, in units of the preprocessed input.
    """
    x = images = keras.Input(input_shape, dtype="float32", name="images")
    for layer in preprocessing:
        x = layer(x)
    if flip:
        x = RandomHorizontalFlip(dtype="float32")(x)
    if translate:
        x = RandomPixelTranslation(translate, dtype="float32")(x)
    if input_noise:
        x = GaussianNoise(input_noise, dtype="float32")(x)
    return images, x


def network(images, features, num_heads: int, make_head, name: str) -> keras.Model:
    """Returns the model from `images` to the logits of its heads: one tensor, or a list of two.

    Args:
        images: The symbolic input.
        features: The input of the heads.
        num_heads: 1 or 2.
        make_head: Returns the layer of a head, from its name.
        name: Name of the model.

    Raises:
        ValueError: If there is to be another number of heads.
    """
    if num_heads not in (1, 2):
        raise ValueError(f"Argument `num_heads` must be 1 or 2. Received: num_heads={num_heads}")
    logits = [make_head(head_name)(features) for head_name in NAMES_OF_HEADS[:num_heads]]
    return keras.Model(images, logits if num_heads == 2 else logits[0], name=name)


def scaled(channels: int, width: float) -> int:
    """Returns the number of channels at a width, at least 1.

    Raises:
        ValueError: If the width is not positive.
    """
    if width <= 0:
        raise ValueError(f"Argument `width` must be positive. Received: width={width}")
    return max(1, round(channels * width))
