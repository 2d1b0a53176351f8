"""Noise as a function of (seed, step, network, replica), with no state of its own.

Keras layers draw their noise from the variables of `SeedGenerator`s. Left alone, those variables make a clone
draw the same noise as its original, make replicas draw the same noise as each other, and are saved in no
checkpoint (keras issue 19796). So each pass of a train step sets them first, from what the step already knows.
"""

import inspect

import keras
import numpy as np
import tensorflow as tf

from keras_mt.losses.classification import signed

# XLA reads 32 bits of a seed where a plain graph reads 64: seeds below 2³¹ give both the same random bits. The floats
# made of them may differ still, as on some processors those of `stateless_uniform` and `stateless_normal` do.
_LARGEST_SEED = 2**31 - 1
_DRAWS_PER_STEP = 6
STUDENT_VIEW, TEACHER_VIEW, SHARED_VIEW = 3, 4, 5  # Passes of noise; those of the networks are 0 to 2.
# Far from those of any replica, which are numbered on.
STRONG_STUDENT_VIEW, STRONG_TEACHER_VIEW, MIXING, PERTURBATION, UNCERTAINTY = (2**20 * (1 + k) for k in range(5))
_PROBES = 16


def noise_variables(network: keras.Model) -> list[keras.Variable]:
    """Returns the seed variables of all layers of a network: Keras lists them in no `weights`."""
    weights = {id(weight) for weight in network.weights}
    return [v for v in network.variables if id(v) not in weights and v.path.endswith("seed_generator_state")]


def set_noise(variables: list[keras.Variable], seed: int, step, draw: int) -> None:
    """Sets the seed variables of one network for one pass.

    Args:
        variables: What `noise_variables` returned.
        seed: Seed of the run.
        step: Number of batches trained on so far, a scalar integer tensor.
        draw: Which pass of the step this is; passes with different numbers share no draw.
    """
    if not variables:
        return
    key = seed_of_pass(seed, step, draw)
    states = tf.reshape(_random_seeds(2 * len(variables), key), (len(variables), 2))
    for variable, state in zip(variables, tf.unstack(states), strict=True):
        variable.assign(tf.cast(state, variable.dtype))


def seed_of_pass(seed: int, step, draw: int):
    """Returns the seed of a pass's noise, int64 `[2]`: for `tf.random.stateless_*`. Arguments as `set_noise`."""
    context = tf.distribute.get_replica_context()
    replica = context.replica_id_in_sync_group if context else 0  # None outside of replicas, where nothing is trained.
    return _seed(seed, step, draw + _DRAWS_PER_STEP * replica)


def seed_of_step(seed: int, step, draw: int):
    """As `seed_of_pass`, the same for all replicas."""
    return _seed(seed, step, draw)


def noise_of_uncertainty(number: int) -> int:
    """Returns the number by which noise is drawn in one of several further passes of the teacher."""
    return UNCERTAINTY + 2**10 * number  # Replicas are counted in between.


def _seed(seed, step, number):
    key = _random_seeds(2, tf.stack([tf.constant(seed & _LARGEST_SEED, "int64"), tf.cast(step, "int64")]))
    return tf.stack([key[0], tf.bitwise.bitwise_xor(key[1], tf.cast(number, "int64"))])


def _random_seeds(count, key):
    bits = tf.random.stateless_uniform([count], key, minval=None, maxval=None, dtype="int64")
    return tf.bitwise.bitwise_and(bits, _LARGEST_SEED)


