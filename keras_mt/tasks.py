"""What a network's outputs mean: which labels they have, which losses, and what an error is."""

import contextlib
import contextvars
import dataclasses
import re
import warnings
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_mt import losses
from keras_mt.losses.classification import UNLABELED
from keras_mt.losses.functions_of_keras import function_of, takes_logits


def _at_least_float32(values):
    # 1 - 1e-7 is 1 in bfloat16 and float16.
    return ops.cast(values, keras.backend.result_type(values.dtype, "float32"))


def _logits_of_softmax(probabilities):
    return ops.log(ops.clip(_at_least_float32(probabilities), 1e-7, 1.0))  # softmax(log p) = p.


def _logits_of_sigmoid(probabilities):
    probabilities = ops.clip(_at_least_float32(probabilities), 1e-7, 1.0 - 1e-7)
    return ops.log(probabilities) - ops.log1p(-probabilities)


def _wrong_labels(labels, logits):
    return ops.cast(ops.not_equal(logits > 0, labels > 0), "float32")


def _absolute_errors(labels, outputs):
    return ops.abs(ops.cast(labels, "float32") - ops.cast(outputs, "float32"))


@dataclasses.dataclass(frozen=True)
class Task:
    """One meaning of outputs.

    Attributes:
        mask: From labels and the rank of outputs to labels with 0 in place of what is missing, and the float32 mask of
            what had one.
        errors: From labels and logits to the error of each.
        loss: From `from_logits` and a reduction to the Keras loss of labels.
        logits: From outputs that are probabilities to logits.
        probabilities: From logits to probabilities.
        each_output: Whether each column of outputs has a label, a mask and a cost of its own.
        consistencies: Named consistency costs of its own, by their names; none for those of
            `losses.get_consistency`.
    """

    mask: Callable
    errors: Callable
    loss: Callable[[bool, str], keras.losses.Loss]
    logits: Callable
    probabilities: Callable
    each_output: bool
    consistencies: dict

    def consistency(self, identifier) -> keras.losses.Loss:
        """Returns the consistency cost that `MeanTeacher` was asked for.

        Args:
            identifier: Its name, a trust in [0, 1] where outputs are classes, or a Keras loss.

        Raises:
            ValueError: If this task has none of that name, or a loss of Keras needs probabilities.
        """
        if isinstance(identifier, losses.Confident):
            if self is TASKS["regression"]:
                raise ValueError(
                    'A threshold of confidence needs probabilities, which outputs of the task "regression" have not. '
                    f"Received: consistency={identifier.name!r}"
                )
            return identifier.of_task(self)
        is_loss = isinstance(identifier, keras.losses.Loss)
        if is_loss and self is not TASKS["regression"] and takes_logits(identifier) is not None:
            raise ValueError(
                "Argument `consistency` is given the logits of both networks, and "
                f'{function_of(identifier).__name__} takes its target for probabilities: use consistency="kl". '
                f"Received: consistency={identifier.name!r}"
            )
        if not self.consistencies or is_loss:
            return losses.get_consistency(identifier)
        if identifier not in self.consistencies:
            raise ValueError(
                f"Argument `consistency` must be one of {tuple(self.consistencies)} or a `keras.losses.Loss` for this "
                f"task. Received: consistency={identifier!r}"
            )
        return self.consistencies[identifier]()


TASKS = {
    "multiclass": Task(
        mask=losses.mask_unlabeled,
        errors=losses.classification_errors,
        loss=losses.ClassificationCost,
        logits=_logits_of_softmax,
        probabilities=lambda logits: ops.softmax(logits),
        each_output=False,
        consistencies={},
    ),
    "multilabel": Task(
        mask=losses.mask_unknown,
        errors=_wrong_labels,
        loss=losses.MultiLabelCost,
        logits=_logits_of_sigmoid,
        probabilities=lambda logits: ops.sigmoid(logits),
        each_output=True,
        consistencies={"mse": losses.SigmoidMSEConsistency, "kl": losses.SigmoidKLConsistency},
    ),
    "regression": Task(
        mask=losses.mask_missing,
        errors=_absolute_errors,
        loss=lambda from_logits, reduction: losses.RegressionCost(reduction),
        logits=lambda outputs: outputs,
        probabilities=lambda outputs: outputs,
        each_output=True,
        consistencies={"mse": losses.OutputMSEConsistency},
    ),
}

# Labels ------------------------------------------------------------------------------------------------------------


def is_one_hot(labels, shape) -> bool:
    """Whether class labels are one-hot rows (or rows of probabilities) for outputs of a shape."""
    return len(labels.shape) == len(shape) and labels.shape[-1] != 1


