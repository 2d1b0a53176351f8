"""What a loss that is not of this package is given, and what is made of its value."""

import inspect
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_mt import tasks
from keras_mt.losses import LabeledPositions
from keras_mt.losses.functions_of_keras import function_of, takes_integers
from keras_mt.losses.labeled_positions import overrides_call
from keras_mt.losses_on_replicas import times_replicas
from keras_mt.structures import as_rank, keras_mask

_HINGE_LOSSES = (keras.losses.Hinge, keras.losses.SquaredHinge)
_HINGE_FUNCTIONS = (keras.losses.hinge, keras.losses.squared_hinge)
_SURELY_BOTH = 16  # So many labels are not all "yes" by chance.


def call_loss(loss, y_true, y_pred) -> tf.Tensor:
    """Returns the values of a loss before any reduction, with operands of the dtype that Keras gives them.

    What the loss itself leaves out, by `ignore_class`, is Keras' mask of the values.
    """
    if not isinstance(loss, keras.losses.Loss) or overrides_call(loss):
        dtype, function = keras.config.floatx(), loss
    else:
        dtype, function = loss.dtype, loss.call
    y_true, y_pred = ops.cast(y_true, dtype), ops.cast(y_pred, dtype)
    values = ops.convert_to_tensor(function(y_true, y_pred))
    factor = times_replicas(function, y_true, y_pred)
    return values if factor == 1.0 else factor * values


def value_of_labeled(output, labels, outputs, of_student: Callable | None = None) -> tuple[tf.Tensor, bool]:
    """Returns an output's loss for the labeled examples alone, as if no others were there, and whether it is a sum.

    Where the loss itself ignores some positions (`ignore_class`), its mean is over the others that have a label.

    Args:
        output: The `outputs.Output`.
        labels: Its `labels.Labels`.
        outputs: What a network gave.
        of_student: The student's own `compute_loss` of `(rows, labels, outputs, weights)`, if it is to be called.
    """
    mask, examples = labels.mask, labels.examples
    if isinstance(output.loss, LabeledPositions):
        examples = mask > 0
    y, p, w, m = (tf.boolean_mask(rows, examples) for rows in (labels.values, outputs, labels.weight, mask))
    if of_student is not None:
        padding = keras_mask(outputs)
        if padding is not None:
            p._keras_mask = tf.boolean_mask(padding, examples)  # Keras' losses leave padding out of their means.
        value = of_student(examples, y, p, _weights_of_student(output, labels, w))
        # As Keras' own step has it, which divides by the number of replicas what is to be summed over them.
        return value * tf.distribute.get_strategy().num_replicas_in_sync, False
    loss = output.loss.loss if isinstance(output.loss, LabeledPositions) else output.loss
    require_form(loss, f"loss of {output}", labels.values, output)
    if function_of(loss) is keras.losses.categorical_generalized_cross_entropy and len(labels.values.shape) > len(
        mask.shape
    ):
        y = y[..., 0]  # Of [batch, 1] it would compare each with each.
    whole = ops.all(m > 0)
    if overrides_call(output.loss):
        if labels.weighted or len(mask.shape) > 1:
            return _weighed_by_itself(output, y, p, w, whole, labels.weighted), False
        return _called_whole(output.loss, y, p), False
    by_column = output.loss_is_mean_of_columns
    values = call_loss(output.loss, *((y[..., None], p[..., None]) if by_column else (y, p)))
    if not values.shape.rank:
        if labels.weighted:
            raise ValueError(
                f"`sample_weight` and `class_weight` can't weigh a loss that is one number for a batch. Received: "
                f"loss={output.loss}"
            )
        tasks.require(whole, _partly_labeled(output))
        return values, False
    require_reduction(output.loss, f"loss of {output}", values)
    kept, w, m = keras_mask(values), as_rank(w, values), as_rank(m, values)
    missing = len(w.shape) - len(values.shape)
    if missing > 0:
        # One number for some labels, such as all columns of an example: they need weights that are alike.
        axes = tuple(range(-missing, 0))
        alike = ops.all(ops.min(w, axis=axes) == ops.max(w, axis=axes))
        tasks.require(alike, _partly_weighted(output) if labels.weighted else _partly_labeled(output))
        w, m = ops.max(w, axis=axes), ops.max(m, axis=axes)
    if labels.weighted or len(mask.shape) > 1:
        values = values * ops.cast(w, values.dtype)
    if kept is not None:  # Not what is padding either, which has no label.
        kept = as_rank(ops.cast(kept, values.dtype), values) * ops.cast(m, values.dtype) * ops.ones_like(values)
        values, w = values * kept, ops.cast(w, values.dtype) * kept
    reduction = getattr(output.loss, "reduction", None)
    if reduction == "mean_with_sample_weight":
        return ops.divide_no_nan(ops.sum(values), ops.sum(ops.cast(w, values.dtype) * ops.ones_like(values))), False
    if kept is not None and reduction != "sum":
        return ops.divide_no_nan(ops.sum(values), ops.sum(kept)), False
    if by_column:
        values = ops.mean(values, axis=-1)
    if reduction == "sum":
        return ops.sum(values), True
    if labels.padding is None:
        return ops.mean(values), False
    # As Keras has it, what is padding is not divided by.
    padding = as_rank(tf.boolean_mask(labels.padding, examples), values)
    if len(padding.shape) > len(values.shape):
        return ops.mean(values), False
    return ops.sum(values) / ops.sum(ops.cast(padding, values.dtype) * ops.ones_like(values)), False


