"""Weight-normalized layers with mean-only batch normalization (Salimans & Kingma (2016), sections 2 to 4)."""

import contextvars

import keras
import tensorflow as tf
from keras import ops

from keras_mt.layers.centered import activated, centered, mean_of_batch, mean_of_convolution

# While `initialize_from_batch` runs a network: the g and b that its layers have set. None otherwise.
_initialized = contextvars.ContextVar("initialized", default=None)


def initialize_from_batch(network: keras.Model, batch) -> None:
    """Sets g and b of every weight-normalized layer from one batch.

    Layer after layer, g becomes 1/√(variance of the pre-activation under unit-norm V) and b zero; each layer passes on
    its normalized output. Noise is on, as in training. All other variables of the network stay exactly as they are:
    running means, the moving statistics of other layers such as `keras.layers.BatchNormalization`, seed states.

    Call it before `MeanTeacher(network)`, which copies the weights, or call `reset_teacher()` after it.

    Args:
        network: A built network. Layers of other kinds are left as they are.
        batch: What the network takes, for example images `[batch, height, width, channels]`. At least one row.

    Raises:
        ValueError: If the batch has no row.

    Reference: Salimans & Kingma (2016), https://arxiv.org/abs/1602.07868, section 3

    Example:

    ```python
    network = keras.Sequential([keras.Input((4,)), keras_mt.layers.WeightNormalizedDense(3)])
    keras_mt.layers.initialize_from_batch(network, np.random.default_rng(0).normal(size=(32, 4)))
    model = keras_mt.MeanTeacher(network)
    ```
    """
    if any(rows.shape[0] == 0 for rows in keras.tree.flatten(batch)):
        raise ValueError(
            "Argument `batch` must have at least one row. "
            f"Received: shapes {[tuple(rows.shape) for rows in keras.tree.flatten(batch)]}"
        )
    before = [(variable, tf.identity(variable.value)) for variable in network.variables]
    initialized = []
    token = _initialized.set(initialized)
    try:
        network(batch, training=True)
    finally:
        _initialized.reset(token)
        kept = {id(variable) for variable in initialized}
        for variable, value in before:
            if id(variable) not in kept:
                variable.assign(value)


class _WeightNormalized(keras.layers.Layer):
    """What the dense and the convolution layer share: `W = g·V/‖V‖`, the batch mean, b, and the leaky ReLU.

    The kernel is normalized once a call in float32, whatever the compute dtype; in float64 under that policy.
    Subclasses define `_kernel_shape(input_shape)`, `_linear(inputs, kernel)`, `_mean_of_linear(inputs, kernel)` and
    `_variance_epsilon`.
    """

    _variance_epsilon = 1e-8

    def __init__(
        self, units: int, momentum: float = 0.999, negative_slope: float = 1.0, synchronized: bool = True, **kwargs
    ):
        super().__init__(**kwargs)
        if units < 1:
            raise ValueError(f"The number of output channels must be positive. Received: {units}")
        if not 0.0 <= momentum <= 1.0:
            raise ValueError(f"Argument `momentum` must be in the range [0, 1]. Received: momentum={momentum}")
        if not 0.0 <= negative_slope <= 1.0:
            raise ValueError(
                "Argument `negative_slope` must be in the range [0, 1], 1 for no activation. "
                f"Received: negative_slope={negative_slope}"
            )
        self.momentum = momentum
        self.negative_slope = negative_slope
        self.synchronized = synchronized
        self._units = units

    def build(self, input_shape):
        # V, g, b and the running mean are float32 under every dtype policy but float64: not rounded to "bfloat16"
        # where a policy asks for that (dtype), nor where a mixed one reads them (autocast).
        precise = {"dtype": keras.backend.result_type(self.variable_dtype, "float32"), "autocast": False}
        vector = {"shape": (self._units,), **precise}
        self.v = self.add_weight(
            name="v",
            shape=self._kernel_shape(input_shape),
            initializer=keras.initializers.RandomNormal(stddev=0.05),
            **precise,
        )
        self.g = self.add_weight(name="g", initializer="ones", **vector)
        self.b = self.add_weight(name="b", initializer="zeros", **vector)
        self.running_mean = self.add_weight(name="running_mean", initializer="zeros", trainable=False, **vector)

    def _kernel(self, v, scale):
        return tf.convert_to_tensor(ops.cast(v * scale, self.compute_dtype))

    def _initialize(self, inputs, initialized):
        v = tf.convert_to_tensor(self.v)
        outputs = ops.cast(self._linear(inputs, self._kernel(v, 1.0 / _norm(v))), self.g.dtype)
        mean, variance = ops.moments(outputs, axes=tuple(range(len(outputs.shape) - 1)))
        self.g.assign(1.0 / ops.sqrt(variance + self._variance_epsilon))
        self.b.assign(ops.zeros_like(self.b))
        initialized.extend([self.g, self.b])
        return activated(outputs * self.g, -mean * self.g, self.negative_slope)

    def call(self, inputs, training=None):
        initialized = _initialized.get()
        if initialized is not None:
            outputs = self._initialize(inputs, initialized)
        else:
            v = tf.convert_to_tensor(self.v)
            scale = self.g / _norm(v)
            kernel, b = self._kernel(v, scale), tf.convert_to_tensor(self.b)
            if training:
                arguments = (inputs, kernel, b, self.negative_slope, self.synchronized)
                outputs, mean, examples = centered(self._linear, self._mean_of_linear, *arguments)
                self._update_running_mean(self._kept(mean, scale), examples)
            else:
                outputs = activated(self._linear(inputs, kernel), b - self._mean(scale), self.negative_slope)
        return ops.cast(outputs, self.compute_dtype)

    def _update_running_mean(self, mean, examples):
        before = tf.convert_to_tensor(self.running_mean)
        updated = before + (1.0 - self.momentum) * (mean - before)
        # The mean of no examples, on a replica that got none of a small batch, is NaN.
        self.running_mean.assign(tf.where(examples > 0, updated, before))

    def _kept(self, mean, scale):
        """What the running mean keeps of a batch's mean."""
        return mean

    def _mean(self, scale):
        """The mean that evaluation subtracts."""
        return self.running_mean + 0.0

    def get_config(self):
        own = {"momentum": self.momentum, "negative_slope": self.negative_slope, "synchronized": self.synchronized}
        return {**super().get_config(), **own}


