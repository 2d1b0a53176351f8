"""The layers of the residual networks, with the initial weights of their authors."""

import keras
from keras import layers


class ResidualLayers:
    """Makes the layers of one network.

    Args:
        dtype: Dtype policy of the layers.
        momentum: Momentum of the moving statistics of batch normalization.
        epsilon: Added to the variance in batch normalization.
        synchronized: Whether batch statistics are those of the global batch when several replicas train.
        bias: Whether convolutions have one.
    """

    def __init__(self, dtype: str, momentum: float = 0.9, epsilon: float = 1e-5, synchronized=True, bias=False):
        self.dtype = dtype
        self.momentum = momentum
        self.epsilon = epsilon
        self.synchronized = synchronized
        self.bias = bias

    def convolution(self, x, filters: int, kernel_size: int, stride: int = 1, groups: int = 1):
        """Convolution with weights from N(0, 2/(k²·filters)), padded alike on both sides for any stride."""
        padding = "same"
        if stride > 1 and kernel_size > 1:
            # TensorFlow's "same" pads a stride of 2 on one side only, PyTorch on both.
            x = layers.ZeroPadding2D(kernel_size // 2, dtype=self.dtype)(x)
            padding = "valid"
        return layers.Conv2D(
            filters,
            kernel_size,
            stride,
            padding,
            groups=groups,
            use_bias=self.bias,
            kernel_initializer=keras.initializers.RandomNormal(stddev=(2.0 / (kernel_size**2 * filters)) ** 0.5),
            dtype=self.dtype,
        )(x)

    def normalization(self, x):
        """Batch normalization."""
        return layers.BatchNormalization(
            momentum=self.momentum, epsilon=self.epsilon, synchronized=self.synchronized, dtype=self.dtype
        )(x)

    def relu(self, x):
        """ReLU."""
        return layers.ReLU(dtype=self.dtype)(x)

    def leaky_relu(self, x):
        """Leaky ReLU of slope 0.1."""
        return layers.LeakyReLU(negative_slope=0.1, dtype=self.dtype)(x)

    def add(self, first, second):
        """Sum of two branches."""
        return layers.Add(dtype=self.dtype)([first, second])

    def pool(self, x):
        """Mean over positions, in float32 like the head after it."""
        return layers.GlobalAveragePooling2D(dtype="float32")(x)


def uniform_head(classes: int):
    """Returns a function from a name to a dense layer in float32 with PyTorch's initial weights."""
    # U(-1/√n, 1/√n) for n inputs.
    uniform = keras.initializers.VarianceScaling(1.0 / 3.0, "fan_in", "uniform")
    return lambda name: layers.Dense(classes, kernel_initializer=uniform, dtype="float32", name=name)
