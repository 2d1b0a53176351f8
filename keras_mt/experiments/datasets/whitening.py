"""Fits ZCA whitening once and keeps it on disk (paper, appendix B.2)."""

import hashlib
import os
import tempfile
import zipfile
from pathlib import Path

import numpy as np

_REGULARIZER = 0.1
_CONTRAST_NORM = 55.0


def contrast_normalize(images: np.ndarray) -> np.ndarray:
    """Global contrast normalization: returns float32 `[images, numbers]` of mean 0 and norm 55 each."""
    flat = images.reshape(len(images), -1).astype("float32")
    flat -= flat.mean(axis=1, keepdims=True)
    flat *= _CONTRAST_NORM / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-8)
    return flat


def fit_zca(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fits ZCA to contrast-normalized images: `(covariance + 0.1·I)^(-1/2)`.

    Args:
        images: uint8 `[images, height, width, channels]`, the training images.

    Returns:
        `(mean, matrix)` float32 `[numbers]` and `[numbers, numbers]`, as `layers.ZCAWhitening` takes them.
    """
    flat = contrast_normalize(images)
    mean = flat.mean(axis=0)
    flat -= mean
    covariance = (flat.T @ flat).astype("float64") / (len(flat) - 1)
    covariance.flat[:: len(covariance) + 1] += _REGULARIZER
    variances, directions = np.linalg.eigh(covariance)
    matrix = (directions / np.sqrt(variances)) @ directions.T
    return mean, matrix.astype("float32")


def cached_zca(images: np.ndarray, cache_dir: str | os.PathLike) -> tuple[np.ndarray, np.ndarray]:
    """`fit_zca`, or what an earlier call left in `cache_dir` for the very same images."""
    content = hashlib.sha256(repr(images.shape).encode())
    content.update(np.ascontiguousarray(images))
    name = content.hexdigest()[:32]
    path = Path(cache_dir) / f"zca-{name}.npz"
    if path.exists():
        try:
            with np.load(path, allow_pickle=False) as file:
                return file["mean"], file["matrix"]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            pass  # Damaged: computed anew and replaced below.
    mean, matrix = fit_zca(images)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".npz", delete=False) as file:
        np.savez(file, mean=mean, matrix=matrix)
    os.replace(file.name, path)  # Whole or not at all, also with two runs at once.
    return mean, matrix
