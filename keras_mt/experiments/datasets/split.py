"""Which images of a data set are trained on, evaluated on and labeled."""

import numpy as np

from keras_mt.data import choose_labeled, hold_out_validation
from keras_mt.errors import ArgumentError


def split_examples(
    labels: np.ndarray,
    num_classes: int,
    *,
    num_labels: int | str,
    phase: str,
    num_validation: int | None,
    data_seed: int,
    listed: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Holds images out and chooses the labeled ones among the rest.

    Args:
        labels: Classes of all images that may be trained on, int32 `[images]`; -1 where there is none.
        num_classes: Number of classes.
        num_labels: Number of labels, spread evenly over the classes, or `"all"`.
        phase: `"test"`, or `"validation"`: a part of the images with a class is held out.
        num_validation: How many are held out in the validation phase; a tenth by default.
        data_seed: Names the split: what is held out, and which images are labeled.
        listed: Indices of the labeled images, if somebody has named them, instead of `num_labels`.

    Returns:
        `(training, labeled)`: a boolean mask `[images]` of those to train on, and sorted indices of the labeled ones
        among these, counted from the first of them.

    Raises:
        ArgumentError: If there are not as many images as asked for.
    """
    random = np.random.RandomState(data_seed)
    training, with_class = np.ones(len(labels), bool), np.flatnonzero(labels >= 0)
    if phase == "validation":
        held_out = len(with_class) // 10 if num_validation is None else num_validation
        training[with_class[hold_out_validation(len(with_class), held_out, random)]] = False
    available = training & (labels >= 0)
    if listed is not None:
        labeled = listed[training[listed]]
    elif num_labels == "all":
        labeled = np.flatnonzero(available)
    else:
        if num_labels > available.sum():
            raise ArgumentError("num_labels", num_labels, f"is more than the {available.sum()} training examples")
        labeled = choose_labeled(labels, training, num_labels, num_classes, random)
    return training, np.searchsorted(np.flatnonzero(training), labeled)