def check_shape(task: str, labels, shape: tuple, name: str) -> None:
    """Checks what can be seen of labels without their values.

    Args:
        task: Name of the task.
        labels: An array or a tensor, perhaps symbolic.
        shape: Shape of the outputs, the batch first.
        name: What the labels are called in a sentence: "Argument `y`".

    Raises:
        ValueError: If these can't be labels of such outputs.
    """
    if labels is None:
        raise ValueError(
            f"{name} is missing: labels are needed, with {'NaN' if task == 'regression' else -1} for unlabeled examples"
        )
    if labels.shape.rank is None if isinstance(labels.shape, tf.TensorShape) else False:
        return
    if not _are_numbers(labels):
        raise ValueError(
            f"{name} must hold numbers: integers for classes, {'NaN' if task == 'regression' else UNLABELED} for "
            "unlabeled examples. `keras.layers.StringLookup` or the codes of a pandas categorical make integers of "
            f"names. Received: labels of dtype {getattr(labels.dtype, 'name', labels.dtype)}"
        )
    rank, last = len(labels.shape), labels.shape[-1] if len(labels.shape) else None
    columns = shape[-1]
    places = ", ".join(["batch", *("..." for _ in shape[1:-1])])
    if task == "multiclass":
        fits = rank == len(shape) - 1 or (rank == len(shape) and (last in (None, 1, columns) or columns is None))
        allowed = f"integers [{places}] or [{places}, 1], or one-hot labels [{places}, {columns}]"
    else:
        fits = (rank == len(shape) and (last in (None, columns) or columns is None)) or (
            rank == len(shape) - 1 and columns == 1
        )
        allowed = f"labels [{places}, {columns}]" + (f" or [{places}]" if columns == 1 else "")
    sizes = zip(shape[1:-1], labels.shape[1:], strict=False)
    if not fits or any(None not in pair and pair[0] != pair[1] for pair in sizes):
        raise ValueError(
            f"{name} must be {allowed} for outputs of shape {shape}. Received: shape {tuple(labels.shape)}"
        )


def _are_numbers(labels):
    try:
        dtype = tf.as_dtype(labels.dtype)
    except TypeError:  # Dates, for example.
        return False
    return dtype.is_floating or dtype.is_integer or dtype.is_bool


def sentences(task: str, columns: int | None, name: str) -> dict[str, str]:
    """The sentences about wrong labels, which end with what was found."""
    largest = columns - 1 if columns else "C - 1"
    return {
        "classes": f"{name} must hold class labels from 0 to {largest}, or {UNLABELED} for unlabeled examples. "
        "Received: ",
        "whole": f"{name} must hold integer class labels. Received: ",
        "one_hot": f"{name} must hold one-hot labels: rows that sum to 1, or {UNLABELED} in all columns for unlabeled "
        "examples. Received: a row that sums to ",
        "yes_or_no": f"{name} must hold labels from 0 (no) to 1 (yes), or {UNLABELED} for unlabeled ones. Received: ",
        "finite": f"{name} must hold finite numbers, or NaN for unlabeled outputs. Received: ",
    }


def _findings(task, labels, shape, name, lib):
    """Pairs `(wrong, value, sentence)`: whether labels are wrong, and an example. `lib` is NumPy or `keras.ops`."""
    said = sentences(task, shape[-1], name)
    if task == "regression":
        if np.issubdtype(_numpy_dtype(labels), np.floating):  # Keras' `isinf` fails on integers in a graph.
            yield lib.any(lib.isinf(labels)), np.inf, said["finite"]
        return
    if task == "multiclass" and is_one_hot(labels, shape):
        labels = labels if np.issubdtype(_numpy_dtype(labels), np.floating) else lib.cast(labels, "float32")
        total, smallest = lib.sum(labels, axis=-1), lib.min(labels, axis=-1)
        unlabeled = lib.max(labels, axis=-1) == UNLABELED
        wrong = lib.logical_not(lib.logical_or(lib.logical_and(lib.abs(total - 1) < 1e-2, smallest >= 0), unlabeled))
        yield lib.any(wrong), lib.max(lib.where(wrong, total, -np.inf)), said["one_hot"]
        return
    smallest, largest = lib.min(labels), lib.max(labels)
    if np.issubdtype(_numpy_dtype(labels), np.floating):
        if task == "multilabel":
            between = lib.logical_not(lib.logical_or(labels >= 0, labels == UNLABELED))  # NaN is neither.
            yield lib.any(between), lib.min(lib.where(between, labels, 0.0)), said["yes_or_no"]
        else:
            broken = labels != lib.round(labels)
            yield lib.any(broken), lib.max(lib.where(broken, labels, -np.inf)), said["whole"]
    above = 1 if task == "multilabel" else (shape[-1] - 1 if shape[-1] else 2**31 - 1)
    wrong = lib.logical_or(smallest < UNLABELED, largest > above)
    yield wrong, lib.where(largest > above, largest, smallest), said["yes_or_no" if task == "multilabel" else "classes"]


