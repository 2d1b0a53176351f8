"""What the programs need of a data set, whether its images are in memory or on disk."""

import zlib
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import tensorflow as tf

from keras_mt.data import Sampling


def checksum_of(*arrays: np.ndarray) -> str:
    """Returns a checksum of the bytes of arrays."""
    checksum = 0
    for array in arrays:
        checksum = zlib.crc32(np.ascontiguousarray(array).data, checksum)
    return f"{checksum:08x}"


class ImageData(Protocol):
    """Training images with few labels, and the images to evaluate on.

    Attributes:
        name: Name of the data set.
        labels: Classes of the training examples, int32 `[examples]`; -1 where there is none.
        labeled: Example indices of the labeled ones, sorted.
        evaluation_labels: Classes of the images to evaluate on, int32 `[images]`.
        class_names: Name of each class.
        origin: Where the images come from, in words.
        images: The training images, uint8 `[examples, height, width, channels]`; None if they are not in memory.
        image_shape: Height, width and channels of what a network gets.
        num_views: How many views of each image a batch holds.
    """

    name: str
    labels: np.ndarray
    labeled: np.ndarray
    evaluation_labels: np.ndarray
    class_names: tuple[str, ...]
    origin: str
    images: np.ndarray | None
    image_shape: tuple[int, int, int]
    num_views: int

    @property
    def num_examples(self) -> int:
        """Number of training examples."""
        return len(self.labels)

    def fingerprint(self) -> str:
        """Returns what machines that have the same training data agree on: how many examples, and a checksum."""
        return f"{self.num_examples} examples, {checksum_of(self.labels.astype('int64'), self.labeled.astype('int64'))}"

    @property
    def details(self) -> dict[str, str]:
        """Checksums of what else of the data must stay the same: `content` of training images, `evaluation` images."""

    def training_batches(
        self,
        sampling: Sampling,
        *,
        first_step: int = 0,
        with_examples: bool = False,
        num_replicas: int = 1,
        replicas: Sequence[int] = (0,),
    ) -> tf.data.Dataset:
        """Returns the endless training batches `(x, labels)`, as `keras_mt.data.training_batches` does.

        `x` is the images `[batch, *image_shape]`, or a pair of views of them if `num_views` is 2.
        """

    def evaluation_batches(self, num_replicas: int = 1, replicas: Sequence[int] = (0,)) -> tf.data.Dataset:
        """Returns the images to evaluate on, as `keras_mt.data.evaluation_batches` does."""

    def evaluation_steps(self, num_replicas: int) -> int:
        """Returns the number of batches that `evaluation_batches` has for each replica."""

    def find_broken(self, sampling: Sampling, first_step: int) -> None:
        """Looks for the image that ended a run at a step.

        Raises:
            DataError: If an image can't be read, naming it.
        """
