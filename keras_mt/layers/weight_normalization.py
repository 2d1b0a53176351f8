"""Weight-normalized layers with mean-only batch normalization (Salimans & Kingma 2016, sections 2-4)."""

import contextlib
import contextvars

import keras
import tensorflow as tf
from keras import ops

_measuring_first_batch = contextvars.ContextVar("measuring_first_batch", default=False)


@contextlib.contextmanager
def _first_batch():
    token = _measuring_first_batch.set(True)
    try:
        yield
    finally:
        _measuring_first_batch.reset(token)


def initialize_from_batch(network: keras.Model, batch) -> None:
    """Sets g and b of every weight-normalized layer from one batch (Salimans & Kingma 2016, section 3).

    Layer after layer, g becomes 1/√(variance of the pre-activation under unit-norm V) and b zero; each layer
    hands on its normalized output. Noise is on, as in training; running means are left alone.
    Call it before `MeanTeacher(network)`, which copies the weights, or call `reset_teacher()` after it.

    Args:
        network: A built network. Layers of other kinds are left as they are.
        batch: What the network takes, for example images `[batch, height, width, channels]`.
    """
    with _first_batch():
        network(batch, training=True)


def _mean_of_channels(values):
    """Returns the float32 mean of each channel.

    Rows first, which TensorFlow reduces several times faster than all axes at once, and without a float32 copy of
    bfloat16 values: their rows are summed in float32, and only the row means are rounded.
    """
    if len(values.shape) == 4:
        values = tf.reduce_mean(values, 2)
    return tf.reduce_mean(tf.cast(values, "float32"), list(range(len(values.shape) - 1)))


