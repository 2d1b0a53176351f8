"""Says what is on pictures: `python -m keras_mt.predict --run_dir=runs/mine a.jpg folder > predictions.csv`.

Prints a CSV with a line for each picture: its path, the class, and its probability. With --contact_sheet=FILE.png the
most uncertain of them are drawn, those worth labeling next.
"""

import csv
import sys
from pathlib import Path

import numpy as np
from absl import flags

from keras_mt.experiments.datasets.image_folder import SUFFIXES
from keras_mt.experiments.errors import RunError, UsageError
from keras_mt.experiments.running import program, saved_networks
from keras_mt.experiments.running.run_directory import RunDirectory
from keras_mt.experiments.running.saved_networks import NETWORKS

FLAGS = flags.FLAGS
_BATCH = 64


def define() -> None:
    """Defines the flags of this program."""
    flags.DEFINE_string("run_dir", None, "Folder of the run.")
    flags.DEFINE_enum("which", "teacher", NETWORKS, "The network.")
    flags.DEFINE_bool("all_probabilities", False, "A column for each class.")
    flags.DEFINE_string("contact_sheet", None, "A PNG file to draw the most uncertain pictures in.")
    flags.DEFINE_integer("pictures", 48, "Pictures on the contact sheet.", 1, 400)


def main() -> None:
    if not FLAGS.run_dir:
        raise UsageError("--run_dir is missing; name the folder of a run")
    paths = _pictures(program.pictures())
    saved = saved_networks.load(RunDirectory(FLAGS.run_dir), FLAGS.which)
    writer = csv.writer(sys.stdout, lineterminator="\n")
    names = [f"probability of {name}" for name in saved.class_names] if FLAGS.all_probabilities else []
    writer.writerow(["picture", "class", "probability", *names])
    everything = []
    for first in range(0, len(paths), _BATCH):
        some = paths[first : first + _BATCH]
        probabilities = _probabilities(saved.network, some)
        everything.append(probabilities)
        for path, row in zip(some, probabilities, strict=True):
            best = int(row.argmax())
            each = [f"{p:.4f}" for p in row] if FLAGS.all_probabilities else []
            writer.writerow([path, saved.class_names[best], f"{row[best]:.4f}", *each])
    if FLAGS.contact_sheet:
        from keras_mt.experiments.reporting.contact_sheet import draw_contact_sheet

        draw_contact_sheet(
            Path(FLAGS.contact_sheet), paths, np.concatenate(everything), saved.class_names, FLAGS.pictures
        )


def _pictures(arguments):
    """All pictures that were named, those of folders sorted."""
    if not arguments:
        raise UsageError("no pictures were named; give files or folders after the flags")
    paths = []
    for argument in map(Path, arguments):
        if argument.is_dir():
            found = sorted(path for path in argument.rglob("*") if path.suffix.lower() in SUFFIXES)
            if not found:
                raise UsageError(f"{argument} holds no pictures ({', '.join(SUFFIXES)})")
            paths += found
        elif argument.exists():
            paths.append(argument)
        else:
            raise UsageError(f"{argument} is not there; files or folders of pictures are needed")
    return paths


def _probabilities(network, paths):
    import tensorflow as tf

    from keras_mt.experiments.exporting.serving import fitted_image
    from keras_mt.teacher import heads

    shape, images = tuple(network.inputs[0].shape[1:]), []
    for path in paths:
        try:
            images.append(fitted_image(tf.constant(path.read_bytes()), shape))
        except OSError as error:
            raise RunError(f"{path} can't be read ({error.strerror})") from error
        except tf.errors.OpError as error:
            raise RunError(f"{path} can't be decoded; {', '.join(SUFFIXES)} are read") from error
    logits = heads(network.predict_on_batch(tf.stack(images)))[0]
    return tf.nn.softmax(tf.cast(logits, "float32")).numpy()


if __name__ == "__main__":
    define()
    program.run(main, takes_pictures=True)
