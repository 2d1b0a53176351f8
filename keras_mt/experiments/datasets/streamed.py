"""A data set whose images stay on disk and are decoded when their batch comes: ImageNet, or a folder of pictures."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from keras_mt.data import label_split
from keras_mt.data.batches import evaluation_rows, evaluation_steps, steps_and_replicas, training_indices
from keras_mt.experiments.datasets import image_folder, labeled_folder, tfds_images, tfds_streams
from keras_mt.experiments.datasets.byte_ranges import ByteRanges
from keras_mt.experiments.datasets.image_views import plain_view, random_view
from keras_mt.experiments.datasets.labels_file import read_labels_file
from keras_mt.experiments.errors import DataRequestError

AUGMENTATIONS = ("network", "imagenet")
_EVALUATED = 100  # Images in a batch that is evaluated.
_READ_AHEAD = 64  # Batches that tf.data may have begun before they are needed.


@dataclasses.dataclass(frozen=True)
class StreamedDataset:
    """What a run trains and is evaluated on; the same as `Dataset`, but for images that are ranges of bytes.

    Attributes:
        name: Name of the data set.
        ranges: Training images.
        labels: Their classes, int32 `[examples]`; -1 where there is none.
        labeled: Indices of the labeled examples, sorted.
        evaluation_ranges: Images to evaluate on.
        evaluation_labels: Their classes.
        class_names: Name of each class.
        origin: Where the images come from, in words.
        image_size: Height and width of what the network gets.
        augmentation: `"network"`: its layers do it; or `"imagenet"`: two views, `views.random_view`.
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

    @property
    def num_examples(self) -> int:
        """Number of training examples."""
        return len(self.labels)

    def fingerprint(self) -> str:
        """As `Dataset.fingerprint`."""
        return label_split.fingerprint(self.labels, self.labeled)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of what the network gets."""
        return (self.image_size, self.image_size, 3)

    @property
    def num_views(self) -> int:
        """How many views of an image a batch holds."""
        return 2 if self.augmentation == "imagenet" else 1

    def training_batches(
        self, *, first_step: int, seed: int, with_examples: bool, replicas: Sequence[int] = (0,), **arguments
    ) -> tf.data.Dataset:
        """As `batches.training_batches`; images are float32, and there may be two views of each."""
        draw = training_indices(self.labels, self.labeled, seed=seed, **arguments)
        batch_size = arguments["batch_size"]
        share = batch_size // arguments.get("num_replicas", 1)

        def rows(step, replica):
            index, labels, counted = draw(step, replica)
            place = step * batch_size + replica * share + tf.range(share, dtype="int64")
            return tf.data.Dataset.from_tensor_slices((index, index, labels, counted, place))

        def example(image, index, label, counted, place):
            if self.num_views == 1:
                x = plain_view(image, self.image_size)
            else:
                x = tuple(random_view(image, self.image_size, _view_seed(seed, place, view)) for view in range(2))
            return ((x, index, counted) if with_examples else x), label

        shares = steps_and_replicas(first_step, replicas)
        images = self.ranges.images(shares.flat_map(rows))
        examples = images.map(example, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        return examples.batch(share, drop_remainder=True).prefetch(2)

    def evaluation_steps(self, num_replicas: int) -> int:
        """As `Dataset.evaluation_steps`."""
        return evaluation_steps(len(self.evaluation_labels), num_replicas, _EVALUATED)

    def evaluation_batches(self, num_replicas: int = 1, replicas: Sequence[int] = (0,)) -> tf.data.Dataset:
        """As `batches.evaluation_batches`."""
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
        return of_piece.prefetch(2)

    def find_broken(self, first_step: int, **drawing) -> None:
        """Looks for what ended a run at a step: reads the next batches and the images to evaluate on, one by one.

        Raises:
            DataError: If an image can't be read, naming it.
        """
        draw = training_indices(self.labels, self.labeled, **{**drawing, "num_replicas": 1})
        for step in range(first_step, first_step + _READ_AHEAD):
            for index in draw(tf.constant(step, "int64"))[0].numpy():
                self.ranges.image(int(index))
        for index in range(len(self.evaluation_ranges)):
            self.evaluation_ranges.image(index)


def _view_seed(seed, place, view):
    return tf.stack([tf.constant(2 * seed + view, "int64"), place])


def is_streamed(name: str, data_dir: str | None) -> bool:
    """Returns whether a data set is one whose images differ in size."""
    if name == "folder":
        return True
    return name not in ("digits", "svhn_cropped") and tfds_images.differs_in_size(name, data_dir)


def load_streamed(
    name: str,
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
) -> StreamedDataset:
    """Finds the images of a data set and chooses its labels, as `load_dataset` does.

    Args:
        name: `"folder"`, or a data set of TensorFlow Datasets.
        data_dir: The folder, or that of TensorFlow Datasets.
        image_size: Height and width of what the network gets.
        augmentation: One of `AUGMENTATIONS`.
        cache_dir: Folder where indices are kept.
        num_labels: Number of labels, spread evenly over the classes, or `"all"`.
        labels_file: File that names the labeled images instead; of a folder, a `.csv` of pictures and classes.
        phase: `"test"` or `"validation"`.
        num_validation: How many images are held out in the validation phase.
        data_seed: Names the split.
        report: Is told what takes time.

    Raises:
        DataError: If the data can't be had.
        DataRequestError: If they don't have what is asked for.
    """
    if name == "folder" and (labels_file or "").endswith(".csv"):
        source, labels_file = labeled_folder.LabeledFolder(data_dir, labels_file), None
    elif name == "folder":
        source = image_folder.ImageFolder(data_dir)
    else:
        source = tfds_streams.TFDSStream(tfds_images.open_builder(name, data_dir), cache_dir, report)
    ranges, labels = source.read("train")
    random = np.random.RandomState(data_seed)
    training = np.ones(len(labels), bool)
    if phase == "validation":
        with_label = np.flatnonzero(labels >= 0)
        held_out = len(with_label) // 10 if num_validation is None else num_validation
        if not 0 < held_out < len(with_label):
            raise DataRequestError(
                f"--num_validation={held_out} must lie between 1 and {len(with_label) - 1} on {name}"
            )
        training[with_label[label_split.hold_out_validation(len(with_label), held_out, random)]] = False
        evaluation = ranges.chosen(np.flatnonzero(~training)), labels[~training]
    else:
        evaluation = source.read("test")
    if labels_file is not None:
        labeled = read_labels_file(labels_file, ranges.names, labels, source.class_names)
        labeled = labeled[training[labeled]]
    elif num_labels == "all":
        labeled = np.flatnonzero(training & (labels >= 0))
    else:
        labeled = label_split.choose_labeled(labels, training, num_labels, len(source.class_names), random)
    kept = np.flatnonzero(training)
    return StreamedDataset(
        name,
        ranges.chosen(kept),
        labels[kept],
        np.searchsorted(kept, labeled),
        *evaluation,
        source.class_names,
        source.origin,
        image_size,
        augmentation,
    )