def _numpy_dtype(values):
    dtype = keras.backend.standardize_dtype(values.dtype)
    return np.dtype("float32" if dtype == "bfloat16" else dtype)


class _NumPy:
    def __getattr__(self, name):
        return getattr(np, name)

    cast = staticmethod(lambda values, dtype: values.astype(dtype))


def check_arrays(task: str, labels: np.ndarray, shape: tuple, name: str, trained: int | None = None) -> None:
    """Checks all labels of arrays before training, and that there are some to train on.

    Args:
        task: Name of the task.
        labels: Labels of all examples, of any dtype that can hold -1, or of booleans.
        shape: Shape of the outputs, the batch first.
        name: What the labels are called in a sentence.
        trained: How many of the first examples are trained on, others being for validation; None for all.

    Raises:
        ValueError: If some are no labels of the task, or all that are trained on are missing.
    """
    check_shape(task, labels, shape, name)
    if not labels.size:
        return
    for wrong, value, sentence in _findings(task, labels, shape, name, _NumPy()):
        if wrong:
            raise ValueError(f"{sentence}{value:g}")
    which = "of them"
    if trained and trained < len(labels):
        labels, which = labels[:trained], f"{trained} that `validation_split` leaves"
    _, labeled = TASKS[task].mask(tf.convert_to_tensor(labels), len(shape))
    if not labeled.numpy().any():
        missing = "NaN" if task == "regression" else UNLABELED
        raise ValueError(f"{name} must hold labeled examples. Received: {missing} (unlabeled) for all {which}")
    if task == "multilabel":
        no = ((labels >= 0) & (labels < 1)).reshape(-1, shape[-1] or labels.shape[-1]).any(axis=0)
        if not no.all():
            where = f" in column {', '.join(map(str, np.flatnonzero(~no)[:10]))} of {len(no)}" if len(no) > 1 else ""
            warnings.warn(
                f"{name} holds no label of 0 (no){where}: {UNLABELED} is unlabeled, and 1 is yes.", stacklevel=5
            )
    if task == "multiclass" and shape[-1] and not is_one_hot(labels, shape):
        absent = sorted(set(range(shape[-1])) - set(np.unique(labels).astype(int).tolist()))
        if absent:
            # Not refused: a network may have outputs that this part of the data does not use.
            warnings.warn(
                f"No labeled example of class {', '.join(map(str, absent[:10]))} of {shape[-1]}.", stacklevel=5
            )


_BEGIN, _END = "keras_mt: ", " :keras_mt"
_kept_in = contextvars.ContextVar("kept_in", default=None)


@contextlib.contextmanager
def kept_in(findings):
    """Lets `require` pass what it is given on to an `xla.Findings`, where assertions would be dropped."""
    token = _kept_in.set(findings)
    try:
        yield
    finally:
        _kept_in.reset(token)


def require(condition, sentence: str, value="") -> list:
    """Asserts a condition inside of a compiled step; `sentence_of` finds the sentence in what is raised.

    Args:
        condition: Scalar boolean tensor.
        sentence: What is said if it does not hold.
        value: What was found, a scalar; it follows the sentence.

    Returns:
        The operations that what must not run before them is to depend on: none in eager mode.
    """
    if (findings := _kept_in.get()) is not None:
        findings.add(condition, sentence, value)
        return []
    operation = tf.debugging.Assert(condition, [f"{_BEGIN}{sentence}{_END}", value])
    return [] if operation is None else [operation]


def require_labels(task: str, labels, shape: tuple, name: str):
    """Returns the labels of a batch, checked inside of a compiled step. Arguments as `check_arrays` has them."""
    labels, operations = losses.signed(labels), []
    for wrong, value, sentence in _findings(task, labels, shape, name, ops):
        right = ops.logical_or(ops.logical_not(wrong), ops.equal(ops.size(labels), 0))
        operations += require(right, sentence, value)
    # What a loss would say of the same labels must not come first.
    with tf.control_dependencies(operations):
        return tf.identity(labels)


def sentence_of(error: Exception) -> str | None:
    """Returns the sentence of a `require` that failed; None for what any other error says."""
    # TensorFlow escapes quotes, and says more after the value: of that, a number alone is it.
    found = re.search(
        rf"{_BEGIN}(.*?){_END}[\s'\"\[\]]*((?:[-+]?[\d.]+(?:e[-+]?\d+)?|nan|[-+]?inf)\b)?", str(error), re.DOTALL
    )
    return re.sub(r"\\(['\"])", r"\1", f"{found[1]}{found[2] or ''}") if found else None
