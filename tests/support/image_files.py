"""Small sets of pictures of different sizes: a folder, and ImageNet as TensorFlow Datasets prepares it."""

import io
import tarfile
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_mt.experiments.datasets.streamed import load_streamed

CLASSES = ("n01440764", "n01443537", "n01484850")


def picture(random, label: int, encode=tf.io.encode_jpeg) -> bytes:
    """A picture of random size whose color tells its class."""
    height, width = random.integers(40, 90, 2)
    image = random.integers(0, 120, (height, width, 3))
    image[..., label % 3] += 130
    return encode(image.astype("uint8")).numpy()


def write_folder(root: Path, per_class: int = 8, unlabeled: int = 6, test_per_class: int = 4) -> None:
    """Writes `train/CLASS/`, `unlabeled/` and `test/CLASS/`."""
    random = np.random.default_rng(0)
    for split, count in (("train", per_class), ("test", test_per_class)):
        for label, name in enumerate(CLASSES):
            folder = root / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                png = number % 2
                encode = tf.io.encode_png if png else tf.io.encode_jpeg
                path = folder / f"{name}_{number}.{'png' if png else 'JPEG'}"
                path.write_bytes(picture(random, label, encode))
    (root / "unlabeled").mkdir()
    for number in range(unlabeled):
        (root / "unlabeled" / f"{number}.jpg").write_bytes(picture(random, number))


def write_imagenet_archives(folder: Path, per_class: int = 6) -> None:
    """Writes ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar with pictures of 3 of the 1,000 classes."""
    random = np.random.default_rng(0)
    folder.mkdir(parents=True)

    def add(archive, name, content):
        info = tarfile.TarInfo(name)
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))

    with tarfile.open(folder / "ILSVRC2012_img_train.tar", "w") as archive:
        for label, name in enumerate(CLASSES):
            inner = io.BytesIO()
            with tarfile.open(fileobj=inner, mode="w") as of_class:
                for number in range(per_class):
                    add(of_class, f"{name}_{number}.JPEG", picture(random, label))
            add(archive, f"{name}.tar", inner.getvalue())
    with tarfile.open(folder / "ILSVRC2012_img_val.tar", "w") as archive:
        for number in range(50):
            add(archive, f"ILSVRC2012_val_{number + 1:08}.JPEG", picture(random, number))


def load_folder(folder: Path, **changes):
    """Returns the data of a folder, of which six pictures are labeled."""
    arguments = {"image_size": 32, "num_labels": 6, "augmentation": "imagenet", **changes}
    return load_streamed("folder", str(folder), **arguments)
