"""A sheet of the pictures that a network is least sure of: labeling these teaches it most."""

import io
import os
from pathlib import Path

import numpy as np

from keras_mt.experiments.commands import SHEET
from keras_mt.experiments.running.curves import new_figure
from keras_mt.experiments.running.run_directory import write_atomically

_COLUMNS = 8


def most_uncertain(probabilities: np.ndarray, count: int) -> np.ndarray:
    """Returns the indices of the predictions with the largest entropy, the most uncertain first.

    Args:
        probabilities: `[pictures, classes]`.
        count: How many at most.
    """
    entropy = -(probabilities * np.log(np.maximum(probabilities, 1e-12))).sum(axis=1)
    return np.argsort(-entropy, kind="stable")[:count]


def draw_contact_sheet(
    path: Path, pictures: list[Path], probabilities: np.ndarray, class_names: tuple[str, ...], count: int
) -> None:
    """Draws the most uncertain pictures with their names and what they may be.

    Args:
        path: The PNG file.
        pictures: All pictures.
        probabilities: `[pictures, classes]`.
        class_names: Name of each class.
        count: Pictures on the sheet.

    Raises:
        RunError: If the file can't be written; what was there is kept.
    """
    import tensorflow as tf
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from keras_mt.experiments.datasets.decoding import decoded

    chosen = most_uncertain(probabilities, count)
    rows = -(-len(chosen) // _COLUMNS)
    figure = new_figure(figsize=(1.6 * _COLUMNS, 2.0 * rows), dpi=100)
    FigureCanvasAgg(figure)
    for place, index in enumerate(chosen):
        axes = figure.add_subplot(rows, _COLUMNS, place + 1)
        axes.imshow(decoded(tf.constant(pictures[index].read_bytes())).numpy())
        axes.set_axis_off()
        best = np.argsort(-probabilities[index])[:2]
        guess = "\n".join(f"{class_names[c]} {100 * probabilities[index][c]:.0f} %" for c in best)
        name = os.fsencode(pictures[index].name).decode("utf-8", "replace")
        axes.set_title(f"{name[-22:]}\n{guess}", fontsize=7)
    figure.tight_layout()
    picture = io.BytesIO()
    figure.savefig(picture, format="png", metadata={"Software": SHEET})
    write_atomically(path, picture.getvalue())
