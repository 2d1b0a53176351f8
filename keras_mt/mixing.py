"""Mixing: the student sees two unlabeled examples in one, and is pulled to the mixture of the teacher's predictions.

The targets are those of the unmixed examples, so that no further pass is needed.
"""

import dataclasses

import keras
import tensorflow as tf
from keras import ops

from keras_mt.labels import Labels
from keras_mt.outputs import Output
from keras_mt.structures import map_tensors
from keras_mt.views import MIXING, seed_of_pass, seed_of_step


@dataclasses.dataclass(frozen=True)
class Mixture:
    """How the rows of one batch are mixed.

    Attributes:
        partners: Which row each is mixed with, int32 `[batch]`; itself for those that stay as they are.
        share: What mixed examples keep of themselves, a scalar in [0, 1].
        moved: Which rows are mixed, boolean `[batch]`.
        boxes: Of cut examples, 1 where a row keeps what is its own, float32 `[batch, ..., 1]` over the positions of the
            inputs; None where whole examples are interpolated.
    """

    partners: tf.Tensor
    share: tf.Tensor
    moved: tf.Tensor
    boxes: tf.Tensor | None = None

    def own(self, values, output: Output | None = None) -> tf.Tensor:
        """Returns how much of each value is the row's own, in [0, 1], with axes to broadcast to `[batch, ...]`.

        Values at the positions of a cut example are either its own or its partner's; on a coarser grid the share of the
        box in a cell is taken; values of the example as a whole have the share of all.

        Args:
            values: What is mixed.
            output: Which output they are of; None for the inputs.
        """
        positions = 0 if self.boxes is None else len(self.boxes.shape) - 2
        if output is not None and not self._cuts(output):
            positions = 0
        if positions and len(values.shape) > positions:
            own = _pooled(self.boxes, values.shape[1 : 1 + positions], ops.shape(values)[1 : 1 + positions])
            own = own[..., 0]
        else:
            own = ops.where(self.moved, self.share, 1.0)
        while len(own.shape) < len(values.shape):
            own = own[..., None]
        return own

    def inputs(self, x):
        """Returns the mixed examples, of `x` as the network takes it: a tensor or a structure of them."""
        return map_tensors(self._mixed, x)

    def target(self, output: Output, logits) -> tf.Tensor:
        """Returns the logits of the mixture of predictions, and those of rows that stay as they are, bit for bit.

        Args:
            output: The output.
            logits: Its logits for the unmixed examples, `[batch, ...]`.
        """
        own, partners = self.own(logits, output), ops.take(logits, self.partners, axis=0)
        probabilities, theirs = (ops.cast(output.task.probabilities(part), "float32") for part in (logits, partners))
        mixed = ops.cast(output.task.logits(own * probabilities + (1.0 - own) * theirs), logits.dtype)
        return ops.where(own == 1.0, logits, ops.where(own == 0.0, partners, mixed))

    def weights(self, output: Output, weights) -> tf.Tensor:
        """Returns weights of examples or positions of an output, mixed as what they weigh."""
        own = self.own(weights, output)
        return weights + (1.0 - own) * (ops.take(weights, self.partners, axis=0) - weights)

    def labels(self, output: Output, labels: Labels) -> list[tuple]:
        """Returns pairs `(share, labels)` whose costs are to be added; a share of None stands for 1."""
        whole, padding = labels.whole, labels.padding  # Padding is that of mixed examples.
        parts = {name: getattr(whole, name) for name in ("values", "mask", "weight")}
        theirs = {name: ops.take(part, self.partners, axis=0) for name, part in parts.items()}
        if not self._cuts(output):
            return [(self.share, labels), (1.0 - self.share, dataclasses.replace(whole, **theirs).padded(padding))]
        cut = {name: ops.where(self.own(part, output) == 1.0, part, theirs[name]) for name, part in parts.items()}
        return [(None, dataclasses.replace(whole, **cut).padded(padding))]

    def _cuts(self, output):
        """Whether an output has the positions in which inputs are cut."""
        return self.boxes is not None and output.rank >= len(self.boxes.shape)

    def _mixed(self, x):
        own, theirs = self.own(x), ops.take(x, self.partners, axis=0)
        if self.boxes is not None:
            return ops.where(own == 1.0, x, theirs)
        # Images often come as uint8, in which a share of 0.4 would be 0.
        dtype = keras.backend.result_type(x.dtype, float)
        own, x, theirs = (ops.cast(part, dtype) for part in (own, x, theirs))
        return own * x + (1.0 - own) * theirs


