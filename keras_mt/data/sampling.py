"""How batches are put together from labeled and unlabeled examples."""

import dataclasses
import numbers

from keras_mt.errors import ArgumentError

UNLABELED_STREAMS = ("all", "unlabeled")
SEEDS = 2**31  # A seed and the number of a stream make one key of 32 bits.


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How many examples a batch holds, which of them show their labels, and in which order they come.

    Args:
        batch_size: Examples per batch, labeled and unlabeled.
        labeled_per_batch: A number k: a batch is k labeled examples, then `batch_size - k` of the unlabeled stream,
            whose labels are masked. `"vary"`: `batch_size` of all examples, each with the label it happens to have.
            `"all"`: labeled examples only.
        seed: Names the order of the examples, from 0 to 2^31 - 1.
        unlabeled_stream: What the `batch_size - k` come from: `"all"` examples, labeled ones with masked labels among
            them (Tarvainen & Valpola, 2017), or `"unlabeled"` ones only.

    Raises:
        ValueError: If a value is none of these, or `unlabeled_stream="unlabeled"` has nothing to do since
            `labeled_per_batch` is no number below `batch_size`.

    Example:

    ```python
    from keras_mt import data

    images, labels = np.zeros((500, 8, 8, 3), "uint8"), np.arange(500) % 10
    sampling = data.Sampling(batch_size=100, labeled_per_batch=25, seed=0)
    batches = data.training_batches(images, labels, np.arange(250), sampling)
    ```
    """

    batch_size: int
    labeled_per_batch: int | str
    seed: int
    unlabeled_stream: str = "all"

    def __post_init__(self):
        if not is_whole(self.batch_size) or self.batch_size < 1:
            raise ArgumentError("batch_size", self.batch_size, "must be a positive whole number")
        number = self.labeled_per_batch
        if number not in ("vary", "all") and not (is_whole(number) and 1 <= number <= self.batch_size):
            raise ArgumentError("labeled_per_batch", number, f"must be from 1 to {self.batch_size}, vary or all")
        if not is_whole(self.seed) or not 0 <= self.seed < SEEDS:
            raise ArgumentError("seed", self.seed, f"must be a whole number from 0 to {SEEDS - 1}")
        if self.unlabeled_stream not in UNLABELED_STREAMS:
            raise ArgumentError("unlabeled_stream", self.unlabeled_stream, f"must be {' or '.join(UNLABELED_STREAMS)}")
        if self.unlabeled_stream == "unlabeled" and not (is_whole(number) and self.from_unlabeled):
            raise ArgumentError(
                "unlabeled_stream",
                self.unlabeled_stream,
                f"must be all where no rows of a batch are unlabeled ones of their own, `labeled_per_batch={number}`",
            )

    @property
    def from_labeled(self) -> int:
        """How many rows of a batch, its first ones, are of the labeled stream."""
        return {"vary": 0, "all": self.batch_size}.get(self.labeled_per_batch, self.labeled_per_batch)

    @property
    def from_unlabeled(self) -> int:
        """How many rows of a batch, its last ones, are of the other stream."""
        return self.batch_size - self.from_labeled


def is_whole(value: object) -> bool:
    """Returns whether a value is a whole number, of Python or NumPy; booleans are none."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)
