import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_mt")
class ImageStandardization(keras.layers.Layer):
    """Gives each image mean 0 and standard deviation 1 over all its pixels and channels.

    `(x - mean) / max(std, 1/√numbers)`; the floor keeps a flat image finite. Computed in float32.

    Input shape: `[batch, height, width, channels]`, any range of values.
    """

    def __init__(self, **kwargs):
        super().__init__(autocast=False, **kwargs)

    def call(self, inputs):
        images = ops.cast(inputs, "float32")
        mean, variance = ops.moments(images, axes=(1, 2, 3), keepdims=True)
        floor = 1.0 / float(inputs.shape[1] * inputs.shape[2] * inputs.shape[3]) ** 0.5
        return ops.cast((images - mean) / ops.maximum(ops.sqrt(variance), floor), self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return input_shape
