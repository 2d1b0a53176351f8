"""ZCA whitening on disk: fitted once for the same images."""

import hashlib
import os
from pathlib import Path

import numpy as np

from keras_mt.data import whitening
from keras_mt.experiments.datasets.kept_arrays import load_arrays, save_arrays
from keras_mt.experiments.errors import DataError


def cached_zca(images: np.ndarray, cache_dir: str | os.PathLike) -> tuple[np.ndarray, np.ndarray]:
    """Returns `whitening.fit_zca` of images, or what an earlier call left on disk for the very same ones.

    Args:
        images: uint8 `[images, height, width, channels]`.
        cache_dir: Folder where it is kept.

    Returns:
        `(mean, matrix)`, float32 `[numbers]` and `[numbers, numbers]`.

    Raises:
        DataError: If the folder can't be written.
    """
    content = hashlib.sha256(repr(images.shape).encode())
    content.update(np.ascontiguousarray(images))
    source = content.hexdigest()
    path = Path(cache_dir) / f"zca-{source[:32]}.npz"
    kept = load_arrays(path, ("mean", "matrix"), source)
    if kept is not None:
        mean, matrix = kept["mean"], kept["matrix"]
        numbers = images[0].size
        whole = mean.shape == (numbers,) and matrix.shape == (numbers, numbers)
        if whole and all(values.dtype == np.float32 and np.isfinite(values).all() for values in (mean, matrix)):
            return mean, matrix
    mean, matrix = whitening.fit_zca(images)
    try:
        save_arrays(path, {"mean": mean, "matrix": matrix}, source)
    except OSError as error:
        raise DataError(f"`cache_dir={cache_dir}` can't keep the ZCA whitening ({error.strerror or error})") from error
    return mean, matrix
