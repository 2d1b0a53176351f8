"""Noise as a function of (seed, step, network, replica), with no state of its own.

Keras layers draw their noise from the variables of `SeedGenerator`s. Left alone, those variables make a clone
draw the same noise as its original, make replicas draw the same noise as each other, and are saved in no
checkpoint (keras issue 19796). So each pass of a train step sets them first, from what the step already knows.
"""

import inspect

import keras
import numpy as np
import tensorflow as tf

# XLA reads 32 bits of a seed where a plain graph reads 64: seeds below 2³¹ give both the same draws.
_LARGEST_SEED = 2**31 - 1
_DRAWS_PER_STEP = 6
STUDENT_VIEW, TEACHER_VIEW, SHARED_VIEW = 3, 4, 5  # Passes of noise; those of the networks are 0 to 2.
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
    key = _random_seeds(2, tf.stack([tf.constant(seed & _LARGEST_SEED, "int64"), tf.cast(step, "int64")]))
    number_of_pass = tf.cast(draw + _DRAWS_PER_STEP * replica, "int64")
    return tf.stack([key[0], tf.bitwise.bitwise_xor(key[1], number_of_pass)])


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

    def __call__(self, *values, step, view: int):
        """Returns one view of a batch.

        Args:
            *values: What the network takes; for a shared augmentation that is a function, also the labels.
            step: Number of batches trained on so far.
            view: `STUDENT_VIEW`, `TEACHER_VIEW` or `SHARED_VIEW`.
        """
        if self._is_layer:
            set_noise(noise_variables(self.layer), self.seed, step, view)
            return self.layer(*values, training=True)
        if self._takes_seed:
            return self.layer(*values, seed=seed_of_pass(self.seed, step, view))
        return self.layer(*values)


class SharedAugmentation(Augmentation):
    """Moves images and what is labeled in them alike, before each network gets noise of its own.

    Args:
        layer: A Keras image preprocessing layer; or a function from `(x, y)` to `(x, y)`, with `seed` if it has an
            argument of that name.
        seed: Seed of all noise.
        maps: Of the flattened labels, which are maps of the images' pixels: a layer moves these.
    """

    def __init__(self, layer, seed: int, maps: list[bool]):
        super().__init__(layer, seed, [])
        self.maps = maps

    def __call__(self, x, y, step):
        """Returns `(x, y)` of a batch, moved alike."""
        if not self._is_layer:
            return super().__call__(x, y, step=step, view=SHARED_VIEW)
        flat = keras.tree.flatten(y)
        moved = [place for place, is_map in enumerate(self.maps) if is_map]
        if not moved:
            return super().__call__(x, step=step, view=SHARED_VIEW), y
        if len(moved) > 1:  # A layer takes one map: integer maps ride along as its channels.
            maps = tf.concat([_with_channel(flat[place]) for place in moved], axis=-1)
        else:
            maps = _with_channel(flat[moved[0]])
        # One more than the label, so that what a layer fills in with 0 is unlabeled.
        together = super().__call__(
            {"images": x, "segmentation_masks": tf.cast(maps, "float32") + 1.0}, step=step, view=SHARED_VIEW
        )
        maps = tf.cast(tf.round(together["segmentation_masks"]), "int32") - 1
        for channel, place in enumerate(moved):
            flat[place] = maps[..., channel : channel + 1] if len(flat[place].shape) == 4 else maps[..., channel]
        return together["images"], keras.tree.pack_sequence_as(y, flat)


def _with_channel(labels):
    return labels if len(labels.shape) == 4 else labels[..., None]


def moves_pictures(augmentation: Augmentation, shape: tuple, dtype: str = "float32") -> bool:
    """Whether an augmentation moves what is in an example to another place of it.

    Seen by what it does: of random examples one pixel is changed, and both are augmented under the same noise. Where
    the changed pixel then stands out is where it was moved to.

    Args:
        augmentation: The augmentation.
        shape: Shape of one example, `(height, width, channels)`, or other axes before the channels.
        dtype: Dtype of the examples.
    """
    random = np.random.default_rng(0)
    examples = random.uniform(0.2, 0.3, (_PROBES, *shape)).astype(dtype)
    changed = examples.copy()
    place = tuple(size // 4 for size in shape[:-1])
    changed[(slice(None), *place)] = 0.9
    for step in range(3):
        step = tf.constant(step, "int64")
        views = [np.asarray(augmentation(tf.constant(v), step=step, view=STUDENT_VIEW)) for v in (examples, changed)]
        if views[0].shape[1:-1] != tuple(shape[:-1]):
            return True  # Cropped or resized.
        differences = np.abs(views[1].astype("float64") - views[0]).sum(axis=-1)
        for difference in differences:
            found = np.unravel_index(difference.argmax(), difference.shape)
            if difference.max() > 1e-3 and found != place:
                return True
    return False
