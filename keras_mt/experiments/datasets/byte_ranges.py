"""Encoded images that stay on disk: each is a range of bytes of some file, so that any of them can be read alone."""

import dataclasses
import os
import zlib

import numpy as np
import tensorflow as tf

from keras_mt.experiments.datasets.decoding import decoded
from keras_mt.experiments.errors import DataError

_PIECE = 1024  # Bytes.
_MOST_READ = 50_000


@dataclasses.dataclass(frozen=True)
class ByteRanges:
    """Where the images of a split are.

    Attributes:
        files: Paths.
        file_index: Index into `files` of each image, int32 `[images]`.
        start: First byte, int64 `[images]`.
        length: Number of bytes, int64 `[images]`.
        names: Name of each image.
        in_examples: Whether the bytes are a serialized `tf.train.Example` with a feature `image`, or the image itself.
    """

    files: tuple[str, ...]
    file_index: np.ndarray
    start: np.ndarray
    length: np.ndarray
    names: np.ndarray
    in_examples: bool

    def __len__(self):
        return len(self.file_index)

    def chosen(self, indices: np.ndarray) -> "ByteRanges":
        """Returns the ranges of some images."""
        parts = (self.file_index[indices], self.start[indices], self.length[indices], self.names[indices])
        return ByteRanges(self.files, *parts, self.in_examples)

    def read(self, index) -> bytes:
        """Returns the bytes of one image.

        Raises:
            DataError: If the file is missing or shorter.
        """
        length = int(self.length[index])
        (content,) = self._pieces(index, [0], length)
        if len(content) != length:
            path = self.files[self.file_index[index]]
            raise DataError(f"{path} was cut off: {len(content)} of {length} bytes at {int(self.start[index])}")
        return content

    def _pieces(self, index, offsets, size):
        path, start = self.files[self.file_index[index]], int(self.start[index])
        try:
            handle = os.open(path, os.O_RDONLY)
            try:
                return [os.pread(handle, size, start + offset) for offset in offsets]
            finally:
                os.close(handle)
        except OSError as error:
            raise DataError(f"{path} can't be read ({error.strerror})") from error

    def listed(self) -> str:
        """Returns a checksum of the names and sizes of all images."""
        text = "\n".join(f"{name} {size}" for name, size in zip(self.names, self.length, strict=True))
        return f"{zlib.crc32(os.fsencode(text)):08x}"

    def content(self) -> str:
        """Returns a checksum of what is in the images, for as much as a start may cost.

        Read are a kilobyte of the beginning, the middle and the end of each, of more than 50,000 images those of so
        many, spread evenly. None are of records of TensorFlow Datasets, which nobody replaces one by one.

        Raises:
            DataError: If an image can't be read.
        """
        checksum, last = 0, -1 if self.in_examples else len(self) - 1
        for index in np.unique(np.linspace(0, last, min(last + 1, _MOST_READ)).astype(int)):
            length = int(self.length[index])
            offsets = {0, max(0, length - _PIECE) // 2, max(0, length - _PIECE)}
            for piece in self._pieces(index, sorted(offsets), min(_PIECE, length)):
                checksum = zlib.crc32(piece, checksum)
        return f"{checksum:08x}"

    def image(self, index: int) -> tf.Tensor:
        """Returns one image, uint8 `[height, width, 3]`.

        Raises:
            DataError: If the file is missing, was cut off or holds no image.
        """
        try:
            return self._decode(self.read(index))
        except tf.errors.OpError as error:
            raise DataError(f"{self.files[self.file_index[index]]}: {self.names[index]} can't be decoded") from error

    def images(self, examples: tf.data.Dataset) -> tf.data.Dataset:
        """Replaces the index in each `(index, *others)` by the image, uint8 `[height, width, 3]`.

        Without Python in the pipeline: a process that ends while threads of tf.data wait for the interpreter hangs.
        """
        sizes = np.array([os.stat(path).st_size for path in self.files], "int64")
        with tf.device("cpu"):
            files = tf.constant([os.fsencode(path) for path in self.files])  # Names may be no UTF-8.
            columns = [tf.constant(values, "int64") for values in (self.start, self.length, sizes[self.file_index])]
            file_index = tf.constant(self.file_index)

        def record(index, *others):
            start, length, size = (tf.gather(column, index) for column in columns)
            file = tf.gather(files, tf.gather(file_index, index))
            content = tf.data.FixedLengthRecordDataset(
                file, length, header_bytes=start, footer_bytes=size - start - length
            )
            return content.map(lambda content: (content, *others))

        def decode(content, *others):
            return (self._decode(content), *others)

        parallel = {"num_parallel_calls": tf.data.AUTOTUNE, "deterministic": True}
        return examples.interleave(record, cycle_length=16, block_length=1, **parallel).map(decode, **parallel)

    def _decode(self, content):
        if self.in_examples:
            content = tf.io.parse_single_example(content, {"image": tf.io.FixedLenFeature([], tf.string)})["image"]
        return decoded(content)
