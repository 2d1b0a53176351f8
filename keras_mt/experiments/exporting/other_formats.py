"""ONNX and LiteRT, by their own converters, which are installed beside this package only where they are wanted."""

from pathlib import Path

import keras
import tensorflow as tf

from keras_mt.experiments.errors import RunError, UsageError
from keras_mt.experiments.exporting.serving import ServedNetwork
from keras_mt.experiments.running.run_directory import reason_of


def export_onnx(network: keras.Model, path: Path, class_names: tuple[str, ...]) -> None:
    """Writes an ONNX file from uint8 `images` to `probabilities`; the classes' names are its metadata `classes`.

    Args:
        network: A functional network in float32 from images to logits.
        path: The file.
        class_names: Name of each class.

    Raises:
        UsageError: If the converter is not installed.
        RunError: If the file can't be written.
    """
    try:
        import onnx
        import tf2onnx
    except ImportError as error:
        raise UsageError(
            f"--format=onnx needs the packages onnx and tf2onnx (pip install 'keras-mt[onnx]'): {error}"
        ) from error
    served = ServedNetwork(network, class_names)
    signature = [tf.TensorSpec((None, *served.image_shape), tf.uint8, name="images")]
    model, _ = tf2onnx.convert.from_function(tf.function(served._serve), input_signature=signature, opset=17)
    onnx.helper.set_model_props(model, {"classes": "\n".join(class_names)})
    _write(path, model.SerializeToString())


def export_litert(network: keras.Model, path: Path, class_names: tuple[str, ...]) -> None:
    """Writes a LiteRT (TensorFlow Lite) file from uint8 `images` to `probabilities`, and `labels.txt` beside it.

    Args:
        network: A functional network in float32 from images to logits.
        path: The file.
        class_names: Name of each class.

    Raises:
        RunError: If it can't be written.
    """
    served = ServedNetwork(network, class_names)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([served.of_images()], served)
    _write(path, converter.convert())
    _write(path.with_name("labels.txt"), "".join(f"{name}\n" for name in class_names).encode())


def _write(path, content):
    unfinished = path.with_name(path.name + ".unfinished")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_bytes(content)
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise RunError(f"{path} can't be written ({reason_of(error)})") from error