def _pooled(boxes, static, sizes):
    """Means of boxes over the cells of a coarser grid; as they are on a grid of their own size."""
    for axis, size in enumerate(static, start=1):
        if size == boxes.shape[axis] or size is None:
            continue
        shape = [*ops.shape(boxes)[:axis], sizes[axis - 1], boxes.shape[axis] // size, *ops.shape(boxes)[axis + 1 :]]
        boxes = ops.mean(ops.reshape(boxes, shape), axis=axis + 1)
    return boxes


class _Mixing:
    def __init__(self, alpha: float = 1.0, labels: bool = False, share: float | None = None):
        if not 0.0 < alpha < float("inf"):
            raise ValueError(f"Argument `alpha` must be positive. Received: alpha={alpha}")
        if share is not None and not 0.0 <= share <= 1.0:
            raise ValueError(f"Argument `share` must be in the range [0, 1]. Received: share={share}")
        self.alpha, self.labels, self.share = float(alpha), bool(labels), share

    def draw(self, x, labeled, seed: int, step) -> Mixture:
        """Returns how the rows of a batch are mixed: unlabeled ones among each other, and labeled ones if asked for.

        Args:
            x: The student's view of the batch.
            labeled: Which rows have a label, boolean `[batch]`.
            seed: Seed of all noise.
            step: Number of batches trained on so far.
        """
        share = self._share(seed_of_step(seed, step, MIXING + 1))  # Of no replica, which are 6 apart.
        key = seed_of_pass(seed, step, MIXING)
        moved = ops.ones_like(labeled) if self.labels else ops.logical_not(labeled)
        partners = ops.where(moved, self.partners(labeled, key), ops.arange(ops.shape(labeled)[0]))
        return self._mixture(x, partners, share, moved, key)

    def partners(self, labeled, key):
        """Returns a permutation of the unlabeled rows and of the labeled rows, int32 `[batch]`."""
        rows, last = ops.shape(labeled)[0], ops.cast(labeled, "float32")
        scores = tf.random.stateless_uniform([rows], key)
        order = ops.argsort(2.0 * last + scores)  # The unlabeled rows in random order, then the labeled ones.
        place = tf.argsort(tf.cast(labeled, "int32"), stable=True)  # The same in their own order.
        return tf.scatter_nd(place[:, None], tf.cast(order, "int32"), [rows])

    def _share(self, key):
        """λ of Beta(α, α), a scalar, or the fixed one."""
        if self.share is not None:
            return tf.constant(self.share, "float32")
        if self.alpha == 1.0:
            return tf.random.stateless_uniform([], key)
        # Gamma variates by their logarithms: for small α they are below what float32 can hold.
        gammas = tf.random.stateless_gamma([2], key, self.alpha + 1.0)
        uniform = tf.random.stateless_uniform([2], key + 1, 1e-30, 1.0)
        logarithms = tf.math.log(gammas) + tf.math.log(uniform) / self.alpha
        return tf.sigmoid(logarithms[0] - logarithms[1])

    def get_config(self):
        return {"alpha": self.alpha, "labels": self.labels, "share": self.share}

    @classmethod
    def from_config(cls, config):
        return cls(**config)

    def __repr__(self):
        return f"{type(self).__name__}(alpha={self.alpha:g}, labels={self.labels}, share={self.share})"


@keras.saving.register_keras_serializable(package="keras_mt")
class Interpolation(_Mixing):
    """Interpolation consistency: `student(λu + (1-λ)u')` is pulled to `λ teacher(u) + (1-λ) teacher(u')`.

    One λ ~ Beta(α, α) a batch; the partners u' are a permutation of the unlabeled rows. Probabilities (for numbers,
    the numbers) are mixed, not logits.

    Args:
        alpha: α of the Beta distribution. Verma et al. (2019) have 1.0 for CIFAR-10 and 0.1 for SVHN.
        labels: Whether labeled rows are mixed among each other too, with costs of both labels (mixup). Errors of a
            training epoch are then those of mixed examples against the label of the example itself.
        share: A fixed λ in [0, 1] instead of a draw.

    Reference: Verma et al. (2019), https://arxiv.org/abs/1903.03825

    Example:

    ```python
    import keras
    import numpy as np

    import keras_mt

    student = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    x, labels = np.random.normal(size=(60, 4)), np.where(np.arange(60) < 12, np.arange(60) % 3, -1)

    model = keras_mt.MeanTeacher(student, mixing=keras_mt.mixing.Interpolation(alpha=1.0, labels=True))
    model.compile(optimizer="adam")
    model.fit(x, labels, callbacks=[keras_mt.MeanTeacherCallback(consistency_weight=10.0)])
    ```
    """

    def check(self, outputs: list[Output], inputs: list[tuple], dtypes: list[str]) -> None:
        """Raises a `ValueError` if examples of these inputs can't be interpolated."""
        if any(not dtype.startswith(("float", "bfloat")) for dtype in dtypes):
            raise ValueError(
                "Argument `mixing` can't interpolate whole numbers, such as the places of words in a vocabulary. "
                f"Received: {self} for inputs of {dtypes}"
            )

    def _mixture(self, x, partners, share, moved, key):
        return Mixture(partners, share, moved)


@keras.saving.register_keras_serializable(package="keras_mt")
class CutMix(_Mixing):
    """CutMix consistency: a box of each unlabeled example is taken from another, and so is the target.

    Of images it is a box, of sequences `[batch, time, ...]` an interval. The box covers `1 - λ` of the example, λ ~
    Beta(α, α), one a batch, and lies inside of it at a place of its own for each example (French et al. 2020). Outputs
    for each position are pulled to the prediction for what is seen there; outputs for the whole example to the mixture
    of both predictions by their shares of the area.

    Args:
        alpha: α of the Beta distribution.
        labels: Whether labeled rows are cut among each other too: labels of positions are cut alike, labels of whole
            examples have costs by the shares of the area.
        share: A fixed λ in [0, 1] instead of a draw; French et al. (2020) have 0.5.

    Reference: French et al. (2020), https://arxiv.org/abs/1906.01916; Yun et al. (2019),
    https://arxiv.org/abs/1905.04899

    Example:

    ```python
    import keras
    import numpy as np

    import keras_mt

    student = keras.Sequential([keras.Input((16, 16, 1)), keras.layers.Conv2D(2, 3, padding="same")])
    x, labels = np.random.normal(size=(8, 16, 16, 1)), np.random.randint(2, size=(8, 16, 16))
    labels[2:] = -1

    model = keras_mt.MeanTeacher(student, mixing=keras_mt.mixing.CutMix(share=0.5))
    model.compile(optimizer="adam")
    model.fit(x, labels, callbacks=[keras_mt.MeanTeacherCallback(consistency_weight=1.0)])
    ```
    """

    def check(self, outputs: list[Output], inputs: list[tuple], dtypes: list[str]) -> None:
        """Raises a `ValueError` if examples of these inputs can't be cut."""
        if len(inputs) != 1 or not 3 <= len(inputs[0]) <= 4 or None in inputs[0][1:-1]:
            raise ValueError(
                "Argument `mixing` can cut images `[batch, height, width, channels]` and sequences `[batch, time, "
                f"channels]` of a known size. Received: {self} for inputs of shapes {inputs}"
            )
        positions = inputs[0][1:-1]
        for output in outputs:
            own = output.shape[1:-1]
            if not own:
                continue
            whole = len(own) >= len(positions)
            sizes = list(zip(positions, own, strict=False)) if whole else []
            if not sizes or any(size is None or place % size for place, size in sizes):
                raise ValueError(
                    "Argument `mixing` cuts outputs at the positions of the inputs, or of a grid that divides them. "
                    f"Received: {output} of shape {output.shape} for inputs of shape {inputs[0]}"
                )
            if self.labels and any(place != size for place, size in sizes):
                raise ValueError(
                    f"Argument `mixing` can't cut labels of {output}, whose grid is coarser than the input's. "
                    f"Received: {self}"
                )

    def _mixture(self, x, partners, share, moved, key):
        (x,) = keras.tree.flatten(x)
        sizes = x.shape[1:-1]
        part = tf.pow(1.0 - share, 1.0 / len(sizes))
        inside, area = None, 1.0
        for axis, size in enumerate(sizes):
            length = tf.cast(tf.round(size * part), "int32")
            uniform = tf.random.stateless_uniform(tf.shape(partners), key + (2 + axis))
            start = tf.cast(tf.floor(uniform * tf.cast(size - length + 1, "float32")), "int32")
            start = tf.minimum(start, size - length)[:, None]
            place = tf.range(size)[None]
            along = (place >= start) & (place < start + length)
            along = tf.reshape(along, (-1, *(size if a == axis else 1 for a in range(len(sizes)))))
            inside = along if inside is None else inside & along
            area *= tf.cast(length, "float32") / size
        keeps = tf.reshape(~moved, (-1, *(1 for _ in sizes)))
        return Mixture(partners, 1.0 - area, moved, tf.cast(keeps | ~inside, "float32")[..., None])
