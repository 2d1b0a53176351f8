"""Says what is on pictures: a CSV with a line for each, and a sheet of the most uncertain ones."""

import csv
import sys
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_mt.experiments.commands import PredictOptions
from keras_mt.experiments.datasets.picture_files import SUFFIXES
from keras_mt.experiments.errors import RunError
from keras_mt.experiments.exporting.serving import fitted_image
from keras_mt.experiments.reporting.contact_sheet import draw_contact_sheet
from keras_mt.experiments.running import saved_networks
from keras_mt.experiments.running.run_directory import RunDirectory

_BATCH = 64


def main(options: PredictOptions, run: RunDirectory, paths: Sequence[Path]) -> None:
    """Prints path, class and probability of each picture.

    With a contact sheet the most uncertain pictures are drawn, those worth labeling next.

    Args:
        options: What is asked for.
        run: The folder of the run whose network answers.
        paths: The pictures.
    """
    saved = saved_networks.load(run, options.which)
    writer = csv.writer(sys.stdout, lineterminator="\n")
    names = [f"probability of {name}" for name in saved.class_names] if options.all_probabilities else []
    writer.writerow(["picture", "class", "probability", *names])
    everything = []
    for first in range(0, len(paths), _BATCH):
        some = paths[first : first + _BATCH]
        probabilities = _probabilities(saved.network, some)
        everything.append(probabilities)
        for path, row in zip(some, probabilities, strict=True):
            best = int(row.argmax())
            each = [f"{p:.4f}" for p in row] if options.all_probabilities else []
            writer.writerow([path, saved.class_names[best], f"{row[best]:.4f}", *each])
    if options.contact_sheet:
        draw_contact_sheet(
            Path(options.contact_sheet), paths, np.concatenate(everything), saved.class_names, options.pictures
        )


def _probabilities(network, paths):
    shape, images = tuple(network.inputs[0].shape[1:]), []
    for path in paths:
        try:
            images.append(fitted_image(tf.constant(path.read_bytes()), shape))
        except OSError as error:
            raise RunError(f"{path} can't be read ({error.strerror})") from error
        except tf.errors.OpError as error:
            raise RunError(f"{path} can't be decoded; {', '.join(SUFFIXES)} are read") from error
    logits = keras.tree.flatten(network.predict_on_batch(tf.stack(images)))[0]
    return tf.nn.softmax(tf.cast(logits, "float32")).numpy()
