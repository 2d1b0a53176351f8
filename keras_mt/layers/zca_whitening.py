import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_mt")
class ZCAWhitening(keras.layers.Layer):
    """`(x - mean)·matrix` of each flattened image: takes away the correlations between pixels.

    `mean` and `matrix` are weights that no training changes; `set_weights([mean, matrix])` fills them with what
    `keras_mt.data.fit_zca` found on the training images. Computed in float32.

    Input shape: `[batch, height, width, channels]`.

    Reference: paper, appendix B.2 (after Goodfellow et al. 2013).
    """

    def __init__(self, **kwargs):
        super().__init__(autocast=False, trainable=False, **kwargs)

    def build(self, input_shape):
        numbers = input_shape[1] * input_shape[2] * input_shape[3]
        self.mean = self.add_weight(name="mean", shape=(numbers,), initializer="zeros", trainable=False, autocast=False)
        self.matrix = self.add_weight(
            name="matrix", shape=(numbers, numbers), initializer="identity", trainable=False, autocast=False
        )

    def call(self, inputs):
        flat = ops.reshape(ops.cast(inputs, "float32"), (-1, self.mean.shape[0]))
        whitened = ops.matmul(flat - self.mean, self.matrix)
        return ops.cast(ops.reshape(whitened, (-1, *inputs.shape[1:])), self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return input_shape
