"""SVHN from a folder of the original .mat files: `train_32x32.mat`, `test_32x32.mat`, `extra_32x32.mat`."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from keras_mt.experiments.errors import DataError

_BLOCK = 1000


def has_mat_files(data_dir: str | None) -> bool:
    """Whether a folder holds the original training file."""
    return data_dir is not None and (Path(data_dir) / "train_32x32.mat").exists()


def mat_path(data_dir: str, split: str) -> Path:
    """Returns the file of a split.

    Raises:
        DataError: If it is missing.
    """
    path = Path(data_dir) / f"{split}_32x32.mat"
    if not path.exists():
        raise DataError(
            f"{path} is missing; `data_dir` must hold train_32x32.mat, test_32x32.mat and, for extra, it too"
        )
    return path


def read_mat(path: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields one split block by block, in the order of the file.

    Args:
        path: The .mat file.

    Yields:
        Images uint8 `[n, 32, 32, 3]` and labels int32 `[n]`; the file's label 10 is digit 0.

    Raises:
        DataError: If the file is damaged, or not of the format.
    """
    from scipy.io import loadmat

    try:
        content = loadmat(path)
        images, labels = content["X"], content["y"].reshape(-1)
    except Exception as error:  # scipy raises many kinds for damaged files.
        raise DataError(
            f"{path} can't be read as an SVHN .mat file with X and y ({error}); download it again"
        ) from error
    if images.dtype != np.uint8 or images.shape[:3] != (32, 32, 3) or images.shape[3:] != labels.shape:
        raise DataError(
            f"{path} holds X of {images.dtype} {images.shape} and y of {labels.shape}; uint8 (32, 32, 3, n) and (n, 1) "
            "are allowed"
        )
    if not len(labels):
        raise DataError(f"{path} holds no images; at least one is needed")
    if labels.dtype.kind not in "iuf":
        raise DataError(f"{path} holds labels of {labels.dtype}; integers 1 to 10 are allowed")
    if labels.dtype.kind not in "iu" or labels.min() < 1 or labels.max() > 10:
        raise DataError(f"{path} holds labels from {labels.min()} to {labels.max()}; integers 1 to 10 are allowed")
    for start in range(0, len(labels), _BLOCK):
        block = images[..., start : start + _BLOCK].transpose(3, 0, 1, 2)
        yield np.ascontiguousarray(block), (labels[start : start + _BLOCK] % 10).astype("int32")
