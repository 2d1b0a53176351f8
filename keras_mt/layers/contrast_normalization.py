import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_mt")
class GlobalContrastNormalization(keras.layers.Layer):
    """Subtracts the mean of each image and scales it to a fixed Euclidean norm.

    Computed in float32 (float64 under a float64 policy), whatever the compute dtype.

    Args:
        norm: Euclidean norm of each image afterwards, over all its pixels and channels. Positive.

    Input shape: `[batch, height, width, channels]`, any range of values.

    Output shape: Same as the input.

    Reference: Tarvainen & Valpola (2017), appendix B.2

    Example:

    ```python
    images = np.random.default_rng(0).integers(0, 256, size=(8, 32, 32, 3))
    normalized = keras_mt.layers.GlobalContrastNormalization(norm=55.0)(images)
    ```
    """

    def __init__(self, norm: float = 55.0, **kwargs):
        super().__init__(autocast=False, **kwargs)
        if norm <= 0:
            raise ValueError(f"Argument `norm` must be positive. Received: norm={norm}")
        self.norm = norm

    def call(self, inputs):
        images = ops.cast(inputs, keras.backend.result_type(self.compute_dtype, "float32"))
        images = images - ops.mean(images, axis=(1, 2, 3), keepdims=True)
        lengths = ops.sqrt(ops.sum(ops.square(images), axis=(1, 2, 3), keepdims=True))
        return ops.cast(images * (self.norm / ops.maximum(lengths, 1e-8)), self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "norm": self.norm}
