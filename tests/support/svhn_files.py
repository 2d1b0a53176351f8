"""Small SVHN files of the true format."""

from pathlib import Path

import numpy as np
from scipy.io import savemat

SIZES = {"train": 60, "test": 20, "extra": 50}


def write_mat_files(folder: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Writes train, test and extra as the originals are; returns images `[n, 32, 32, 3]` and labels 1..10."""
    random = np.random.default_rng(0)
    content = {}
    for split, size in SIZES.items():
        images = random.integers(0, 256, (size, 32, 32, 3)).astype("uint8")
        labels = (np.arange(size) % 10 + 1).astype("uint8")
        savemat(folder / f"{split}_32x32.mat", {"X": images.transpose(1, 2, 3, 0), "y": labels[:, None]})
        content[split] = images, labels
    return content


def prepare_tfds(mat_folder: Path, data_dir: Path, monkeypatch) -> None:
    """Lets TensorFlow Datasets' own svhn_cropped builder prepare the files."""
    import tensorflow as tf
    import tensorflow_datasets as tfds

    def local(self, urls):
        return tf.nest.map_structure(lambda url: str(mat_folder / Path(url).name), urls)

    monkeypatch.setattr(tfds.download.DownloadManager, "download", local)
    tfds.builder("svhn_cropped", data_dir=str(data_dir)).download_and_prepare()
