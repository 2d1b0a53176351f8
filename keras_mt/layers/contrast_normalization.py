import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_mt")
class GlobalContrastNormalization(keras.layers.Layer):
    """Subtracts each image's mean and scales it to a fixed norm (paper, appendix B.2). Computed in float32.

    Args:
        norm: Euclidean norm of each image afterwards.

    Input shape: `[batch, height, width, channels]`.
    """

    def __init__(self, norm: float = 55.0, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.norm = norm

    def call(self, inputs):
        images = ops.cast(inputs, "float32")
        images = images - ops.mean(images, axis=(1, 2, 3), keepdims=True)
        lengths = ops.sqrt(ops.sum(ops.square(images), axis=(1, 2, 3), keepdims=True))
        return ops.cast(images * (self.norm / ops.maximum(lengths, 1e-8)), self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "norm": self.norm}
