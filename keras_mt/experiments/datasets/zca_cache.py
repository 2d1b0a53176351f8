"""ZCA whitening on disk: fitted once for the same images."""

import hashlib
import os
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from keras_mt.data import whitening
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
    path = Path(cache_dir) / f"zca-{content.hexdigest()[:32]}.npz"
    if path.exists():
        try:
            with np.load(path, allow_pickle=False) as file:
                mean, matrix = file["mean"], file["matrix"]
            numbers = images[0].size
            if mean.shape == (numbers,) and matrix.shape == (numbers, numbers) and np.isfinite(matrix).all():
                return mean, matrix
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            pass  # Damaged: computed anew and replaced below.
    mean, matrix = whitening.fit_zca(images)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".npz", delete=False) as file:
            np.savez(file, mean=mean, matrix=matrix)
        os.replace(file.name, path)  # Atomically, also with two runs at once.
    except OSError as error:
        raise DataError(f"`cache_dir={cache_dir}` can't keep the ZCA whitening ({error.strerror or error})") from error
    return mean, matrix
