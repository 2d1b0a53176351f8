"""Exports a network of a run, with a model card beside it. The data of the run are not needed.

A SavedModel is written as TensorFlow Serving wants it, `OUTPUT/VERSION/`, with warm-up requests; ONNX and LiteRT as one
file, with `pixels.py`, which reads pictures for them.
"""

import contextlib
from pathlib import Path

import numpy as np

from keras_mt.experiments import exporting, extras
from keras_mt.experiments.commands import ExportOptions
from keras_mt.experiments.errors import RunError, UsageError
from keras_mt.experiments.exporting.model_card import TITLE, model_card
from keras_mt.experiments.exporting.serving import labels_text
from keras_mt.experiments.reading import DamagedFileError, read_text
from keras_mt.experiments.running import saved_networks
from keras_mt.experiments.running.run_directory import RunDirectory, unfinished_beside

_FILES = {"saved_model": None, "onnx": "model.onnx", "litert": "model.tflite"}
_CARD = "MODEL_CARD.md"
_READER = "pixels.py"  # What reads pictures as these networks take them.
_WARM_UP_REQUESTS = 3


def main(options: ExportOptions, run: RunDirectory) -> None:
    """Writes a network and its model card.

    What can't be written is refused before the first file is, so that the same command works once that is mended.

    Args:
        options: What is asked for.
        run: The folder of the run.
    """
    suffix = "" if options.which in (None, "teacher") else f"-{options.which}"
    folder = Path(options.output) if options.output else run.path / "export" / f"{options.format}{suffix}"
    kept = folder.resolve()
    for own in (run.exported_teacher, run.checkpoints, run.events):
        if own.resolve() in (kept, *kept.parents):
            raise UsageError(f"--output={folder} is in {own}, which train writes anew; name another folder")
    name = _FILES[options.format] or str(options.model_version)
    path = folder / name
    if path.exists():
        raise _there_already(path)
    if options.format == "onnx":
        extras.require("onnx")
    saved = saved_networks.load(run, options.which)
    files = {_CARD: model_card(run, saved, name)}
    _refuse_foreign(folder / _CARD, lambda there: there.startswith(TITLE))
    if options.format == "litert":
        files["labels.txt"] = labels_text(saved.class_names)
        _refuse_foreign(folder / "labels.txt", lambda there: there == files["labels.txt"])
    if options.format != "saved_model":
        files[_READER] = read_text(Path(exporting.__file__).with_name(_READER))
        _refuse_foreign(folder / _READER, lambda there: there == files[_READER])
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"--output={folder} can't be created ({error.strerror})") from error
    try:
        with _files_beside(folder, files):
            _export(options.format, saved, path)
    except FileExistsError as error:  # Another process was faster.
        raise _there_already(path) from error
    print(f"{saved.which} of step {saved.step} as {options.format}: {path}, and its {_CARD}")


def _export(form, saved, path):
    if form == "saved_model":
        from keras_mt.experiments.exporting.saved_model import export_saved_model

        shape = (_WARM_UP_REQUESTS, *saved.network.inputs[0].shape[1:])
        export_saved_model(saved.network, path, saved.class_names, warm_up=np.zeros(shape, "uint8"))
    elif form == "onnx":
        from keras_mt.experiments.exporting.other_formats import export_onnx

        export_onnx(saved.network, path, saved.class_names)
    else:
        from keras_mt.experiments.exporting.other_formats import export_litert

        export_litert(saved.network, path)


@contextlib.contextmanager
def _files_beside(folder, files):
    """Writes files while there is no network yet, and gives them their names when there is one."""
    try:
        with unfinished_beside(folder / _CARD) as unfinished:
            for name, content in files.items():
                (unfinished / name).write_text(content, encoding="utf-8", errors="surrogateescape")
            yield
            for name in files:
                (unfinished / name).replace(folder / name)
    except FileExistsError:
        raise
    except OSError as error:
        raise RunError(f"--output={folder} can't be written ({error.strerror})") from error


def _there_already(path):
    return UsageError(f"{path} is there already; name another --output or --model_version")


def _refuse_foreign(path, is_ours):
    """Refuses to write over a file that no export wrote."""
    if not path.exists():
        return
    try:
        ours = is_ours(read_text(path))
    except DamagedFileError:
        ours = False
    if not ours:
        raise UsageError(f"{path} is there already and of no such export; name another --output")