def examples_of(output) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns labels and outputs that an output could have, on which a loss or metric can be tried out.

    Args:
        output: The `outputs.Output`, of yes-or-no outputs or of numbers.
    """
    random, sizes = np.random.default_rng(0), [size or 3 for size in output.shape[1:]]
    shape = (2 if len(sizes) > 1 else 16, *sizes)
    numbers = random.uniform(0.1, 2.0, shape).astype("float32")
    if output.task_name == "regression":
        return tf.constant(numbers), tf.constant(random.uniform(0.1, 2.0, shape).astype("float32"))
    logits = tf.constant((numbers - 1.0) * random.choice([-2.0, 2.0], shape).astype("float32"))
    outputs = logits if output.from_logits else output.task.probabilities(logits)
    return tf.constant(random.integers(0, 2, shape).astype("float32")), outputs


def is_mean_of_columns(output) -> bool:
    """Whether the loss of an output is a mean over columns, each of which can then be weighed by itself."""
    loss = output.loss
    if not output.task.each_output or output.shape[-1] == 1 or output.has_own_loss() or output.compute_loss is not None:
        return False
    if isinstance(loss, LabeledPositions) or overrides_call(loss):
        return False
    y, p = examples_of(output)
    try:
        whole, each = call_loss(loss, y, p), call_loss(loss, y[..., None], p[..., None])
    except Exception:  # Of what it can't take, each loss says something else.
        return False
    if whole.shape != y.shape[:-1] or each.shape != y.shape:
        return False
    return np.allclose(ops.cast(whole, "float32"), ops.mean(ops.cast(each, "float32"), axis=-1), rtol=1e-2, atol=1e-2)


def _weights_of_student(output, labels, w):
    """The weights that a `compute_loss` gets: None, or one number an example or position."""
    if not output.task.each_output:
        return w if labels.weighted or len(labels.mask.shape) > 1 else None
    tasks.require(
        ops.all(w == w[..., :1]),
        f"A `compute_loss` takes one weight for all columns of {output}, so labels that are missing in some of them, "
        "and weights of classes or columns, can't reach it; use a loss, without an own `compute_loss`",
    )
    return w[..., 0] if labels.weighted or len(labels.mask.shape) > 2 else None


def check_hinge(output, labels, whole: bool) -> None:
    """Refuses labels of -1 and 1 for a hinge loss, which Keras takes for no and yes: here -1 is unlabeled.

    Args:
        output: The `outputs.Output`.
        labels: Its labels of all examples, or of a batch.
        whole: Whether they are those of all.

    Raises:
        ValueError: If some are 1, some are -1, and none is 0.
    """
    if not isinstance(output.loss, _HINGE_LOSSES) and output.loss not in _HINGE_FUNCTIONS:
        return
    labels = keras.ops.convert_to_numpy(labels)
    yes = (labels == 1).sum()
    if yes >= (1 if whole else _SURELY_BOTH) and (labels == -1).any() and not ((labels >= 0) & (labels < 1)).any():
        raise ValueError(
            f"{output.labels_name} must hold 0 for no and 1 for yes with a hinge loss; -1 is unlabeled. "
            "Received: 1 and -1 alone"
        )


def require_reduction(loss, what: str, values=None) -> None:
    """Raises a `ValueError` if a loss has several values and does not say what is made of them.

    Keras would train on their sum, and here they would be a mean.

    Args:
        loss: The loss.
        what: What it is called in a sentence.
        values: What it gave; None before it is called, when those of Keras and of this package are known to be several.
    """
    if not isinstance(loss, keras.losses.Loss) or loss.reduction not in (None, "none"):
        return
    known = function_of(loss) is not None or type(loss).__module__.startswith("keras_mt.")
    if known if values is None else values.shape.rank:
        raise ValueError(
            f'The {what}, {loss.name}, must say what is made of its values: reduction="sum_over_batch_size" for their '
            f'mean, or "sum". Received: reduction={loss.reduction!r}'
        )


def require_form(function, what: str, labels, output) -> None:
    """Raises a `ValueError` if a loss or metric of Keras would read labels of classes as what they are not.

    Of integers and outputs `[batch, classes]` those for one-hot labels fail, or compare each with each without a word.

    Args:
        function: The loss or the metric.
        what: What it is called in a sentence.
        labels: The labels.
        output: The `outputs.Output`.
    """
    if output.task_name != "multiclass":
        return
    for attribute in ("fn", "_fn", "func"):  # What wraps a function.
        function = getattr(function, attribute, function)
    if not getattr(function, "__module__", "").startswith("keras."):
        return
    name = getattr(function, "__name__", "")
    one_hot, sparse = tasks.is_one_hot(labels, output.shape), takes_integers(function)
    if not name or sparse != one_hot:
        return
    allowed = "one-hot labels, or another one: `sparse_...`"
    if sparse:
        allowed = "integers, or another one" + (": without `sparse`" if name.startswith("sparse_") else "")
    raise ValueError(f"The {what}, {name}, needs {allowed}. Received: labels of shape {tuple(labels.shape)}")


def _called_whole(loss, y, p, *weights):
    """The value of a loss that overrides `__call__`, as it is on a single device."""
    value = ops.convert_to_tensor(loss(y, p, *weights))
    if value.shape.rank:
        raise ValueError(
            f"A loss that overrides `__call__` must return one number for a batch. Received: {type(loss).__name__}, "
            f"which returns values of shape {tuple(value.shape)}; return their mean, or override `call` alone"
        )
    return times_replicas(loss, y, p) * value


def _weighed_by_itself(output, y, p, w, whole, weighted):
    """The value of a loss that overrides `__call__`, if it keeps to its weights where there are any to keep to."""

    def value(outputs, weights):
        return _called_whole(output.loss, y, outputs, weights)

    def keeps_to_weights():
        # What has weight 0 must make no difference. NaN, of nothing at all, is none.
        weights = w
        if weighted:
            odd = ops.cast(ops.arange(ops.shape(w)[0]) % 2, w.dtype)
            weights = w * as_rank(odd, w)
        kept = as_rank(weights > 0, p)
        a, b = value(p, weights), value(ops.where(kept, p, _other(output, p)), weights)
        return ops.logical_not(ops.abs(a - b) > 1e-5 * ops.abs(a))

    sentence = (
        f"The loss of {output}, {type(output.loss).__name__}, overrides `__call__` and does not keep to "
        "`sample_weight`: what has weight 0 must make no difference to it. "
        + ("`sample_weight` and `class_weight` need that" if weighted else
           "Labels that are missing inside of an example need that; or use "
           "`keras_mt.losses.LabeledPositions(loss)`")
    )  # fmt: skip
    if not _takes_weights(output.loss):
        if weighted:
            raise ValueError(sentence)
        tasks.require(whole, sentence)
        return _called_whole(output.loss, y, p)
    nothing_to_keep_to = tf.constant(False) if weighted else whole
    tasks.require(tf.cond(nothing_to_keep_to, lambda: tf.constant(True), keeps_to_weights), sentence)
    return value(p, w)


def _other(output, outputs):
    """Outputs that are others than these, and may be outputs as well."""
    columns = ops.shape(outputs)[-1]
    if output.from_logits or output.task_name == "regression":
        return ops.cast(ops.arange(columns), outputs.dtype) - outputs
    first = ops.cast(ops.arange(columns) == 0, outputs.dtype) if output.task_name == "multiclass" else 0.0
    return (outputs + first) / 2


def _partly_labeled(output):
    return (
        f"The loss of {output} is one number for a batch or an example, so labels that are missing inside of an "
        "example can't be kept from it; use a loss of each position, or "
        "`keras_mt.losses.LabeledPositions(loss)`"
    )


def _partly_weighted(output):
    return (
        f"The loss of {output} is one number for a batch or an example, so labels inside of an example can't be "
        "weighed by themselves or be missing; use a loss of each position or column, and weights of examples"
    )


def _takes_weights(loss):
    try:
        inspect.signature(loss).bind(None, None, None)
    except TypeError:
        return False
    return True
