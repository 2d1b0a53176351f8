"""TensorFlow Datasets whose images differ in size: where each of their records is."""

import hashlib

import numpy as np
import tensorflow as tf

from keras_mt.data.pipeline_options import without_tuning
from keras_mt.experiments.datasets import tfds_images
from keras_mt.experiments.datasets.byte_ranges import ByteRanges
from keras_mt.experiments.datasets.cache_folder import cache_folder
from keras_mt.experiments.datasets.kept_arrays import load_arrays, save_arrays
from keras_mt.experiments.errors import DataError

# A TFRecord is: length (8 bytes), checksum (4), content, checksum (4).
_BEFORE, _AFTER = 12, 4
_KINDS = {"file_index": "int32", "start": "int64", "length": "int64", "labels": "int32", "names": None}
_EVALUATION = ("test", "validation")


class TFDSStream:
    """Reads the splits of a prepared data set as ranges of bytes of its files.

    Args:
        builder: What `tfds_images.open_builder` returned.
        cache_dir: Folder where the index of a split is kept: reading all its records takes minutes for ImageNet.
        report: Is told what takes time.
    """

    def __init__(self, builder, cache_dir: str, report):
        self.builder = builder
        self.cache_dir = cache_folder(cache_dir)
        self.report = report
        self.class_names = tuple(builder.info.features["label"].names)

    @property
    def origin(self) -> str:
        """Where the images come from, in words."""
        return tfds_images.origin(self.builder)

    def read(self, split: str) -> tuple[ByteRanges, np.ndarray]:
        """Returns the images of `"train"` or `"test"` (ImageNet: its validation images) and their labels int32.

        Raises:
            DataError: If the split is damaged or its index can't be kept.
        """
        if split == "test":
            there = self.builder.info.splits
            # ImageNet's test images have no labels: its papers report validation errors.
            names = reversed(_EVALUATION) if self.builder.info.name == "imagenet2012" else _EVALUATION
            split = next((name for name in names if name in there), "test")
        fingerprint = "index" + tfds_images.fingerprint(self.builder, split)
        source = hashlib.sha256(fingerprint.encode()).hexdigest()
        path = self.cache_dir / f"index-{source[:32]}.npz"
        files = tuple(str(file) for file in self.builder.info.splits[split].filepaths)
        content = _load(path, source)
        if content is None:
            self.report(f"indexing {self.builder.info.name}/{split}, once")
            content = self._index(files, split)
            try:
                save_arrays(path, content, source)
            except OSError as error:
                raise DataError(f"`cache_dir={self.cache_dir}` can't keep an index ({error.strerror})") from error
        labels = content.pop("labels")
        return ByteRanges(files, **content, in_examples=True), labels

    def _index(self, files, split):
        features = {"label": tf.io.FixedLenFeature([], tf.int64), "file_name": tf.io.FixedLenFeature([], tf.string, "")}
        parts = {"file_index": [], "start": [], "length": [], "labels": [], "names": []}
        for number, file in enumerate(files):
            position = 0
            records = tf.data.TFRecordDataset(file).map(
                lambda record: (tf.strings.length(record), tf.io.parse_single_example(record, features)),
                num_parallel_calls=tf.data.AUTOTUNE,
            )
            try:
                for length, example in without_tuning(records.prefetch(64)).as_numpy_iterator():
                    parts["file_index"].append(number)
                    parts["start"].append(position + _BEFORE)
                    parts["length"].append(length)
                    parts["labels"].append(example["label"])
                    parts["names"].append(example["file_name"].decode() or f"{split}/{len(parts['names'])}")
                    position += _BEFORE + int(length) + _AFTER
            except tf.errors.OpError as error:
                raise DataError(
                    f"{file} can't be read as records of {self.builder.info.name}: it was cut off or changed after "
                    f"record {len(parts['file_index'])}"
                ) from error
            self.report(f"indexing {self.builder.info.name}/{split}: file {number + 1} of {len(files)}\r")
        expected = self.builder.info.splits[split].num_examples
        if len(parts["file_index"]) != expected:
            raise DataError(f"{self.builder.info.name}/{split} holds {len(parts['labels'])} of {expected} examples")
        return {name: np.array(parts[name], kind) for name, kind in _KINDS.items()}


def _load(path, source):
    content = load_arrays(path, _KINDS, source)
    if content is None:
        return None
    whole = all(values.ndim == 1 and values.dtype.kind in "iU" for values in content.values())
    return content if whole and len({len(values) for values in content.values()}) == 1 else None
