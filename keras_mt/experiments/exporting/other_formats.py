"""ONNX and LiteRT, by Keras' own exports; ONNX needs packages that are installed only where it is wanted."""

import warnings
from pathlib import Path

import keras

from keras_mt.experiments import extras
from keras_mt.experiments.errors import RunError
from keras_mt.experiments.exporting.serving import served_model
from keras_mt.experiments.running.run_directory import name_finished, reason_of, unfinished_beside


def export_onnx(network: keras.Model, path: Path, class_names: tuple[str, ...]) -> None:
    """Writes an ONNX file from uint8 `images` of any size to `probabilities`.

    The names of the classes are its metadata `classes`, one a line.

    Args:
        network: A functional network in float32 from images to logits.
        path: The file.
        class_names: Name of each class.

    Raises:
        FileExistsError: If something has that name.
        UsageError: If the converter is not installed.
        RunError: If the file can't be written.
    """
    extras.require("onnx")
    import onnx

    def add_names(unfinished):  # Keras' export writes no metadata.
        model = onnx.load(unfinished)
        onnx.helper.set_model_props(model, {"classes": "\n".join(class_names)})
        onnx.save(model, unfinished)

    _export(network, path, add_names, format="onnx", opset_version=17)


def export_litert(network: keras.Model, path: Path) -> None:
    """Writes a LiteRT (TensorFlow Lite) file from uint8 `images` of any size to `probabilities`.

    It does not hold the names of the classes.

    Args:
        network: A functional network in float32 from images to logits.
        path: The file.

    Raises:
        FileExistsError: If something has that name.
        RunError: If it can't be written.
    """
    _export(network, path, lambda unfinished: None, format="litert")


def _export(network, path, add_names, **options):
    """Writes beside the file and renames, which Keras does not."""
    model = served_model(network)
    try:
        with unfinished_beside(path) as folder:
            unfinished = folder / path.name
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # Keras looks for `numpy.object`.
                model.export(str(unfinished), verbose=False, input_signature=model.inputs, **options)
            add_names(unfinished)
            name_finished(unfinished, path)
    except FileExistsError:
        raise
    except OSError as error:
        raise RunError(f"{path} can't be written ({reason_of(error)})") from error