class Augmentation:
    """A Keras layer or a function, applied with noise that is a function of (seed, step, view, replica).

    Args:
        layer: A `keras.Layer`, called with `training=True`; or a function of a batch, and of `seed` (int64 `[2]`, for
            TensorFlow's stateless operations) if it has an argument of that name.
        seed: Seed of all noise.
        shapes: Shapes of the student's inputs, on which an unbuilt layer is built.
    """

    def __init__(self, layer, seed: int, shapes: list[tuple]):
        self.layer, self.seed = layer, seed
        self._is_layer = isinstance(layer, keras.Layer)
        if self._is_layer and not layer.built and shapes:
            layer.build(shapes[0] if len(shapes) == 1 else shapes)
        self._takes_seed = not self._is_layer and "seed" in inspect.signature(layer).parameters
        self.draws_by_seed = self._is_layer or self._takes_seed

    def __call__(self, *values, step, view: int):
        """Returns one view of a batch.

        Args:
            *values: What the network takes; for a shared augmentation that is a function, also the labels.
            step: Number of batches trained on so far.
            view: `STUDENT_VIEW`, `TEACHER_VIEW` or `SHARED_VIEW`.

        Raises:
            ValueError: If it fails on whole numbers; many layers of Keras do, where a model would have cast them. If it
                is a layer that fails on several tensors, or on a sparse one. Or if it returns another number of tensors
                than it is given.
        """
        try:
            moved = self._view(values, step, view)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            self._check_takes(values, error)
            whole = {part.dtype.name for part in keras.tree.flatten(values[0]) if part.dtype.is_integer}
            if not whole:
                raise
            raise ValueError(
                f"An augmentation must take the examples as they are, of dtype {', '.join(sorted(whole))}. Received: "
                f"{self.layer}, which fails on them with {type(error).__name__}. Make them floating point first, for "
                "example by `keras.Sequential([keras.layers.Rescaling(1 / 255), layer])`, with a student that expects "
                "that"
            ) from error
        counts = [len(keras.tree.flatten(part)) for part in (values, moved)]
        if counts[0] != counts[1]:
            raise ValueError(
                f"An augmentation must return as many tensors as it is given, {counts[0]}; for several inputs give a "
                f"function of them. Received: {self.layer}, which returns {counts[1]}"
            )
        return moved

    def _check_takes(self, values, error):
        """Says what a layer has failed on, if that is something which few layers take."""
        parts = keras.tree.flatten(values)
        sparse = any(isinstance(part, tf.SparseTensor) for part in parts)
        if self._is_layer and (len(parts) > 1 or sparse or keras.tree.is_nested(values[0])):
            what = f"{len(parts)} tensors" if len(parts) > 1 else "a sparse tensor"
            if len(parts) == 1 and not sparse:
                what = f"a {type(values[0]).__name__} of one tensor"
            raise ValueError(
                "An augmentation that is a layer must take all that the student takes; for several inputs, one in a "
                f"dict or list, or sparse ones give a function of them. Received: {self.layer}, which fails on {what} "
                f"with {type(error).__name__}"
            ) from error

    def _view(self, values, step, view):
        if self._is_layer:
            set_noise(noise_variables(self.layer), self.seed, step, view)
            return self.layer(*values, training=True)
        if self._takes_seed:
            return self.layer(*values, seed=seed_of_pass(self.seed, step, view))
        return self.layer(*values)


