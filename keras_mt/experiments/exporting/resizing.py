"""`plain_view` of pixels, as products of matrices: ONNX and LiteRT lack TensorFlow's own resizing with antialiasing."""

import keras
import numpy as np
import tensorflow as tf

from keras_mt.experiments.datasets.image_views import middle, resized_shape

LUMINANCE = (0.299, 0.587, 0.114)  # ITU-R BT.601. Their sum is 1, so that gray stays what it is.


def gray(images: tf.Tensor) -> tf.Tensor:
    """Returns the luminance `[..., 1]` of images `[..., 3]`."""
    return _times(images, tf.constant(LUMINANCE)[:, None])


@keras.saving.register_keras_serializable("keras_mt")
class FittedPixels(keras.layers.Layer):
    """Turns pictures of any size into what a network takes: as `fitted_image` does, to rounding.

    Args:
        image_shape: Height, width and channels of what the network takes; height and width are equal.
        **kwargs: As Keras takes them.

    Call arguments:
        images: `[batch, height, width, channels]`, 0 to 255, of 1 (gray), 2 (gray and transparency), 3 (RGB) or 4
            channels (RGB and transparency). Transparency is dropped; more channels are refused.

    Returns:
        Float32 `[batch, *image_shape]`.
    """

    def __init__(self, image_shape: tuple[int, int, int], **kwargs):
        super().__init__(**kwargs)
        self.image_shape = tuple(image_shape)

    def call(self, images):
        size = self.image_shape[0]
        channels = tf.shape(images)[3]
        # An index beyond the table is refused where an assertion is not exported: images with channels first, say.
        mixture = tf.gather(tf.constant(_mixtures(self.image_shape[2])), channels)[:channels]
        images = _times(tf.cast(images, "float32"), mixture)
        start, length = middle(tf.shape(images)[1:3])
        images = images[:, start[0] : start[0] + length[0], start[1] : start[1] + length[1]]
        target = tf.where(tf.reduce_all(length == size), length, resized_shape(length, size))
        start = (target - size) // 2
        rows, columns = (_weights(length[axis], target[axis], start[axis], size) for axis in (0, 1))
        narrow = _times(tf.transpose(images, [0, 1, 3, 2]), columns)  # [batch, length, channels, size]
        views = _times(tf.transpose(narrow, [0, 3, 2, 1]), rows)  # [batch, size, channels, size], columns first
        return tf.reshape(tf.transpose(views, [0, 3, 1, 2]), (-1, *self.image_shape))  # Its static shape is known.

    def compute_output_spec(self, images):
        return keras.KerasTensor((None, *self.image_shape), "float32")

    def get_config(self):
        return {**super().get_config(), "image_shape": self.image_shape}


def _times(images, matrix):
    """The product along the last axis, of two dimensions: `[2, 1, 20, 30]` times `[30, 16]` is wrong in TensorFlow
    2.21 with oneDNN, and writes past the end of its buffers."""
    shape = tf.shape(images)
    product = tf.matmul(tf.reshape(images, tf.stack([-1, shape[-1]])), matrix)
    return tf.reshape(product, tf.concat([shape[:-1], tf.shape(matrix)[1:]], axis=0))


def _mixtures(wanted):
    """What each wanted channel has of each channel there is, float32 `[5, 4, wanted]`: for 0 to 4 there are."""
    mixtures = np.zeros((5, 4, wanted), "float32")
    mixtures[1:3, 0] = 1.0
    mixtures[3:, :3] = np.reshape(LUMINANCE, (3, 1)) if wanted == 1 else np.eye(3)
    return mixtures


def _weights(length, target, start, size):
    """How much of each of `length` pixels is in `size` of the `target` that they are resized to, `[length, size]`.

    The triangle of `tf.image.resize(antialias=True)`; with length and target equal it is the identity.
    """
    step = 1.0 / (tf.cast(target, "float32") / tf.cast(length, "float32"))
    centers = (tf.cast(tf.range(size) + start, "float32") + 0.5) * step
    pixels = tf.cast(tf.range(length), "float32")[:, None] + 0.5
    weights = tf.maximum(0.0, 1.0 - tf.abs(pixels - centers) / tf.maximum(step, 1.0))
    return weights / tf.reduce_sum(weights, axis=0)
