import keras
import tensorflow as tf

from keras_mt.layers.noise_layer import NoiseLayer
from keras_mt.layers.random_bits import random_uniforms


@keras.saving.register_keras_serializable(package="keras_mt")
class ShakeShake(NoiseLayer):
    """Mixes two branches at random: `g·a + (1 - g)·b`, with a gate g ~ U(0, 1) drawn for each example.

    The gradient is mixed by gates of its own, g' ~ U(0, 1), drawn independently of those of the outputs. In evaluation
    g is 1/2.

    Args:
        seed: Optional seed. Inside `MeanTeacher` the seed of the experiment decides instead.

    Call arguments:
        inputs: A list of the two branches.
        training: Whether gates are drawn; otherwise they are 1/2.

    Input shape: Two of `[batch, height, width, channels]`.

    Output shape: Same as one of the inputs.

    Reference: Gastaldi (2017), https://arxiv.org/abs/1705.07485

    Example:

    ```python
    branches = [np.ones((8, 16, 16, 4), "float32"), np.zeros((8, 16, 16, 4), "float32")]
    mixed = keras_mt.layers.ShakeShake(seed=1)(branches, training=True)
    ```
    """

    def call(self, inputs, training=None):
        first, second = inputs
        return self.disturb(inputs) if training else 0.5 * (first + second)

    def disturb(self, inputs):
        shape = [tf.shape(inputs[0])[0], 1, 1, 1]
        forward, backward = (tf.cast(random_uniforms(shape, self.seed_generator), inputs[0].dtype) for _ in range(2))

        @tf.custom_gradient
        def shake(first, second):
            def gradient(slope):
                return backward * slope, (1.0 - backward) * slope

            return forward * first + (1.0 - forward) * second, gradient

        return shake(*inputs)

    def compute_output_shape(self, input_shape):
        return input_shape[0]
