"""What a served network takes and gives: pictures as numbers or as files, probabilities and the name of the class."""

import keras
import tensorflow as tf

from keras_mt.experiments.datasets.image_views import plain_view
from keras_mt.teacher import heads


class ServedNetwork(tf.Module):
    """A network with all that comes before and after it, as TensorFlow functions.

    Args:
        network: A functional network from images to logits `[batch, classes]`.
        class_names: Name of each class.
    """

    def __init__(self, network: keras.Model, class_names: tuple[str, ...]):
        super().__init__()
        # The variables themselves: Keras' layers would ask for Keras when the archive is loaded.
        self.network_variables = [variable.value for variable in network.variables]
        self._network = [network]  # In a list that TensorFlow does not follow into the layers.
        self.class_names = tf.constant(class_names)
        self.image_shape = tuple(network.inputs[0].shape[1:])
        self.serve = tf.function(self._serve)
        self.serve_files = tf.function(self._serve_files)

    def _serve(self, images):
        (network,) = self._network
        logits = heads(network(tf.cast(images, tf.float32), training=False))[0]
        return {"probabilities": tf.nn.softmax(tf.cast(logits, tf.float32))}

    def _serve_files(self, files):
        images = tf.map_fn(self._decoded, files, fn_output_signature=tf.TensorSpec(self.image_shape, tf.float32))
        probabilities = self._serve(images)["probabilities"]
        return {
            "probabilities": probabilities,
            "classes": tf.gather(self.class_names, tf.argmax(probabilities, axis=1)),
        }

    def _decoded(self, content):
        return fitted_image(content, self.image_shape)

    def of_images(self, dtype=tf.uint8) -> tf.types.experimental.ConcreteFunction:
        """Returns the signature from `images [batch, height, width, channels]`, 0 to 255, to `probabilities`."""
        return self.serve.get_concrete_function(tf.TensorSpec((None, *self.image_shape), dtype, name="images"))

    def of_files(self) -> tf.types.experimental.ConcreteFunction:
        """Returns the signature from `files [batch]`, encoded JPEG, PNG, ..., to `probabilities` and `classes`."""
        return self.serve_files.get_concrete_function(tf.TensorSpec((None,), tf.string, name="files"))


def fitted_image(content: tf.Tensor, image_shape: tuple[int, int, int]) -> tf.Tensor:
    """Decodes a picture of any size into what a network takes.

    A picture of the network's size is taken as it is. Of others the middle is: the shorter side resized to 256/224 of
    the network's size, then cropped, as in evaluations of `--dataset=folder`.

    Args:
        content: Bytes of a JPEG, PNG, BMP, GIF or WebP picture.
        image_shape: Height, width and channels; height and width are equal.

    Returns:
        Float32 `image_shape`, 0 to 255.
    """
    height, width, channels = image_shape
    image = tf.io.decode_image(content, channels=3, expand_animations=False)
    image = tf.ensure_shape(image, [None, None, 3])
    fits = tf.reduce_all(tf.equal(tf.shape(image)[:2], [height, width]))
    image = tf.cond(
        fits,
        lambda: tf.ensure_shape(tf.cast(image, tf.float32), [height, width, 3]),
        lambda: plain_view(image, height),
    )
    return image if channels == 3 else tf.image.rgb_to_grayscale(image)