class SharedAugmentation(Augmentation):
    """Moves images and what is labeled in them alike, before each network gets noise of its own.

    Args:
        layer: A Keras image preprocessing layer, or several in a `keras.Sequential` or `keras.layers.Pipeline`; or a
            function from `(x, y)` to `(x, y)`, with `seed` if it has an argument of that name.
        seed: Seed of all noise.
        maps: Of the flattened labels, which are maps of the images' pixels: a layer moves these.
    """

    def __init__(self, layer, seed: int, maps: list[bool]):
        super().__init__(layer, seed, [])
        self.maps = maps
        # A Sequential with an Input takes tensors only; each of its layers takes images and maps.
        self._parts = layer.layers if isinstance(layer, keras.Sequential) else [layer]

    def __call__(self, x, y, step):
        """Returns `(x, y)` of a batch, moved alike."""
        if not self._is_layer:
            return super().__call__(x, y, step=step, view=SHARED_VIEW)
        flat = keras.tree.flatten(y)
        moved = [place for place, is_map in enumerate(self.maps) if is_map]
        if not moved:
            return super().__call__(x, step=step, view=SHARED_VIEW), y
        channels = [_with_channel(flat[place]) for place in moved]
        maps = 2.0 + tf.concat([tf.cast(signed(part), "float32") for part in channels], axis=-1)
        # Each map and its negative: where a layer fills in, with whatever value, the two are no opposites any more.
        (images,) = keras.tree.flatten(x)
        together = {"images": images, "segmentation_masks": tf.concat([maps, -maps], axis=-1)}
        set_noise(noise_variables(self.layer), self.seed, step, SHARED_VIEW)
        for part in self._parts:
            together = part(together, training=True)
        maps, negatives = tf.split(tf.cast(together["segmentation_masks"], "float32"), 2, axis=-1)
        maps = tf.where((maps + negatives == 0) & (maps > 0), maps - 2.0, -1.0)
        channels = tf.split(maps, [part.shape[-1] for part in channels], axis=-1)
        for place, part in zip(moved, channels, strict=True):
            labels = flat[place]
            part = part if len(labels.shape) == 4 else part[..., 0]
            flat[place] = part if labels.dtype.is_floating else tf.cast(tf.round(part), "int32")
        return keras.tree.pack_sequence_as(x, [together["images"]]), keras.tree.pack_sequence_as(y, flat)

    def check(self, shape: tuple) -> None:
        """Refuses a layer that does not move images and maps of classes alike, seen by what it does.

        Args:
            shape: Shape of one image, `(height, width, channels)`.

        Raises:
            ValueError: If the layer takes no maps, moves them elsewhere than images, or mixes their classes.
        """
        if not self._is_layer:
            return
        random = np.random.default_rng(0)
        images = random.uniform(0.2, 0.3, (_PROBES, *shape)).astype("float32")
        maps = np.zeros((_PROBES, *shape[:-1]), "int32")
        marked, marked_maps = images.copy(), maps.copy()
        spot = tuple(slice(size // 4, size // 4 + 3) for size in shape[:-1])
        marked[(slice(None, None, 2), *spot)], marked_maps[(slice(None, None, 2), *spot)] = 0.9, 1
        probe = SharedAugmentation(self.layer, self.seed, [True])
        kept = False
        for step in range(3):
            step = tf.constant(step, "int64")
            try:
                before, after = (
                    [np.asarray(part) for part in probe(tf.constant(x), tf.constant(y, "float32"), step)]
                    for x, y in ((images, maps), (marked, marked_maps))
                )
            except (AttributeError, TypeError, ValueError, NotImplementedError, tf.errors.OpError) as error:
                raise ValueError(
                    "Argument `shared_augmentation` must be Keras image preprocessing layers that move images and maps "
                    'of classes (`{"images": ..., "segmentation_masks": ...}`), or a function of (x, y). Received: '
                    f"{self.layer}, which fails on these with {type(error).__name__}"
                ) from error
            if np.setdiff1d(after[1], (-1.0, 0.0, 1.0)).size:
                raise ValueError(
                    "Argument `shared_augmentation` must move the classes of pixels as they are. Received: "
                    f"{self.layer}, which mixes them"
                )
            differences = np.abs(after[0].astype("float64") - before[0]).sum(axis=-1)
            for image, moved in zip(differences, after[1] == 1.0, strict=True):
                found = image > 0.5 * image.max()
                # A spot that was moved out, or erased, says nothing.
                kept = kept or moved.any()
                if image.max() > 1e-3 and moved.any() and np.abs(_center(found) - _center(moved)).max() > 1.5:
                    raise ValueError(
                        "Argument `shared_augmentation` must move images and maps of classes alike. Received: "
                        f"{self.layer}, which moves them to different places"
                    )
        if not kept:
            raise ValueError(
                f"Argument `shared_augmentation` must keep maps of classes. Received: {self.layer}, after which no "
                "pixel has its class"
            )


def _with_channel(labels):
    return labels if len(labels.shape) == 4 else labels[..., None]


def _center(places):
    return np.argwhere(places).mean(axis=0)
