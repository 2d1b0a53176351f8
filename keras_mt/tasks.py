"""What a network's outputs mean: which labels they have, which costs, and what an error is."""

import dataclasses
from collections.abc import Callable

import keras
from keras import ops

from keras_mt import losses


def _logits_of_softmax(outputs):
    return ops.log(ops.clip(outputs, 1e-7, 1.0))  # softmax(log p) = p.


def _logits_of_sigmoid(outputs):
    outputs = ops.clip(outputs, 1e-7, 1.0 - 1e-7)
    return ops.log(outputs) - ops.log1p(-outputs)


def _wrong_labels(labels, logits):
    return ops.cast(ops.not_equal(logits > 0, labels > 0), "float32")


def _absolute_errors(labels, outputs):
    return ops.abs(ops.cast(labels, "float32") - ops.cast(outputs, "float32"))


@dataclasses.dataclass(frozen=True)
class Task:
    """One meaning of outputs.

    Attributes:
        mask: From labels to labels with nothing hidden, and the mask of what had one.
        errors: From labels and logits to the error of each.
        cost: From `from_logits` and a reduction to the Keras loss of labels.
        logits: From outputs that are probabilities to logits.
        each_output: Whether each output has a label, a mask and a cost of its own.
        consistencies: Named consistency costs of its own, by their names; none for those of `losses.get_consistency`.
    """

    mask: Callable
    errors: Callable
    cost: Callable[[bool, str], keras.losses.Loss]
    logits: Callable
    each_output: bool
    consistencies: dict

    def consistency(self, identifier, reduction: str) -> keras.losses.Loss:
        """Returns the consistency cost that `MeanTeacher` was asked for.

        Raises:
            ValueError: If this task has none of that name.
        """
        if not self.consistencies or isinstance(identifier, (keras.losses.Loss, dict)):
            return losses.get_consistency(identifier, reduction)
        if identifier not in self.consistencies:
            raise ValueError(
                f"Argument `consistency` must be one of {tuple(self.consistencies)} or a `keras.losses.Loss` for this "
                f"task. Received: consistency={identifier!r}"
            )
        return self.consistencies[identifier](reduction)


TASKS = {
    "multiclass": Task(
        mask=losses.mask_unlabeled,
        errors=losses.classification_errors,
        cost=losses.ClassificationCost,
        logits=_logits_of_softmax,
        each_output=False,
        consistencies={},
    ),
    "multilabel": Task(
        mask=losses.mask_unknown,
        errors=_wrong_labels,
        cost=losses.MultiLabelCost,
        logits=_logits_of_sigmoid,
        each_output=True,
        consistencies={"mse": losses.SigmoidMSEConsistency, "kl": losses.SigmoidKLConsistency},
    ),
    "regression": Task(
        mask=losses.mask_missing,
        errors=_absolute_errors,
        cost=lambda from_logits, reduction: losses.RegressionCost(reduction),
        logits=lambda outputs: outputs,
        each_output=True,
        consistencies={"mse": losses.OutputMSEConsistency},
    ),
}
