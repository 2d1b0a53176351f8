import keras
import tensorflow as tf

from keras_mt.layers.noise_layer import NoiseLayer
from keras_mt.layers.random_bits import random_chances


@keras.saving.register_keras_serializable(package="keras_mt")
class RandomHorizontalFlip(NoiseLayer):
    """Flips each image horizontally with probability 1/2 in training.

    Args:
        seed: Optional seed. Inside `MeanTeacher` the seed of the experiment decides instead.

    Call arguments:
        inputs: Images.
        training: Whether to flip; otherwise images are returned unchanged.

    Input shape: `[batch, height, width, channels]`.

    Output shape: Same as the input.

    Reference: Tarvainen & Valpola (2017), appendix B.2 (CIFAR-10 only)

    Example:

    ```python
    images = np.random.default_rng(0).normal(size=(8, 32, 32, 3)).astype("float32")
    flipped = keras_mt.layers.RandomHorizontalFlip(seed=1)(images, training=True)
    ```
    """

    def disturb(self, inputs):
        flipped = random_chances([tf.shape(inputs)[0], 1, 1, 1], 0.5, self.seed_generator)
        return tf.where(flipped, tf.reverse(inputs, axis=[2]), inputs)