def _norm(v):
    return ops.sqrt(ops.sum(ops.square(v), axis=tuple(range(len(v.shape) - 1))))


@keras.saving.register_keras_serializable(package="keras_mt")
class WeightNormalizedConv2D(_WeightNormalized):
    """2D convolution of stride 1 with weight normalization and mean-only batch normalization.

    `conv(x, g·V/‖V‖) - mean + b`, with the norm per output channel and the mean over batch and positions: of the batch
    in training, a running one in evaluation. Weights are float32 (float64 under float64) under every dtype policy.

    Args:
        filters: Number of output channels.
        kernel_size: Height and width of the kernel.
        padding: `"same"` or `"valid"`.
        momentum: Momentum of the running mean, in [0, 1]: `momentum · running + (1 - momentum) · batch` at each step.
        negative_slope: Slope of the leaky ReLU below 0, in [0, 1]; 1 for no activation.
        synchronized: Whether the mean is that of the global batch when several replicas train, or each replica's own.
            Replicas may have shares of any size.

    Call arguments:
        inputs: Images or feature maps.
        training: Whether the mean of the batch is subtracted, which updates the running mean; otherwise the running
            mean is.

    Input shape: `[batch, height, width, channels]`.

    Output shape: `[batch, height, width, filters]`; without the border for `"valid"`.

    Reference: Salimans & Kingma (2016), https://arxiv.org/abs/1602.07868

    Example:

    ```python
    layer = keras_mt.layers.WeightNormalizedConv2D(16, 3, negative_slope=0.1)
    outputs = layer(np.ones((8, 32, 32, 3), "float32"), training=True)
    ```
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int,
        padding: str = "same",
        momentum: float = 0.999,
        negative_slope: float = 1.0,
        synchronized: bool = True,
        **kwargs,
    ):
        super().__init__(filters, momentum, negative_slope, synchronized, **kwargs)
        if padding not in ("same", "valid"):
            raise ValueError(f'Argument `padding` must be "same" or "valid". Received: padding={padding!r}')
        self.filters = filters
        self.kernel_size = kernel_size
        self.padding = padding

    def _kernel_shape(self, input_shape):
        return (self.kernel_size, self.kernel_size, input_shape[-1], self.filters)

    def _linear(self, inputs, kernel):
        return tf.nn.conv2d(inputs, kernel, 1, self.padding.upper())

    def _mean_of_linear(self, inputs, kernel):
        return mean_of_convolution(inputs, kernel, self.padding)

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

    `(x·V - mean)·g/‖V‖ + b`: unlike in the convolution the running mean is that of the unscaled `x·V`. Weights are
    float32 (float64 under float64) under every dtype policy.

    Args:
        units: Number of outputs.
        momentum: Momentum of the running mean, in [0, 1]: `momentum · running + (1 - momentum) · batch` at each step.
        negative_slope: Slope of the leaky ReLU below 0, in [0, 1]; 1 for no activation.
        synchronized: Whether the mean is that of the global batch when several replicas train, or each replica's own.
            Replicas may have shares of any size.

    Call arguments:
        inputs: Features.
        training: Whether the mean of the batch is subtracted, which updates the running mean; otherwise the running
            mean is.

    Input shape: `[batch, ..., features]`.

    Output shape: `[batch, ..., units]`.

    Reference: Salimans & Kingma (2016), https://arxiv.org/abs/1602.07868

    Example:

    ```python
    layer = keras_mt.layers.WeightNormalizedDense(10)
    outputs = layer(np.ones((8, 128), "float32"), training=True)
    ```
    """

    _variance_epsilon = 1e-10

    def __init__(
        self, units: int, momentum: float = 0.999, negative_slope: float = 1.0, synchronized: bool = True, **kwargs
    ):
        super().__init__(units, momentum, negative_slope, synchronized, **kwargs)
        self.units = units

    def call(self, inputs, training=None):
        if len(inputs.shape) == 2:
            return super().call(inputs, training)
        # `tf.matmul` of four axes is wrong in TensorFlow 2.21 with oneDNN: `[2, 1, 20, 30]` times `[30, 16]`.
        outputs = super().call(ops.reshape(inputs, (-1, inputs.shape[-1])), training)
        return ops.reshape(outputs, (*ops.shape(inputs)[:-1], self.units))

    def _kernel_shape(self, input_shape):
        return (input_shape[-1], self.units)

    def _linear(self, inputs, kernel):
        return tf.matmul(inputs, kernel)

    def _mean_of_linear(self, inputs, kernel):
        mean = mean_of_batch(inputs)
        return tf.tensordot(mean, tf.cast(kernel, mean.dtype), 1)

    def _kept(self, mean, scale):
        return mean / scale

    def _mean(self, scale):
        return self.running_mean * scale

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.units)

    def get_config(self):
        return {**super().get_config(), "units": self.units}
