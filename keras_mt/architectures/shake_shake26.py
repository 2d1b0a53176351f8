"""Shake-Shake 26 2×96d, the network of Tarvainen & Valpola (2017) for CIFAR-10, section 3.4 and appendix B.3."""

import keras
from keras import layers

from keras_mt.architectures.ends import disturbed_images, network, scaled
from keras_mt.architectures.residual_layers import ResidualLayers, uniform_head
from keras_mt.layers import ShakeShake


def shake_shake26(
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    num_heads: int = 2,
    width: float = 1.0,
    blocks: tuple[int, ...] = (4, 4, 4),
    translate: int = 4,
    flip: bool = False,
    input_noise: float = 0.0,
    preprocessing: tuple[keras.layers.Layer, ...] = (),
    synchronized: bool = True,
    dtype: str = "float32",
    name: str = "shake_shake26",
) -> keras.Model:
    """A residual network with two branches a block, mixed at random: 3 stages of 96, 192 and 384 channels.

    Args:
        input_shape: `(height, width, channels)`; height and width must be multiples of 4. Published: `(32, 32, 3)`.
        num_classes: Number of classes, C.
        num_heads: 1, or 2 for a head of its own for the consistency cost (published).
        width: Multiplies the channel counts of all stages; 1.0 is the published network.
        blocks: Number of blocks of each stage; `(4, 4, 4)` are 26 layers.
        translate: Largest random translation per axis, in pixels.
        flip: Whether images are flipped horizontally at random.
        input_noise: Standard deviation of Gaussian input noise, in units of its input; published: 0.
        preprocessing: Deterministic layers applied first.
        synchronized: Whether batch statistics are those of the global batch when several replicas train.
        dtype: Dtype policy of the layers; input layers and logits stay float32.
        name: Name of the model.

    Returns:
        A functional `keras.Model` with logits `[batch, num_classes]` in float32, or a list of two of them.

    Raises:
        ValueError: If the image size is no multiple of 4 or an argument is out of range.

    Reference: Gastaldi (2017), https://arxiv.org/abs/1705.07485

    Example:

    ```python
    network = keras_mt.architectures.shake_shake26((32, 32, 3), 10, num_heads=1, width=1 / 16, blocks=(1, 1, 1))
    logits = network(np.zeros((2, 32, 32, 3), "uint8"))  # [2, 10]
    ```
    """
    if input_shape[0] % 4 or input_shape[1] % 4:
        raise ValueError(
            "shake_shake26 takes images whose height and width are multiples of 4. "
            f"Received: input_shape={tuple(input_shape)}"
        )
    make = ResidualLayers(dtype, synchronized=synchronized)
    images, x = disturbed_images(
        input_shape, preprocessing=preprocessing, flip=flip, translate=translate, input_noise=input_noise
    )
    x = make.convolution(x, scaled(16, width), 3)
    for stage, count in enumerate(blocks):
        channels = scaled(96 * 2**stage, width)
        channels += channels % 2  # Two halves of the shortcut.
        for block in range(count):
            x = _block(make, x, channels, stride=2 if stage and not block else 1)
    x = make.pool(make.relu(x))
    return network(images, x, num_heads, uniform_head(num_classes), name)


def _block(make, x, channels, stride):
    # One activation for both: a gradient of three parts or more is summed by TensorFlow in the order in which they
    # come, and no run would repeat another bit for bit.
    active, branches = make.relu(x), []
    for _ in range(2):
        branch = make.convolution(active, channels, 3, stride)
        branch = make.convolution(make.relu(make.normalization(branch)), channels, 3)
        branches.append(make.normalization(branch))
    if stride > 1:
        x = shift_convolution(make, x, channels)
    elif x.shape[-1] != channels:
        x = make.normalization(make.convolution(x, channels, 1))
    return make.add(x, ShakeShake(dtype=make.dtype)(branches))


def shift_convolution(make: ResidualLayers, x, channels: int):
    """The shortcut that halves the image: every second pixel, and every second shifted by one, each half the output.

    ReLU, then a 1×1 convolution (with bias) of the image at even pixels and one of the image at odd pixels, side by
    side, then batch normalization.

    Args:
        make: Makes the layers.
        x: `[batch, height, width, c]`, height and width even.
        channels: Number of output channels, even.

    Returns:
        `[batch, height/2, width/2, channels]`.
    """
    x = make.relu(x)
    halves = []
    for shifted in (x, layers.Cropping2D(((1, 0), (1, 0)), dtype=make.dtype)(x)):
        initializer = keras.initializers.RandomNormal(stddev=(2.0 / channels) ** 0.5)
        half = layers.Conv2D(channels // 2, 1, 2, kernel_initializer=initializer, dtype=make.dtype)
        halves.append(half(shifted))
    return make.normalization(layers.Concatenate(dtype=make.dtype)(halves))
