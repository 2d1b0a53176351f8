"""Exports a network of a run, with a model card beside it. The data of the run are not needed.

A SavedModel is written as TensorFlow Serving wants it, `OUTPUT/VERSION/`, with warm-up requests; ONNX and LiteRT as one
file.
"""

from pathlib import Path

import numpy as np

from keras_mt.experiments.commands import ExportOptions
from keras_mt.experiments.errors import RunError, UsageError
from keras_mt.experiments.running import saved_networks
from keras_mt.experiments.running.run_directory import RunDirectory, write_atomically

_FILES = {"saved_model": None, "onnx": "model.onnx", "litert": "model.tflite"}
_WARM_UP_REQUESTS = 3


def main(options: ExportOptions, run: RunDirectory) -> None:
    """Writes a network and its model card.

    Args:
        options: What is asked for.
        run: The folder of the run.
    """
    saved = saved_networks.load(run, options.which)
    suffix = "" if options.which == "teacher" else f"-{options.which}"
    folder = Path(options.output) if options.output else run.path / "export" / f"{options.format}{suffix}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"--output={folder} can't be created ({error.strerror})") from error
    name = _FILES[options.format] or str(options.model_version)
    path = folder / name
    if path.exists():
        raise UsageError(f"{path} is there already; name another --output or --model_version")
    if options.format == "saved_model":
        from keras_mt.experiments.exporting.saved_model import export_saved_model

        shape = (_WARM_UP_REQUESTS, *saved.network.inputs[0].shape[1:])
        export_saved_model(saved.network, path, saved.class_names, warm_up=np.zeros(shape, "uint8"))
    else:
        from keras_mt.experiments.exporting import other_formats

        export = other_formats.export_onnx if options.format == "onnx" else other_formats.export_litert
        export(saved.network, path, saved.class_names)
    from keras_mt.experiments.exporting.model_card import model_card

    write_atomically(folder / "MODEL_CARD.md", model_card(run, saved, name))
    print(f"{saved.which} of step {saved.step} as {options.format}: {path}, and its MODEL_CARD.md")
