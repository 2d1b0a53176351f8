"""`f(linear(x) - mean + b)` with the mean of each channel over the batch, and its gradient by hand.

Of a linear map the mean of the outputs is the map of the mean of the inputs. So it is known before the map is done,
and TensorFlow fuses bias and leaky ReLU into the convolution instead of passing over its outputs three times more.
"""

import math
from collections.abc import Callable

import numpy as np
import tensorflow as tf


def dtype_of_means(dtype) -> tf.DType:
    """Returns float64 for float64 values, and float32 for all others."""
    return tf.float64 if tf.as_dtype(dtype) == tf.float64 else tf.float32


def mean_of_channels(values: tf.Tensor) -> tf.Tensor:
    """Returns the mean of each channel of `[batch, ..., channels]`, in `dtype_of_means`.

    Rows first, which TensorFlow reduces several times faster than all axes at once, and without a float32 copy of
    bfloat16 values: their rows are summed in float32, and only the row means are rounded.
    """
    if len(values.shape) == 4:
        values = tf.reduce_mean(values, 2)
    return tf.reduce_mean(tf.cast(values, dtype_of_means(values.dtype)), list(range(len(values.shape) - 1)))


def mean_of_batch(values: tf.Tensor) -> tf.Tensor:
    """Returns the mean over the batch `[batch, ...]`, in `dtype_of_means`.

    A matrix product, which sums bfloat16 in float32.
    """
    size, *shape = _known(values)
    rows = tf.reshape(values, [size, math.prod(shape)])
    total = tf.cast(tf.matmul(tf.ones([1, size], values.dtype), rows), dtype_of_means(values.dtype))
    return tf.reshape(total, shape) / _number(size, total.dtype)


def mean_of_convolution(inputs: tf.Tensor, kernel: tf.Tensor, padding: str) -> tf.Tensor:
    """Returns the mean of each channel of a convolution of stride 1, which is not done for it.

    Args:
        inputs: `[batch, height, width, channels]`.
        kernel: `[k, k, channels, filters]`.
        padding: `"same"` or `"valid"`.

    Returns:
        `[filters]`, in `dtype_of_means`.
    """
    picture, sizes = mean_of_batch(inputs), _known(inputs)
    for axis in (0, 1):  # From means of pixels to means of what each place of the kernel sees, [k, k, channels].
        seen = _places_seen(sizes[1 + axis], kernel.shape[axis], padding, picture.dtype)
        picture = tf.tensordot(seen, picture, [[1], [axis]])
        picture = picture if axis == 0 else tf.transpose(picture, [1, 0, 2])
    return tf.tensordot(picture, tf.cast(kernel, picture.dtype), 3)


def _places_seen(size, kernel_size, padding, dtype):
    """Matrix `[kernel_size, size]`: the share of outputs for which a place of the kernel lies on an input."""
    outputs, before = (size, (kernel_size - 1) // 2) if padding == "same" else (size - kernel_size + 1, 0)
    # A constant in the graph where the size is known: a dozen operations less to trace for each layer.
    known = isinstance(size, int)
    arange = np.arange if known else tf.range
    output = arange(size)[None, :] - arange(kernel_size)[:, None] + before
    seen = (output >= 0) & (output < outputs)
    if known:
        return tf.constant(seen.astype(dtype.as_numpy_dtype) / np.array(outputs, dtype.as_numpy_dtype))
    return tf.cast(seen, dtype) / tf.cast(outputs, dtype)


def _number(size, dtype):
    """A size as a constant of the graph if it is known."""
    return tf.constant(size, dtype) if isinstance(size, int) else tf.cast(size, dtype)


def _known(values):
    """The shape: sizes that are known as integers, others as tensors."""
    if None not in values.shape:
        return list(values.shape)
    sizes = tf.shape(values)
    return [sizes[k] if size is None else size for k, size in enumerate(values.shape)]


def over_replicas(mean: tf.Tensor, count: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the mean over the global batch: the sums and the counts of all replicas are reduced, then divided.

    Args:
        mean: `[channels]`, the mean of this replica's values; NaN if it has none.
        count: Number of these values, a scalar of the same dtype.

    Returns:
        `(mean, count)` of the values of all replicas.
    """
    replica = tf.distribute.get_replica_context()
    if replica is None or replica.num_replicas_in_sync == 1:
        return mean, count
    # One reduction for both: each waits for the slowest link.
    sums = tf.concat([tf.math.multiply_no_nan(mean, count), count[None]], 0)
    sums = replica.all_reduce(tf.distribute.ReduceOp.SUM, sums)
    return sums[:-1] / sums[-1], sums[-1]


def _of_replica(mean, count):
    return mean, count


def centered(
    linear: Callable, mean_of_linear: Callable, inputs, kernel, b, negative_slope: float, synchronized: bool
) -> tuple:
    """Returns `(leaky ReLU(linear(inputs, kernel) - mean + b), mean, number of examples it is the mean of)`.

    The gradient of "subtract the mean", `d - mean(d)`, is one pass: automatic differentiation first spreads the
    gradient of the mean over a tensor of the size of the outputs. That of the leaky ReLU needs its outputs only.

    Args:
        linear: Maps inputs and kernel to `[batch, ..., channels]`.
        mean_of_linear: Maps them to the mean of each channel `[channels]`, in the dtype of b.
        inputs: What is mapped.
        kernel: In the dtype of the inputs.
        b: `[channels]`, float32; float64 for inputs in float64.
        negative_slope: Of the leaky ReLU; 1 for none.
        synchronized: Whether the mean is that of the global batch, over all replicas. A replica may have a share of
            any size, none included.
    """
    reduce = over_replicas if synchronized else _of_replica

    @tf.custom_gradient
    def outputs_and_mean(inputs, kernel, b):
        mean, examples = reduce(mean_of_linear(inputs, kernel), _number(_known(inputs)[0], b.dtype))
        with tf.GradientTape() as tape:
            tape.watch([inputs, kernel])
            mapped = linear(inputs, kernel)
        outputs = activated(mapped, b - mean, negative_slope)

        def gradient(slope, *_):
            if negative_slope != 1.0:
                slope = tf.raw_ops.LeakyReluGrad(gradients=slope, features=outputs, alpha=negative_slope)
            mean_slope, sizes = mean_of_channels(slope), _known(slope)[:-1]
            count = _number(math.prod(sizes), mean_slope.dtype)
            if not all(isinstance(size, int) and size for size in sizes):
                mean_slope = tf.where(count > 0, mean_slope, 0)  # The mean of no examples is NaN, their sum is 0.
            centered_slope = slope - tf.cast(reduce(mean_slope, count)[0], slope.dtype)
            return (*tape.gradient(mapped, [inputs, kernel], centered_slope), count * mean_slope)

        return (outputs, mean, examples), gradient

    return outputs_and_mean(inputs, kernel, b)


def activated(mapped: tf.Tensor, bias: tf.Tensor, negative_slope: float) -> tf.Tensor:
    """Returns `leaky ReLU(mapped + bias)`, in the form that TensorFlow fuses into a convolution before it."""
    outputs = tf.nn.bias_add(mapped, tf.cast(bias, mapped.dtype))
    return outputs if negative_slope == 1.0 else tf.nn.leaky_relu(outputs, negative_slope)