@tf.custom_gradient
def _center(outputs, b):
    """Returns `(outputs - mean + b, mean)` with the mean of each channel over the batch, in float32.

    The gradient is written by hand, `d - mean(d)` in one pass: automatic differentiation first spreads the gradient of
    the mean over a tensor of the size of the outputs and then adds it.
    """
    mean = _mean_of_channels(outputs)

    def gradient(slope, _):
        mean_slope = _mean_of_channels(slope)
        count = tf.cast(tf.size(slope) // tf.size(mean_slope), "float32")
        return slope - tf.cast(mean_slope, slope.dtype), count * mean_slope

    return (outputs + tf.cast(b - mean, outputs.dtype), mean), gradient


class _WeightNormalized(keras.layers.Layer):
    """What the dense and the convolution layer share: `W = g·V/‖V‖`, the batch mean, and b.

    The kernel is normalized once a call in float32, whatever the compute dtype. Subclasses define
    `_kernel_shape(input_shape)`, `_linear(inputs, kernel)` and `_variance_epsilon`.
    """

    _variance_epsilon = 1e-8

    def __init__(self, units: int, momentum: float = 0.999, **kwargs):
        super().__init__(**kwargs)
        if units < 1:
            raise ValueError(f"The number of output channels must be positive. Received: {units}")
        if not 0.0 <= momentum <= 1.0:
            raise ValueError(f"Argument `momentum` must be in the range [0, 1]. Received: momentum={momentum}")
        self.momentum = momentum
        self._units = units

    def build(self, input_shape):
        # autocast=False: V, g, b and the statistics stay float32 under every dtype policy.
        vector = {"shape": (self._units,), "autocast": False}
        self.v = self.add_weight(
            name="v",
            shape=self._kernel_shape(input_shape),
            initializer=keras.initializers.RandomNormal(stddev=0.05),
            autocast=False,
        )
        self.g = self.add_weight(name="g", initializer="ones", **vector)
        self.b = self.add_weight(name="b", initializer="zeros", **vector)
        self.running_mean = self.add_weight(name="running_mean", initializer="zeros", trainable=False, **vector)

    def _norm(self):
        axes = tuple(range(len(self.v.shape) - 1))
        return ops.sqrt(ops.sum(ops.square(self.v), axis=axes))

    def _outputs(self, inputs, scale):
        """The pre-activation for `W = scale·V`."""
        return self._linear(inputs, ops.cast(self.v * scale, self.compute_dtype))

    def _initialize(self, inputs):
        outputs = ops.cast(self._outputs(inputs, 1.0 / self._norm()), "float32")
        mean, variance = ops.moments(outputs, axes=tuple(range(len(outputs.shape) - 1)))
        self.g.assign(1.0 / ops.sqrt(variance + self._variance_epsilon))
        self.b.assign(ops.zeros_like(self.b))
        return (outputs - mean) * self.g

    def call(self, inputs, training=None):
        if _measuring_first_batch.get():
            outputs = self._initialize(inputs)
        else:
            scale = self.g / self._norm()
            outputs = self._outputs(inputs, scale)
            if training:
                outputs, mean = _center(outputs, tf.convert_to_tensor(self.b))
                self._keep(mean, scale)
            else:
                outputs = outputs + ops.cast(self.b - self._kept_mean(scale), outputs.dtype)
        return ops.cast(outputs, self.compute_dtype)

    def _keep(self, mean, scale):
        self.running_mean.assign(self.running_mean + (1.0 - self.momentum) * (mean - self.running_mean))

    def _kept_mean(self, scale):
        return self.running_mean + 0.0

    def get_config(self):
        return {**super().get_config(), "momentum": self.momentum}


@keras.saving.register_keras_serializable(package="keras_mt")
class WeightNormalizedConv2D(_WeightNormalized):
    """2D convolution of stride 1 with weight normalization and mean-only batch normalization.

    `conv(x, g·V/‖V‖) - mean + b`, with the norm per output channel and the mean over batch and
    positions: of the batch in training, a running one in evaluation.

    Args:
        filters: Number of output channels.
        kernel_size: Height and width of the kernel.
        padding: `"same"` or `"valid"`.
        momentum: Of the running mean, which moves by `1 - momentum` of the difference a training step.

    Input shape: `[batch, height, width, channels]`. Output shape: `[batch, height, width, filters]`.

    Reference: Salimans & Kingma 2016, https://arxiv.org/abs/1602.07868
    """

    def __init__(self, filters: int, kernel_size: int, padding: str = "same", momentum: float = 0.999, **kwargs):
        super().__init__(filters, momentum=momentum, **kwargs)
        if padding not in ("same", "valid"):
            raise ValueError(f'Argument `padding` must be "same" or "valid". Received: padding={padding!r}')
        self.filters = filters
        self.kernel_size = kernel_size
        self.padding = padding

    def _kernel_shape(self, input_shape):
        return (self.kernel_size, self.kernel_size, input_shape[-1], self.filters)

    def _linear(self, inputs, kernel):
        return ops.conv(inputs, kernel, strides=1, padding=self.padding, data_format="channels_last")

    def compute_output_shape(self, input_shape):
        batch, height, width, _ = input_shape
        if self.padding == "valid":
            height, width = (s if s is None else s - self.kernel_size + 1 for s in (height, width))
        return (batch, height, width, self.filters)

    def get_config(self):
        config = {"filters": self.filters, "kernel_size": self.kernel_size, "padding": self.padding}
        return {**super().get_config(), **config}


@keras.saving.register_keras_serializable(package="keras_mt")
class WeightNormalizedDense(_WeightNormalized):
    """Dense layer with weight normalization and mean-only batch normalization.

    `(x·V - mean)·g/‖V‖ + b`: unlike in the convolution the running mean keeps the mean of the
    unscaled `x·V`.

    Args:
        units: Number of outputs.
        momentum: Of the running mean, which moves by `1 - momentum` of the difference a training step.

    Input shape: `[batch, features]`. Output shape: `[batch, units]`.

    Reference: Salimans & Kingma 2016, https://arxiv.org/abs/1602.07868
    """

    _variance_epsilon = 1e-10

    def __init__(self, units: int, momentum: float = 0.999, **kwargs):
        super().__init__(units, momentum=momentum, **kwargs)
        self.units = units

    def _kernel_shape(self, input_shape):
        return (input_shape[-1], self.units)

    def _linear(self, inputs, kernel):
        return ops.matmul(inputs, kernel)

    def _keep(self, mean, scale):
        super()._keep(mean / scale, scale)

    def _kept_mean(self, scale):
        return self.running_mean * scale

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.units)

    def get_config(self):
        return {**super().get_config(), "units": self.units}
