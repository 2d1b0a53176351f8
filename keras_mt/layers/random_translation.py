import keras
import tensorflow as tf

from keras_mt.layers.noise_layer import NoiseLayer
from keras_mt.layers.random_bits import random_integers


def translate(images: tf.Tensor, vertical_offset: tf.Tensor, horizontal_offset: tf.Tensor) -> tf.Tensor:
    """Moves each image by whole pixels; what comes in at the border is the image reflected there.

    A gather along each axis: no interpolation and no padded copy.

    Args:
        images: `[batch, height, width, channels]`.
        vertical_offset: Integers `[batch]` in pixels, below the height; positive moves the picture down.
        horizontal_offset: Integers `[batch]` in pixels, below the width; positive moves the picture right.

    Returns:
        Images of the same shape and dtype.
    """
    for axis, offset in ((1, vertical_offset), (2, horizontal_offset)):
        last = tf.shape(images)[axis] - 1
        source = tf.abs(tf.range(last + 1)[None, :] - tf.cast(offset, "int32")[:, None])
        source = last - tf.abs(last - source)
        images = tf.gather(images, source, axis=axis, batch_dims=1)
    return images


@keras.saving.register_keras_serializable(package="keras_mt")
class RandomPixelTranslation(NoiseLayer):
    """Translates each training image by a whole number of pixels in `[-max_pixels, max_pixels]` on each axis.

    The border is filled by reflection without repeating the edge pixel (`tf.pad`'s REFLECT), unlike
    `keras.layers.RandomTranslation`.

    Args:
        max_pixels: Largest shift per axis, in pixels.
        seed: Optional seed.

    Input shape: `[batch, height, width, channels]`.

    Reference: paper, appendix B.1.
    """

    def __init__(self, max_pixels: int, seed: int | None = None, **kwargs):
        super().__init__(seed, **kwargs)
        if max_pixels < 0:
            raise ValueError(f"Argument `max_pixels` must not be negative. Received: max_pixels={max_pixels}")
        self.max_pixels = max_pixels

    def build(self, input_shape):
        if self.max_pixels >= min(input_shape[1:3]):
            raise ValueError(
                f"Argument `max_pixels` must be below the image size {tuple(input_shape[1:3])}. "
                f"Received: max_pixels={self.max_pixels}"
            )

    def disturb(self, inputs):
        if not self.max_pixels:
            return inputs
        shape = (2, tf.shape(inputs)[0])
        offsets = random_integers(shape, -self.max_pixels, self.max_pixels, self.seed_generator)
        return translate(inputs, offsets[0], offsets[1])

    def get_config(self):
        return {**super().get_config(), "max_pixels": self.max_pixels}
