import keras
import tensorflow as tf

from keras_mt.layers.noise_layer import NoiseLayer
from keras_mt.layers.random_bits import random_integers


def translate(images: tf.Tensor, vertical_offset: tf.Tensor, horizontal_offset: tf.Tensor) -> tf.Tensor:
    """Translates each image by whole pixels, and fills the border with the image reflected there.

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
    """Translates each image by a whole number of pixels in `[-max_pixels, max_pixels]` on each axis in training.

    The border is filled by reflection without repeating the edge pixel (`tf.pad`'s REFLECT), unlike
    `keras.layers.RandomTranslation`.

    Args:
        max_pixels: Largest shift per axis, in pixels; less than height and width.
        seed: Optional seed. Inside `MeanTeacher` the seed of the experiment decides instead.

    Call arguments:
        inputs: Images.
        training: Whether to translate; otherwise images are returned unchanged.

    Input shape: `[batch, height, width, channels]`.

    Output shape: Same as the input.

    Reference: Tarvainen & Valpola (2017), appendix B.1

    Example:

    ```python
    images = np.random.default_rng(0).normal(size=(8, 32, 32, 3)).astype("float32")
    translated = keras_mt.layers.RandomPixelTranslation(2, seed=1)(images, training=True)
    ```
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
