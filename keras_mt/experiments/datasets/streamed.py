"""Data sets whose images stay on disk and are decoded when their batch comes: ImageNet, or a folder of pictures."""

import dataclasses
import functools
import sys
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from keras_mt.data import Sampling, training_indices
from keras_mt.data.batches import evaluation_rows, evaluation_steps, steps_and_replicas
from keras_mt.data.pipeline_options import without_tuning
from keras_mt.errors import ArgumentError
from keras_mt.experiments.datasets import image_folder, labeled_folder, tfds_images, tfds_streams
from keras_mt.experiments.datasets.byte_ranges import ByteRanges
from keras_mt.experiments.datasets.image_data import ImageData, checksum_of
from keras_mt.experiments.datasets.image_views import plain_view, random_view
from keras_mt.experiments.datasets.labels_file import read_labels_file
from keras_mt.experiments.datasets.split import split_examples

AUGMENTATIONS = ("network", "imagenet")
_EVALUATED = 100  # Images in a batch that is evaluated.
_READ_AHEAD = 64  # Batches that tf.data may have begun before they are needed.


@dataclasses.dataclass(frozen=True)
class StreamedImages(ImageData):
    """Images of any size on disk; see `ImageData`. A batch holds them as float32.

    Attributes:
        ranges: Training images.
        evaluation_ranges: Images to evaluate on.
        image_size: Height and width of what a network gets.
        augmentation: `"network"`: its layers do it; or `"imagenet"`: two views, `image_views.random_view`.
    """

    name: str
    ranges: ByteRanges
    labels: np.ndarray
    labeled: np.ndarray
    evaluation_ranges: ByteRanges
    evaluation_labels: np.ndarray
    class_names: tuple[str, ...]
    origin: str
    image_size: int
    augmentation: str

    images = None

    def fingerprint(self) -> str:
        """Returns that of the labels, and of the pictures' names and sizes."""
        return f"{super().fingerprint()}, pictures {self.ranges.listed()}"

    @functools.cached_property
    def details(self) -> dict[str, str]:
        there = self.evaluation_ranges
        labels = checksum_of(self.evaluation_labels.astype("int64"))
        return {
            "content": self.ranges.content(),
            "evaluation": f"{len(there)} images, {labels}, pictures {there.listed()}, content {there.content()}",
        }

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return (self.image_size, self.image_size, 3)

    @property
    def num_views(self) -> int:
        return 2 if self.augmentation == "imagenet" else 1

    def training_batches(
        self,
        sampling: Sampling,
        *,
        first_step: int = 0,
        with_examples: bool = False,
        num_replicas: int = 1,
        replicas: Sequence[int] = (0,),
    ) -> tf.data.Dataset:
        rows_of = training_indices(self.labels, self.labeled, sampling, num_replicas)
        shard = sampling.batch_size // num_replicas

        def rows(step, replica):
            index, labels, counted = rows_of(step, replica)
            place = step * sampling.batch_size + replica * shard + tf.range(shard, dtype="int64")
            return tf.data.Dataset.from_tensor_slices((index, index, labels, counted, place))

        def example(image, index, label, counted, place):
            if self.num_views == 1:
                x = plain_view(image, self.image_size)
            else:
                seeds = (_view_seed(sampling.seed, place, view) for view in range(2))
                x = tuple(random_view(image, self.image_size, seed) for seed in seeds)
            return ((x, index, counted) if with_examples else x), label

        images = self.ranges.images(steps_and_replicas(first_step, replicas).flat_map(rows))
        examples = images.map(example, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        return without_tuning(examples.batch(shard, drop_remainder=True).prefetch(2))

    def evaluation_steps(self, num_replicas: int) -> int:
        return evaluation_steps(len(self.evaluation_labels), num_replicas, _EVALUATED)

    def evaluation_batches(self, num_replicas: int = 1, replicas: Sequence[int] = (0,)) -> tf.data.Dataset:
        pieces = evaluation_rows(len(self.evaluation_labels), num_replicas, replicas, _EVALUATED)
        places = np.concatenate([np.array(piece) for piece in pieces])
        sizes = np.array([len(piece) for piece in pieces])
        piece_of_row = np.repeat(np.arange(len(sizes)), sizes)
        with tf.device("cpu"):
            sizes = tf.constant(sizes, "int64")

        def example(image, label, piece):
            return plain_view(image, self.image_size), label, piece

        def together(piece, window):
            return window.batch(sizes[piece]).map(lambda images, labels, piece: (images, labels))

        labels = self.evaluation_labels[places].astype("int32")
        rows = tf.data.Dataset.from_tensor_slices((places, labels, piece_of_row))
        images = self.evaluation_ranges.images(rows)
        examples = images.map(example, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        of_piece = examples.group_by_window(
            key_func=lambda image, label, piece: piece,
            reduce_func=together,
            window_size_func=lambda piece: sizes[piece],
        )
        return without_tuning(of_piece.prefetch(2))

    def find_broken(self, sampling: Sampling, first_step: int) -> None:
        """Reads the next batches and the images to evaluate on, one by one.

        Raises:
            DataError: If an image can't be read, naming it.
        """
        rows = training_indices(self.labels, self.labeled, sampling)
        for step in range(first_step, first_step + _READ_AHEAD):
            for index in rows(tf.constant(step, "int64"))[0].numpy():
                self.ranges.image(int(index))
        for index in range(len(self.evaluation_ranges)):
            self.evaluation_ranges.image(index)


def _view_seed(seed, place, view):
    return tf.stack([tf.constant(2 * seed + view, "int64"), place])


def is_streamed(dataset: str, data_dir: str | None) -> bool:
    """Returns whether a data set is one whose images differ in size.

    Raises:
        ArgumentError: If there is no such data set.
    """
    if dataset == "folder":
        return True
    return dataset not in ("digits", "svhn_cropped") and tfds_images.differs_in_size(dataset, data_dir)


def load_streamed(
    dataset: str,
    data_dir: str | None,
    *,
    image_size: int,
    augmentation: str = "network",
    cache_dir: str = "~/.cache/keras_mt",
    num_labels: int | str = "all",
    labels_file: str | None = None,
    phase: str = "test",
    num_validation: int | None = None,
    data_seed: int = 0,
    report: Callable[[str], None] = lambda text: None,
) -> StreamedImages:
    """Finds the images of a data set and chooses its labels, as `load_in_memory` does.

    Args:
        dataset: `"folder"`, or a data set of TensorFlow Datasets.
        data_dir: The folder, or that of TensorFlow Datasets.
        image_size: Height and width of what a network gets.
        augmentation: One of `AUGMENTATIONS`.
        cache_dir: Folder where indices are kept.
        num_labels: Number of labels, spread evenly over the classes, or `"all"`.
        labels_file: File that names the labeled images instead; of a folder, a `.csv` of pictures and classes.
        phase: `"test"` or `"validation"`.
        num_validation: How many images are held out in the validation phase; a tenth by default.
        data_seed: Names the split: what is held out, and which examples are labeled.
        report: Is told what takes time.

    Raises:
        DataError: If the data can't be had.
        ArgumentError: If they don't have what is asked for.
    """
    of_classes = dataset == "folder" and (labels_file or "").lower().endswith(".csv")
    if labels_file is not None and not of_classes and num_labels != "all":
        raise ArgumentError(
            "num_labels", num_labels, "and `labels_file` both choose the labeled images; give one of them"
        )
    if of_classes:
        source = labeled_folder.LabeledFolder(data_dir, labels_file)
    elif dataset == "folder":
        source = image_folder.ImageFolder(data_dir)
    else:
        source = tfds_streams.TFDSStream(tfds_images.open_builder(dataset, data_dir), cache_dir, report)
    ranges, labels = source.read("train")
    listed = None
    if labels_file is not None and not of_classes:
        listed = read_labels_file(labels_file, ranges.names, labels, source.class_names)
    training, labeled = split_examples(
        labels,
        len(source.class_names),
        num_labels=num_labels,
        phase=phase,
        num_validation=num_validation,
        data_seed=data_seed,
        listed=listed,
    )
    if not len(labeled):
        argument, value = ("data_dir", data_dir) if labels_file is None else ("labels_file", labels_file)
        raise ArgumentError(argument, value, "has no label for an image to train on")
    if labels_file is not None:
        _check_classes(labels_file, source.class_names, labels, labels[training][labeled])
    kept = np.flatnonzero(training)
    if phase == "validation":
        evaluation = ranges.chosen(np.flatnonzero(~training)), labels[~training]
    else:
        evaluation = source.read("test")
    return StreamedImages(
        dataset,
        ranges.chosen(kept),
        labels[kept],
        labeled,
        *evaluation,
        source.class_names,
        source.origin,
        image_size,
        augmentation,
    )


def _check_classes(labels_file, class_names, labels, labeled):
    """Refuses a class of the user's that no image to train on has; says which have images and no label."""
    with_images, with_labels = set(labels.tolist()), set(labeled.tolist())
    of_user = labels_file.lower().endswith(".csv")
    unknown = [name for label, name in enumerate(class_names) if of_user and label not in with_images]
    if unknown:
        raise ArgumentError("labels_file", labels_file, f"has the class {unknown[0]!r} for no image to train on")
    without = [class_names[label] for label in sorted(with_images - with_labels - {-1})]
    if without:
        names = ", ".join(without[:3]) + ", ..." * (len(without) > 3)
        print(f"warning: {labels_file} labels no image of {names}: nothing teaches what they are", file=sys.stderr)
