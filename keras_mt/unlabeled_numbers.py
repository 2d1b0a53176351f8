"""Labels of -1 for "no label" where labels are numbers: the task `"regression"` would train to them."""

import warnings

import keras
import numpy as np

from keras_mt.losses.classification import UNLABELED

_SURELY = 4  # So many examples, at least half of all, are not -1 throughout by chance.
_PERHAPS = 0.1  # Such a share of a column is worth a word.


def check_unlabeled_numbers(output, labels, whole: bool) -> None:
    """Refuses numbers that have -1 for "no label", as classes have it, where it has to be NaN.

    Other negative numbers show that -1 is one as well: whole ones, or those that are cut off there.

    Args:
        output: The `outputs.Output`.
        labels: Its labels of all examples, or of a batch.
        whole: Whether they are those of all.

    Raises:
        ValueError: If at least half of the examples have -1 throughout, no label is NaN, and others are no signs.
    """
    labels = keras.ops.convert_to_numpy(labels)
    if output.task_name != "regression" or not (labels == UNLABELED).any():
        return
    negative = labels[(labels < 0) & (labels != UNLABELED)]
    if negative.size and (negative.min() > UNLABELED or (negative == np.round(negative)).all()):
        return
    columns = labels.shape[-1] if labels.ndim == output.rank else 1
    examples = labels.reshape(len(labels), -1)
    absent = (examples == UNLABELED).all(axis=1)
    found = f"Received: {UNLABELED} for {absent.mean():.0%} of the examples, NaN for none"
    surely = absent.mean() >= 0.5 and absent.sum() >= _SURELY and not np.isnan(labels).any()
    if surely and not _signs(examples[~absent], whole):
        raise ValueError(
            f"{output.labels_name} must hold NaN for unlabeled examples: {UNLABELED} is a number for the task "
            '"regression". Labels of integers become floats first; `keras_mt.data.two_stream` then takes '
            f'`unlabeled_label=float("nan")`. Where {UNLABELED} is meant, move or scale all labels. {found}'
        )
    parts = [examples.reshape(-1, columns)[:, column] for column in range(columns)]
    suspect = [column for column, part in enumerate(parts) if _may_be_missing(part)]
    if suspect:
        more = f" and {len(suspect) - 1} more" if len(suspect) > 1 else ""
        where = f" in column {suspect[0]}{more}" if columns > 1 else ""
        share = (parts[suspect[0]] == UNLABELED).mean()
        warnings.warn(
            f"{output.labels_name} holds {UNLABELED}, which is trained to as a number by the task "
            f'"regression"; unlabeled is NaN. Received: {UNLABELED} for {share:.0%} of the labels{where}.',
            stacklevel=5,
        )


def _may_be_missing(numbers):
    """Whether -1 may stand for "no label" in a column whose other numbers are not negative."""
    absent = numbers == UNLABELED
    enough = absent.mean() >= _PERHAPS and absent.sum() >= _SURELY
    return enough and not np.isnan(numbers).any() and not _signs(numbers[~absent], whole=False)


def _signs(others, whole):
    """Whether -1 is a sign beside others that are 0, 1 or -1; of no others at all, nothing is known in a batch."""
    return bool(np.isin(others, (-1, 0, 1)).all()) and (others.size > 0 or not whole)
