"""What turns a batch into another view of it, for the student and for the teacher apart."""

import inspect

import keras
import tensorflow as tf

from keras_mt.noise import noise_variables, seed_of_pass, set_noise

STUDENT_VIEW, TEACHER_VIEW = 3, 4  # Draws of noise; those of the networks' passes are 0 to 2.


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
