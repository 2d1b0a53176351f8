"""Exports a network of a run: `python -m keras_mt.export --run_dir=runs/digits_50 --format=saved_model`.

A SavedModel is written as TensorFlow Serving wants it, `OUTPUT/VERSION/`, with warm-up requests; ONNX and LiteRT as one
file. Beside each goes a model card. The data of the run are not needed.
"""

from pathlib import Path

import numpy as np
from absl import flags

from keras_mt.experiments.errors import RunError, UsageError
from keras_mt.experiments.running import program, saved_networks
from keras_mt.experiments.running.run_directory import RunDirectory, write_atomically
from keras_mt.experiments.running.saved_networks import NETWORKS

FLAGS = flags.FLAGS
FORMATS = {"saved_model": None, "onnx": "model.onnx", "litert": "model.tflite"}
_WARM_UP_REQUESTS = 3


def define() -> None:
    """Defines the flags of this program."""
    flags.DEFINE_string("run_dir", None, "Folder of the run.")
    flags.DEFINE_enum("format", "saved_model", list(FORMATS), "What is written.")
    flags.DEFINE_enum("which", "teacher", NETWORKS, "The network.")
    flags.DEFINE_string("output", None, "Folder to write to; default: RUN_DIR/export/FORMAT.")
    flags.DEFINE_integer("model_version", 1, "saved_model: name of the folder that a server counts up.", lower_bound=1)


def main() -> None:
    if not FLAGS.run_dir:
        raise UsageError("--run_dir is missing; name the folder of a run")
    run = RunDirectory(FLAGS.run_dir)
    saved = saved_networks.load(run, FLAGS.which)
    suffix = "" if FLAGS.which == "teacher" else f"-{FLAGS.which}"
    folder = Path(FLAGS.output) if FLAGS.output else run.path / "export" / f"{FLAGS.format}{suffix}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"--output={folder} can't be created ({error.strerror})") from error
    name = FORMATS[FLAGS.format] or str(FLAGS.model_version)
    path = folder / name
    if path.exists():
        raise UsageError(f"{path} is there already; name another --output or --model_version")
    if FLAGS.format == "saved_model":
        from keras_mt.experiments.exporting.saved_model import export_saved_model

        shape = (_WARM_UP_REQUESTS, *saved.network.inputs[0].shape[1:])
        export_saved_model(saved.network, path, saved.class_names, warm_up=np.zeros(shape, "uint8"))
    else:
        from keras_mt.experiments.exporting import other_formats

        export = other_formats.export_onnx if FLAGS.format == "onnx" else other_formats.export_litert
        export(saved.network, path, saved.class_names)
    from keras_mt.experiments.exporting.model_card import model_card

    write_atomically(folder / "MODEL_CARD.md", model_card(run, saved, name))
    print(f"{saved.which} of step {saved.step} as {FLAGS.format}: {path}, and its MODEL_CARD.md")


if __name__ == "__main__":
    define()
    program.run(main)
