import keras
import tensorflow as tf

from keras_mt.layers.noise_layer import NoiseLayer
from keras_mt.layers.random_bits import random_chances


@keras.saving.register_keras_serializable(package="keras_mt")
class Dropout(NoiseLayer):
    """Sets inputs to 0 at random in training; `keras.layers.Dropout` with the same draws with and without XLA.

    Args:
        rate: Fraction of the inputs that is set to 0, in [0, 1); the others are divided by `1 - rate`.
        seed: Optional seed. Inside `MeanTeacher` the seed of the experiment decides instead.

    Call arguments:
        inputs: Tensor of any shape.
        training: Whether to drop inputs; otherwise they are returned unchanged.

    Input shape: Any.

    Output shape: Same as the input.

    Reference: Srivastava et al. (2014)

    Example:

    ```python
    layer = keras_mt.layers.Dropout(0.5, seed=1)
    outputs = layer(np.ones((8, 128), "float32"), training=True)
    ```
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
