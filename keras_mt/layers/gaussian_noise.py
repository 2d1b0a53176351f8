import keras
import tensorflow as tf

from keras_mt.layers.noise_layer import NoiseLayer
from keras_mt.layers.random_bits import random_normals


@keras.saving.register_keras_serializable(package="keras_mt")
class GaussianNoise(NoiseLayer):
    """`keras.layers.GaussianNoise` whose draws are the same in a plain graph and under XLA.

    Args:
        stddev: Standard deviation of the noise, in units of the input.
        seed: Optional seed.
    """

    def __init__(self, stddev: float, seed: int | None = None, **kwargs):
        super().__init__(seed, **kwargs)
        if stddev < 0:
            raise ValueError(f"Argument `stddev` must not be negative. Received: stddev={stddev}")
        self.stddev = stddev

    def disturb(self, inputs):
        if not self.stddev:
            return inputs
        return inputs + tf.cast(self.stddev * random_normals(tf.shape(inputs), self.seed_generator), inputs.dtype)

    def get_config(self):
        return {**super().get_config(), "stddev": self.stddev}
