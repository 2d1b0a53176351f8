"""Noise as a function of (seed, step, network, replica), with no state of its own.

Keras layers draw their noise from the variables of `SeedGenerator`s. Left alone, those variables make a clone
draw the same noise as its original, make replicas draw the same noise as each other, and are saved in no
checkpoint (keras issue 19796). So each pass of a train step sets them first, from what the step already knows.
"""

import inspect

import keras
import tensorflow as tf

# XLA reads 32 bits of a seed where a plain graph reads 64: seeds below 2³¹ give both the same draws.
_LARGEST_SEED = 2**31 - 1
_DRAWS_PER_STEP = 5
STUDENT_VIEW, TEACHER_VIEW = 3, 4  # Draws of noise; those of the networks' passes are 0 to 2.


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
    replica = tf.distribute.get_replica_context().replica_id_in_sync_group
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
        inputs: The student's inputs, on whose shapes an unbuilt layer is built.
    """

    def __init__(self, layer, seed: int, inputs):
        self.layer, self.seed = layer, seed
        self._is_layer = isinstance(layer, keras.Layer)
        if self._is_layer and not layer.built:
            shapes = [tuple(tensor.shape) for tensor in inputs]
            layer.build(shapes[0] if len(shapes) == 1 else shapes)
        self._takes_seed = not self._is_layer and "seed" in inspect.signature(layer).parameters

    def __call__(self, x, step, view: int) -> tf.Tensor:
        """Returns one view of a batch.

        Args:
            x: What the network takes.
            step: Number of batches trained on so far.
            view: `STUDENT_VIEW` or `TEACHER_VIEW`.
        """
        if self._is_layer:
            set_noise(noise_variables(self.layer), self.seed, step, view)
            return self.layer(x, training=True)
        if self._takes_seed:
            return self.layer(x, seed=seed_of_pass(self.seed, step, view))
        return self.layer(x)
