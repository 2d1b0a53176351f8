import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_mt")
class ImageStandardization(keras.layers.Layer):
    """Gives each image mean 0 and standard deviation 1 over all its pixels and channels.

    `(x - mean) / max(std, 1/√numbers)`, as `tf.image.per_image_standardization`: the floor, for as many numbers as an
    image has, keeps a flat image finite. Computed in float32 (float64 under a float64 policy), whatever the compute
    dtype.

    Input shape: `[batch, height, width, channels]`, any range of values.

    Output shape: Same as the input.

    Example:

    ```python
    images = np.random.default_rng(0).integers(0, 256, size=(8, 32, 32, 3))
    standardized = keras_mt.layers.ImageStandardization()(images)
    ```
    """

    def __init__(self, **kwargs):
        super().__init__(autocast=False, **kwargs)

    def call(self, inputs):
        images = ops.cast(inputs, keras.backend.result_type(self.compute_dtype, "float32"))
        mean, variance = ops.moments(images, axes=(1, 2, 3), keepdims=True)
        floor = 1.0 / float(inputs.shape[1] * inputs.shape[2] * inputs.shape[3]) ** 0.5
        return ops.cast((images - mean) / ops.maximum(ops.sqrt(variance), floor), self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return input_shape
