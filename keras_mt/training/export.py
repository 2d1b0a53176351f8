"""Exports a network as a SavedModel that needs nothing but TensorFlow."""

import shutil
from pathlib import Path

import keras
import tensorflow as tf

from keras_mt.training.program import RunError
from keras_mt.training.run_directory import reason_of
from keras_mt.twin import heads


def export_saved_model(network: keras.Model, path: Path) -> None:
    """Writes a SavedModel that maps images to probabilities, with all preprocessing inside.

    `tf.saved_model.load(path).serve(images)` takes uint8 or float32 images `[batch, height, width, channels]` with
    values in 0..255. The signature `serving_default` takes uint8 `images` and returns `probabilities`.

    Args:
        network: A functional network from images to logits: the teacher.
        path: Folder of the SavedModel; written beside and then renamed.

    Raises:
        RunError: If it can't be written.
    """
    shape = (None, *network.inputs[0].shape[1:])

    @tf.function
    def serve(images):
        logits = heads(network(tf.cast(images, tf.float32), training=False))[0]
        return {"probabilities": tf.nn.softmax(tf.cast(logits, tf.float32))}

    archive = tf.Module()
    # The variables themselves: Keras' layers would ask for Keras when the archive is loaded.
    archive.network_variables = [variable.value for variable in network.variables]
    archive.serve = serve
    signature = serve.get_concrete_function(tf.TensorSpec(shape, tf.uint8, name="images"))
    serve.get_concrete_function(tf.TensorSpec(shape, tf.float32, name="images"))

    unfinished = path.with_name(path.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        tf.saved_model.save(archive, str(unfinished), signatures={"serving_default": signature})
        shutil.rmtree(path, ignore_errors=True)
        unfinished.rename(path)
    except (tf.errors.OpError, OSError) as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise RunError(f"{path} can't be written ({reason_of(error)})") from error
