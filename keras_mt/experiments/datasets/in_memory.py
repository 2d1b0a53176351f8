"""Data sets whose images are of one size and held in memory: digits, SVHN, image sets of TensorFlow Datasets."""

import dataclasses
import functools
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from keras_mt.data import Sampling, batches
from keras_mt.data.image_memory import empty_images
from keras_mt.errors import ArgumentError
from keras_mt.experiments.datasets import decoded_cache, digits, svhn_mat, tfds_images
from keras_mt.experiments.datasets.image_data import ImageData, checksum_of
from keras_mt.experiments.datasets.split import split_examples

_EVALUATED = 500  # Images in a batch that is evaluated.


@dataclasses.dataclass(frozen=True)
class InMemoryImages(ImageData):
    """Images of one size in memory; see `ImageData`.

    Attributes:
        images: Training images, uint8 `[examples, height, width, channels]`, extra unlabeled ones last.
        evaluation_images: Test images, or the held-out ones in the validation phase, likewise.
    """

    name: str
    images: np.ndarray
    labels: np.ndarray
    labeled: np.ndarray
    evaluation_images: np.ndarray
    evaluation_labels: np.ndarray
    class_names: tuple[str, ...]
    origin: str

    num_views = 1

    @functools.cached_property
    def details(self) -> dict[str, str]:
        evaluation = checksum_of(self.evaluation_labels.astype("int64"), self.evaluation_images)
        return {
            "content": checksum_of(self.images),
            "evaluation": f"{len(self.evaluation_labels)} images, {evaluation}",
        }

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return self.images.shape[1:]

    def training_batches(self, sampling: Sampling, **which) -> tf.data.Dataset:
        return batches.training_batches(self.images, self.labels, self.labeled, sampling, **which)

    def evaluation_batches(self, num_replicas: int = 1, replicas: Sequence[int] = (0,)) -> tf.data.Dataset:
        images, labels = self.evaluation_images, self.evaluation_labels
        return batches.evaluation_batches(images, labels, _EVALUATED, num_replicas, replicas)

    def evaluation_steps(self, num_replicas: int) -> int:
        return batches.evaluation_steps(len(self.evaluation_labels), num_replicas, _EVALUATED)

    def find_broken(self, sampling: Sampling, first_step: int) -> None:
        """Nothing is read any more, so that nothing can break."""


def load_in_memory(
    dataset: str,
    data_dir: str | None = None,
    *,
    cache_dir: str = "~/.cache/keras_mt",
    num_labels: int | str = "all",
    num_extra_unlabeled: int = 0,
    phase: str = "test",
    num_validation: int | None = None,
    data_seed: int = 0,
    image_size: int = 16,
    report: Callable[[str], None] = lambda text: None,
) -> InMemoryImages:
    """Loads a data set and chooses its labels.

    Args:
        dataset: `"digits"`; `"svhn_cropped"`, from the original .mat files where `data_dir` holds them; or any image
            classification set of TensorFlow Datasets.
        data_dir: Folder of the .mat files or of TensorFlow Datasets.
        cache_dir: Folder where decoded images are kept, as many bytes as they have numbers.
        num_labels: Number of labels, spread evenly over the classes, or `"all"`.
        num_extra_unlabeled: Number of images of the split `extra` added without their labels.
        phase: `"test"`, or `"validation"`: evaluates on a part of the training images that is held out.
        num_validation: How many are held out; a tenth by default.
        data_seed: Names the split: what is held out, and which examples are labeled.
        image_size: Height and width of `digits`.
        report: Is told what takes time, for example `print`; a text that ends in a carriage return is progress.

    Raises:
        DataError: If the data can't be had.
        ArgumentError: If they don't have what is asked for.
    """
    if num_extra_unlabeled and dataset.partition(":")[0] != "svhn_cropped":
        raise ArgumentError("num_extra_unlabeled", num_extra_unlabeled, f"needs `dataset=svhn_cropped`, not {dataset}")
    source = _Source(dataset, data_dir, cache_dir, image_size, report)
    images, labels = source.read("train")
    if phase == "test":
        evaluation_images, evaluation_labels = source.read("test")
    training, labeled = split_examples(
        labels,
        source.num_classes,
        num_labels=num_labels,
        phase=phase,
        num_validation=num_validation,
        data_seed=data_seed,
    )
    if phase == "validation":
        evaluation_images, evaluation_labels = images[~training], labels[~training]
        images, labels = images[training], labels[training]
    if num_extra_unlabeled:
        images, labels = source.append_extra(images, labels, num_extra_unlabeled, data_seed)
    return InMemoryImages(
        dataset, images, labels, labeled, evaluation_images, evaluation_labels, source.class_names, source.origin()
    )


class _Source:
    """Reads the splits of a data set from wherever it is."""

    def __init__(self, name, data_dir, cache_dir, image_size, report):
        self.name, self.data_dir, self.cache_dir, self.report = name, data_dir, cache_dir, report
        self.builder = self.splits = None
        self.class_names = tuple(str(digit) for digit in range(10))
        if name == "digits":
            self.splits = dict(zip(("train", "test"), digits.load_digits(image_size), strict=True))
        elif not (name == "svhn_cropped" and svhn_mat.has_mat_files(data_dir)):
            self.builder = tfds_images.open_builder(name, data_dir)
            self.class_names = tuple(self.builder.info.features["label"].names)
        self.num_classes = len(self.class_names)

    def origin(self):
        """Where the images come from, in words; asked for once they have been read."""
        if self.builder:
            return tfds_images.origin(self.builder)
        return "scikit-learn's digits" if self.splits else "the original .mat files"

    def read(self, split, choose=None, into=None):
        if self.splits:
            return self.splits[split]
        if self.builder:
            fingerprint = tfds_images.fingerprint(self.builder, split)
            decode = functools.partial(tfds_images.read_images, self.builder, split)
        else:
            path = svhn_mat.mat_path(self.data_dir, split)
            fingerprint = repr((str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns))
            decode = functools.partial(svhn_mat.read_mat, path)
        return decoded_cache.read_split(
            self.cache_dir,
            f"{self.name}/{split}",
            fingerprint,
            decode,
            choose=choose,
            into=into,
            report=self.report,
        )

    def append_extra(self, images, labels, count, data_seed):
        """Adds `count` random images of the split `extra`, which keep no label."""

        def choose(size):
            if count > size:
                raise ArgumentError("num_extra_unlabeled", count, f"is more than the {size} images of split 'extra'")
            chosen = np.zeros(size, bool)
            chosen[np.random.RandomState(data_seed).permutation(size)[:count]] = True
            return chosen

        together = empty_images((len(images) + count, *images.shape[1:]))
        together[: len(images)] = images
        self.read("extra", choose, together[len(images) :])
        return together, np.concatenate([labels, np.full(count, -1, "int32")])
