"""ResNeXt-152 32×4d, the network of Tarvainen & Valpola (2017) for ImageNet, section 3.4 and appendix B.4."""

import keras
from keras import layers

from keras_mt.architectures.ends import disturbed_images, network, scaled
from keras_mt.architectures.residual_layers import ResidualLayers, uniform_head

GROUPS = 32


def resnext152(
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    num_heads: int = 2,
    width: float = 1.0,
    blocks: tuple[int, ...] = (3, 8, 36, 3),
    translate: int = 0,
    flip: bool = False,
    input_noise: float = 0.0,
    preprocessing: tuple[keras.layers.Layer, ...] = (),
    synchronized: bool = True,
    dtype: str = "float32",
    name: str = "resnext152",
) -> keras.Model:
    """A residual network of bottlenecks with grouped 3×3 convolutions: 32 groups of 4 channels in the first stage.

    Args:
        input_shape: `(height, width, channels)`; at least 32×32. Published: `(224, 224, 3)`.
        num_classes: Number of classes, C.
        num_heads: 1, or 2 for a head of its own for the consistency cost (published).
        width: Multiplies all channel counts; the number of groups stays, with at least one channel each.
        blocks: Number of blocks of each stage; `(3, 8, 36, 3)` are 152 layers.
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
        ValueError: If the image is too small or an argument is out of range.

    Reference: Xie et al. (2017), https://arxiv.org/abs/1611.05431

    Example:

    ```python
    network = keras_mt.architectures.resnext152((32, 32, 3), 10, num_heads=1, width=1 / 16, blocks=(1, 1))
    logits = network(np.zeros((2, 32, 32, 3), "uint8"))  # [2, 10]
    ```
    """
    if min(input_shape[:2]) < 32:
        raise ValueError(
            f"resnext152 takes images of at least 32×32 pixels. Received: input_shape={tuple(input_shape)}"
        )
    make = ResidualLayers(dtype, synchronized=synchronized)
    images, x = disturbed_images(
        input_shape, preprocessing=preprocessing, flip=flip, translate=translate, input_noise=input_noise
    )
    x = make.relu(make.normalization(make.convolution(x, scaled(64, width), 7, 2)))
    x = layers.ZeroPadding2D(1, dtype=dtype)(x)  # All are positive, so 0 is no larger than what it stands beside.
    x = layers.MaxPooling2D(3, 2, dtype=dtype)(x)
    for stage, count in enumerate(blocks):
        planes = GROUPS * scaled(4 * 2**stage, width)
        for block in range(count):
            x = _bottleneck(make, x, planes, stride=2 if stage and not block else 1)
    return network(images, make.pool(x), num_heads, uniform_head(num_classes), name)


def _bottleneck(make, x, planes, stride):
    branch = make.relu(make.normalization(make.convolution(x, planes, 1)))
    branch = make.relu(make.normalization(make.convolution(branch, planes, 3, stride, groups=GROUPS)))
    branch = make.normalization(make.convolution(branch, 2 * planes, 1))
    if stride > 1 or x.shape[-1] != 2 * planes:
        x = make.normalization(make.convolution(x, 2 * planes, 1, stride))
    return make.relu(make.add(x, branch))
