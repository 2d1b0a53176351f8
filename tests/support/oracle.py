"""Costs and errors in NumPy, float64, written from the formulas of Tarvainen & Valpola (2017), not from the library."""

import numpy as np


def softmax(logits):
    e = np.exp(logits - logits.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def sigmoid(logits):
    return 1.0 / (1.0 + np.exp(-logits))


def probabilities(task, logits):
    return {"multiclass": softmax, "multilabel": sigmoid, "regression": lambda numbers: numbers}[task](logits)


def labeled(task, y, rank=None):
    """The mask of labels: one for each example or pixel; for yes-or-no outputs and numbers one for each column."""
    if task == "regression":
        return ~np.isnan(y)
    return y != -1


def label_costs(task, y, predictions, mask):
    """Cost of each label; `predictions` are what `probabilities` gives."""
    if task == "multiclass":
        classes = np.where(mask, y, 0).astype(int)
        own = np.take_along_axis(predictions, classes[..., None], -1)[..., 0]
        return -np.log(np.maximum(own, 1e-7)) * mask
    if task == "multilabel":
        yes = np.where(mask, y, 0.0)
        predictions = np.clip(predictions, 1e-7, 1 - 1e-7)  # As Keras' losses of probabilities do.
        return -(yes * np.log(predictions) + (1 - yes) * np.log(1 - predictions)) * mask
    return np.square(predictions - np.where(mask, y, 0.0)) * mask


def errors(task, y, predictions, mask, among=1):
    """Mean error over what is labeled."""
    if task == "multiclass":
        rank = (predictions > np.take_along_axis(predictions, np.where(mask, y, 0).astype(int)[..., None], -1)).sum(-1)
        wrong = rank >= among
    elif task == "multilabel":
        wrong = (predictions > 0.5) != (np.where(mask, y, 0) > 0.5)
    else:
        wrong = np.abs(predictions - np.where(mask, y, 0.0))
    return (wrong * mask).sum() / mask.sum()


def consistency_costs(task, consistency, target, predictions):
    """Cost of each example, pixel or column; both are what `probabilities` gives."""
    if consistency == "kl" and task == "multiclass":
        return (target * np.log(target / predictions)).sum(-1)
    if consistency == "kl":
        return target * np.log(target / predictions) + (1 - target) * np.log((1 - target) / (1 - predictions))
    squares = np.square(target - predictions)
    return squares.mean(-1) if task == "multiclass" else squares
