"""Which examples are labeled, as the paper's authors drew them (spec: a seed names the split).

Both functions continue one `numpy.random.RandomState(seed)`, in this order: first the validation images, then
the labels. With the images in the order of the original files the splits equal the authors'.
"""

import zlib

import numpy as np

from keras_mt.experiments.errors import DataRequestError


def hold_out_validation(num_examples: int, num_validation: int, random: np.random.RandomState) -> np.ndarray:
    """Returns a mask `[num_examples]` that is true for `num_validation` examples chosen at random."""
    mask = np.zeros(num_examples, dtype=bool)
    mask[:num_validation] = True
    random.shuffle(mask)
    return mask


def choose_labeled(
    labels: np.ndarray, candidates: np.ndarray, num_labels: int, num_classes: int, random: np.random.RandomState
) -> np.ndarray:
    """Chooses labeled examples, the same number of each class.

    Args:
        labels: Class of each example, integers `[examples]`.
        candidates: Mask `[examples]` of those that may be chosen.
        num_labels: Number of labels, a multiple of the number of classes.
        num_classes: Number of classes.
        random: Generator that draws class after class in ascending order.

    Returns:
        Sorted indices `[num_labels]` into `labels`.

    Raises:
        DataRequestError: If `num_labels` can't be had evenly from the classes.
    """
    if num_labels % num_classes:
        raise DataRequestError(
            f"--num_labels={num_labels} can't be divided evenly over {num_classes} classes; give a multiple of "
            f"{num_classes}"
        )
    per_class = num_labels // num_classes
    chosen = []
    for label in range(num_classes):
        of_class = np.flatnonzero((labels == label) & candidates)
        if len(of_class) < per_class:
            raise DataRequestError(
                f"--num_labels={num_labels} asks for {per_class} examples of each class, but class {label} has "
                f"{len(of_class)}"
            )
        chosen.append(random.choice(of_class, per_class, replace=False))
    return np.sort(np.concatenate(chosen))


def fingerprint(labels: np.ndarray, labeled: np.ndarray) -> str:
    """Returns what machines that have the same training data agree on: how many examples, and a checksum.

    Args:
        labels: Classes of the training examples.
        labeled: Indices of the labeled ones.
    """
    checksum = 0
    for array in (labels, labeled):
        checksum = zlib.crc32(np.ascontiguousarray(array, "int64").tobytes(), checksum)
    return f"{len(labels)} examples, {checksum:08x}"
