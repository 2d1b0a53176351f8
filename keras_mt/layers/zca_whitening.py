import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_mt")
class ZCAWhitening(keras.layers.Layer):
    """`(x - mean)·matrix` of each flattened image: removes the correlations between pixels.

    `mean` and `matrix` are weights that no training changes. They start as 0 and the identity;
    `set_weights([mean, matrix])` sets what `keras_mt.data.fit_zca` found on the training images.
    Weights and computation are float32 (float64 under a float64 policy), whatever the compute dtype.

    Input shape: `[batch, height, width, channels]`, of a fixed size.

    Output shape: Same as the input.

    Reference: Tarvainen & Valpola (2017), appendix B.2 (after Goodfellow et al. 2013)

    Example:

    ```python
    from keras_mt import data

    images = np.random.default_rng(0).integers(0, 256, (100, 8, 8, 3)).astype("uint8")
    layer = keras_mt.layers.ZCAWhitening()
    layer.build(images.shape)
    layer.set_weights(data.fit_zca(images))
    whitened = layer(keras_mt.layers.GlobalContrastNormalization()(images))
    ```
    """

    def __init__(self, **kwargs):
        super().__init__(autocast=False, trainable=False, **kwargs)

    def build(self, input_shape):
        numbers = input_shape[1] * input_shape[2] * input_shape[3]
        constant = {
            "dtype": keras.backend.result_type(self.variable_dtype, "float32"),
            "trainable": False,
            "autocast": False,
        }
        self.mean = self.add_weight(name="mean", shape=(numbers,), initializer="zeros", **constant)
        self.matrix = self.add_weight(name="matrix", shape=(numbers, numbers), initializer="identity", **constant)

    def call(self, inputs):
        flat = ops.reshape(ops.cast(inputs, self.mean.dtype), (-1, self.mean.shape[0]))
        whitened = ops.matmul(flat - self.mean, self.matrix)
        return ops.cast(ops.reshape(whitened, (-1, *inputs.shape[1:])), self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return input_shape
