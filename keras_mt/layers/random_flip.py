import keras
import tensorflow as tf

from keras_mt.layers.noise_layer import NoiseLayer
from keras_mt.layers.random_bits import random_chances


@keras.saving.register_keras_serializable(package="keras_mt")
class RandomHorizontalFlip(NoiseLayer):
    """Mirrors each training image left to right with probability 1/2 (paper, appendix B.2: CIFAR-10 only).

    Input shape: `[batch, height, width, channels]`.
    """

    def disturb(self, inputs):
        flipped = random_chances([tf.shape(inputs)[0], 1, 1, 1], 0.5, self.seed_generator)
        return tf.where(flipped, tf.reverse(inputs, axis=[2]), inputs)
