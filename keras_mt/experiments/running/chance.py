"""Whether a network has learned anything: its error beside that of always answering the most frequent class."""

import math

import numpy as np


def chance_of(labels: np.ndarray) -> dict:
    """Returns the error of always answering the most frequent class, in percent, and the number of images.

    Args:
        labels: Classes of the images to evaluate on, `[images]`.
    """
    return {"error": 100.0 * (1.0 - np.bincount(labels).max() / len(labels)), "images": len(labels)}


def no_better(error: float, chance: dict) -> bool:
    """Returns whether an error is not below that of chance by more than two standard errors.

    Args:
        error: In percent.
        chance: What `chance_of` returned.
    """
    return error >= chance["error"] - _margin(chance)


def sentence(error: float, chance: dict) -> str:
    """Returns what to say of a network that is no better than chance."""
    return (
        f"{error:.2f} % error is no better than chance: always answering the most frequent class has an error of "
        f"{chance['error']:.2f} % on these {chance['images']} images, give or take "
        f"{_margin(chance):.2f} (two standard errors)"
    )


def _margin(chance):
    """Returns two standard errors, in percent."""
    share = chance["error"] / 100.0
    return 2.0 * 100.0 * math.sqrt(share * (1.0 - share) / chance["images"])
