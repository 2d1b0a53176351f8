"""What a served network takes and gives: pictures as numbers or as files, probabilities and the name of the class."""

import keras
import tensorflow as tf

from keras_mt.experiments.datasets.decoding import decoded
from keras_mt.experiments.datasets.image_views import plain_view
from keras_mt.experiments.exporting.resizing import FittedPixels, gray


def probabilities(network: keras.Model, images) -> dict:
    """Returns `{"probabilities": [batch, classes]}` of images `[batch, height, width, channels]`, 0 to 255."""
    logits = keras.tree.flatten(network(keras.ops.cast(images, "float32"), training=False))[0]
    return {"probabilities": keras.ops.softmax(keras.ops.cast(logits, "float32"))}


def labels_text(class_names: tuple[str, ...]) -> str:
    """Returns the text of `labels.txt`: a line for each class."""
    return "".join(f"{name}\n" for name in class_names)


def served_model(network: keras.Model) -> keras.Model:
    """Returns a Keras model from uint8 `images` of any size to `probabilities`, for Keras' own exports.

    Args:
        network: A functional network from images to logits `[batch, classes]`.
    """
    images = keras.Input((None, None, None), dtype="uint8", name="images")
    return keras.Model(images, probabilities(network, FittedPixels(network.inputs[0].shape[1:])(images)))


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
    image = decoded(content)
    fits = tf.reduce_all(tf.equal(tf.shape(image)[:2], [height, width]))
    image = tf.cond(fits, lambda: tf.cast(image, tf.float32), lambda: plain_view(image, height))
    # Not in the branch: in an exported graph it was checked although the other branch was taken.
    image = tf.ensure_shape(image, [height, width, 3])
    return image if channels == 3 else gray(image)
