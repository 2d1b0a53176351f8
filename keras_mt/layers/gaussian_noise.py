import keras
import tensorflow as tf

from keras_mt.layers.noise_layer import NoiseLayer
from keras_mt.layers.random_bits import random_normals


@keras.saving.register_keras_serializable(package="keras_mt")
class GaussianNoise(NoiseLayer):
    """Adds Gaussian noise in training; `keras.layers.GaussianNoise` with the same draws with and without XLA.

    Args:
        stddev: Standard deviation of the noise, in units of the input. Not negative.
        seed: Optional seed. Inside `MeanTeacher` the seed of the experiment decides instead.

    Call arguments:
        inputs: Tensor of any shape.
        training: Whether to add noise; otherwise inputs are returned unchanged.

    Input shape: Any.

    Output shape: Same as the input.

    Reference: Tarvainen & Valpola (2017), appendix B (input noise of 0.15)

    Example:

    ```python
    layer = keras_mt.layers.GaussianNoise(0.15, seed=1)
    outputs = layer(np.zeros((8, 32, 32, 3), "float32"), training=True)
    ```
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
