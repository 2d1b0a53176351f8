"""Labels of -1 for "no label" where labels are numbers: the task `"regression"` would train to them."""

import warnings

import keras
import numpy as np

from keras_mt.losses.classification import UNLABELED

_SURELY = 4  # So many labels, at least half of them, are not -1 by chance.
_PERHAPS = 0.1  # Such a share of all labels is worth a word.


def check_unlabeled_numbers(output, labels, whole: bool) -> None:
    """Refuses numbers that have -1 for "no label", as classes have it, where it has to be NaN.

    Args:
        output: The `outputs.Output`.
        labels: Its labels of all examples, or of a batch.
        whole: Whether they are those of all.

    Raises:
        ValueError: If at least half of a column is -1, none NaN, and the others are no numbers that -1 is one of.
    """
    if output.task_name != "regression":
        return
    labels = keras.ops.convert_to_numpy(labels)
    missing = labels == UNLABELED
    if not missing.any() or np.isnan(labels).any():
        return
    columns = labels.shape[-1] if labels.ndim == output.rank else 1
    for column in range(columns):
        numbers, absent = (rows.reshape(-1, columns)[:, column] for rows in (labels, missing))
        where = f" in column {column}" if columns > 1 else ""
        others, share = numbers[~absent], absent.mean()
        found = f"Received: {UNLABELED} for {share:.0%} of the labels{where}, NaN for none"
        if share >= 0.5 and absent.sum() >= _SURELY and not _may_be_numbers(others, whole):
            raise ValueError(
                f"{output.labels_name} must hold NaN for unlabeled examples: {UNLABELED} is a number for the task "
                '"regression". Labels of integers become floats first; `keras_mt.data.two_stream` then takes '
                f'`unlabeled_label=float("nan")`. Where {UNLABELED} is meant, move or scale all labels. {found}'
            )
        if whole and share >= _PERHAPS and not (others < 0).any():
            warnings.warn(
                f"{output.labels_name} holds {UNLABELED}, which is trained to as a number by the task "
                f'"regression"; unlabeled is NaN. {found}.',
                stacklevel=5,
            )


def _may_be_numbers(others, whole):
    """Whether -1 may be one of the numbers that others are: signs, or numbers on both sides of 0 that are cut off."""
    if not others.size:
        return not whole
    signs = bool(np.isin(others, (0, 1)).all())
    return signs or bool((np.abs(others) <= 1).all() and (others < 0).any())
