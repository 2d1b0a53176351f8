"""Which examples are labeled and which are held out, chosen as Tarvainen & Valpola (2017) chose them.

Both functions continue one `numpy.random.RandomState(seed)`, in this order: first the validation images, then
the labels. With the images in the order of SVHN's original files the splits equal the published ones.
"""

import numpy as np

from keras_mt.errors import ArgumentError


def hold_out_validation(num_examples: int, num_validation: int, random: np.random.RandomState) -> np.ndarray:
    """Chooses examples to be held out.

    Args:
        num_examples: Number of all examples.
        num_validation: How many of them are held out.
        random: Generator that shuffles them.

    Returns:
        Boolean mask `[num_examples]`, true for those held out.

    Raises:
        ValueError: If `num_validation` leaves nothing to hold out or to train on.

    Example:

    ```python
    held_out = keras_mt.data.hold_out_validation(1000, 100, np.random.RandomState(0))
    ```
    """
    if not 0 < num_validation < num_examples:
        raise ArgumentError("num_validation", num_validation, f"must be from 1 to {num_examples - 1}")
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
        candidates: Boolean mask `[examples]` of those that may be chosen.
        num_labels: Number of labels, a multiple of the number of classes.
        num_classes: Number of classes.
        random: Generator that draws class after class in ascending order.

    Returns:
        Sorted example indices `[num_labels]`.

    Raises:
        ValueError: If `num_labels` can't be had evenly from the classes.

    Example:

    ```python
    from keras_mt import data

    labels = np.arange(5000) % 10
    random = np.random.RandomState(0)
    held_out = data.hold_out_validation(len(labels), 1000, random)
    labeled = data.choose_labeled(labels, ~held_out, num_labels=250, num_classes=10, random=random)
    ```
    """
    if num_labels < 1 or num_labels % num_classes:
        raise ArgumentError(
            "num_labels",
            num_labels,
            f"can't be divided evenly over {num_classes} classes; a multiple of {num_classes} is needed",
        )
    per_class = num_labels // num_classes
    chosen = []
    for label in range(num_classes):
        of_class = np.flatnonzero((labels == label) & candidates)
        if len(of_class) < per_class:
            raise ArgumentError(
                "num_labels",
                num_labels,
                f"asks for {per_class} examples of each class, but class {label} has {len(of_class)}",
            )
        chosen.append(random.choice(of_class, per_class, replace=False))
    return np.sort(np.concatenate(chosen))
