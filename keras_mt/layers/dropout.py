import keras
import tensorflow as tf

from keras_mt.layers.noise_layer import NoiseLayer
from keras_mt.layers.random_bits import random_chances


@keras.saving.register_keras_serializable(package="keras_mt")
class Dropout(NoiseLayer):
    """`keras.layers.Dropout` whose draws are the same in a plain graph and under XLA.

    Args:
        rate: Share of the inputs that is set to 0, in [0, 1); the others are divided by `1 - rate`.
        seed: Optional seed.
    """

    def __init__(self, rate: float, seed: int | None = None, **kwargs):
        super().__init__(seed, **kwargs)
        if not 0.0 <= rate < 1.0:
            raise ValueError(f"Argument `rate` must be in the range [0, 1). Received: rate={rate}")
        self.rate = rate

    def disturb(self, inputs):
        if not self.rate:
            return inputs
        kept = random_chances(tf.shape(inputs), 1.0 - self.rate, self.seed_generator)
        return inputs * tf.where(kept, tf.cast(1.0 / (1.0 - self.rate), inputs.dtype), tf.zeros((), inputs.dtype))

    def get_config(self):
        return {**super().get_config(), "rate": self.rate}
