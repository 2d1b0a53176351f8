"""Wide-ResNet-28-2, the network of the later protocol (Oliver et al. (2018); TorchSSL)."""

import keras
from keras import layers

from keras_mt.architectures.ends import disturbed_images, network, scaled
from keras_mt.architectures.residual_layers import ResidualLayers


def wide_resnet28(
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    num_heads: int = 1,
    width: float = 1.0,
    blocks: tuple[int, ...] = (4, 4, 4),
    translate: int = 4,
    flip: bool = False,
    input_noise: float = 0.0,
    preprocessing: tuple[keras.layers.Layer, ...] = (),
    synchronized: bool = True,
    dtype: str = "float32",
    name: str = "wide_resnet28",
) -> keras.Model:
    """A pre-activation residual network of 28 layers: 3 stages of 32, 64 and 128 channels.

    Args:
        input_shape: `(height, width, channels)`. Published: `(32, 32, 3)`.
        num_classes: Number of classes, C.
        num_heads: 1, or 2 for a head of its own for the consistency cost.
        width: Multiplies the channel counts of all stages; 1.0 is the widening factor 2, the published network.
        blocks: Number of blocks of each stage; `(4, 4, 4)` are 28 layers.
        translate: Largest random translation per axis, in pixels: a random crop of the reflected image.
        flip: Whether images are flipped horizontally at random.
        input_noise: Standard deviation of Gaussian input noise, in units of its input; published: 0.
        preprocessing: Deterministic layers applied first.
        synchronized: Whether batch statistics are those of the global batch when several replicas train.
        dtype: Dtype policy of the layers; input layers and logits stay float32.
        name: Name of the model.

    Returns:
        A functional `keras.Model` with logits `[batch, num_classes]` in float32, or a list of two of them.

    Raises:
        ValueError: If an argument is out of range.

    Reference: Zagoruyko & Komodakis (2016), https://arxiv.org/abs/1605.07146

    Example:

    ```python
    network = keras_mt.architectures.wide_resnet28((32, 32, 3), 10, width=1 / 8, blocks=(1, 1, 1))
    logits = network(np.zeros((2, 32, 32, 3), "uint8"))  # [2, 10]
    ```
    """
    make = ResidualLayers(dtype, momentum=0.999, epsilon=1e-3, synchronized=synchronized, bias=True)
    images, x = disturbed_images(
        input_shape, preprocessing=preprocessing, flip=flip, translate=translate, input_noise=input_noise
    )
    x = make.convolution(x, scaled(16, width), 3)
    for stage, count in enumerate(blocks):
        channels = scaled(32 * 2**stage, width)
        for block in range(count):
            x = _block(make, x, channels, stride=2 if stage and not block else 1, first=not stage and not block)
    x = make.pool(make.leaky_relu(make.normalization(x)))

    def head(head_name):
        return layers.Dense(num_classes, kernel_initializer="glorot_normal", dtype="float32", name=head_name)

    return network(images, x, num_heads, head, name)


def _block(make, x, channels, stride, first):
    active = make.leaky_relu(make.normalization(x))
    branch = make.convolution(active, channels, 3, stride)
    branch = make.convolution(make.leaky_relu(make.normalization(branch)), channels, 3)
    if x.shape[-1] != channels:
        # In the first block the shortcut shares the activation, in the others it takes what came in.
        x = make.convolution(active if first else x, channels, 1, stride)
    return make.add(x, branch)
