"""Views of images of any size: augmentation as for ImageNet (Tarvainen & Valpola, 2017, B.4), and the plain view.

Each is a function of the image and a seed (after the usual PyTorch recipe).
"""

import math

import tensorflow as tf

_LARGEST_ANGLE = 10.0 / 180.0 * math.pi
_SMALLEST_AREA = 0.08
_LARGEST_RATIO = 4.0 / 3.0
_JITTER = 0.4
_HUE = 0.1
_CROP = 224.0 / 256.0
_TRIES = 10
_LONGEST = 32  # Of a thin image: its longer side, in shorter ones.


def plain_view(image: tf.Tensor, size: int) -> tf.Tensor:
    """Returns the middle of an image: the shorter side resized to `size · 256/224`, then cropped.

    Args:
        image: uint8 `[height, width, 3]`.
        size: Height and width of the view.

    Returns:
        Float32 `[size, size, 3]` with values from 0 to 255.
    """
    start, length = middle(tf.shape(image)[:2])
    image = image[start[0] : start[0] + length[0], start[1] : start[1] + length[1]]
    target = resized_shape(length, size)
    resized = _resize(image, target)
    top, left = (target[0] - size) // 2, (target[1] - size) // 2
    return tf.ensure_shape(resized[top : top + size, left : left + size], [size, size, 3])


def middle(shape: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns start `[2]` and length `[2]` of the middle of an image that is resized: all of it, unless it is thin.

    A line of a million pixels would be resized to gigabytes, of which a square is kept.
    """
    length = tf.minimum(shape, _LONGEST * tf.reduce_min(shape))
    return (shape - length) // 2, length


def resized_shape(shape: tf.Tensor, size: int) -> tf.Tensor:
    """Returns what height and width `[2]` of an image are resized to before its middle is cropped to `size`."""
    shape = tf.cast(shape, "float32")
    scale = round(size / _CROP) / tf.reduce_min(shape)
    return tf.maximum(tf.cast(tf.round(shape * scale), "int32"), size)


def random_view(image: tf.Tensor, size: int, seed: tf.Tensor) -> tf.Tensor:
    """Returns an image rotated by up to ±10°, cropped and resized, flipped, its colors changed, all at random.

    The crop has 8 to 100 % of the area and a ratio of 3/4 to 4/3; brightness, contrast and saturation change by factors
    of 0.6 to 1.4, the hue by up to ±0.1 of the circle, in this order.

    Args:
        image: uint8 `[height, width, 3]`.
        size: Height and width of the view.
        seed: Integers `[2]`.

    Returns:
        Float32 `[size, size, 3]` with values from 0 to 255.
    """
    seeds = tf.unstack(tf.random.stateless_uniform([6, 2], seed, minval=0, maxval=2**31 - 1, dtype="int32"))
    rotated = _rotate(tf.cast(image, "float32"), seeds[0])
    box = _random_box(tf.shape(image), seeds[1])
    view = _resize(rotated[box[0] : box[0] + box[2], box[1] : box[1] + box[3]], [size, size])
    view = tf.image.stateless_random_flip_left_right(view, seeds[2])
    view = _change_colors(tf.ensure_shape(view, [size, size, 3]) / 255.0, seeds[3], seeds[4])
    return 255.0 * view


def _resize(image, size):
    return tf.image.resize(image, size, antialias=True)


def _rotate(image, seed):
    angle = tf.random.stateless_uniform([], seed, -_LARGEST_ANGLE, _LARGEST_ANGLE)
    height, width = (tf.cast(tf.shape(image)[axis] - 1, "float32") for axis in (0, 1))
    cos, sin = tf.cos(angle), tf.sin(angle)
    x = (width - (cos * width - sin * height)) / 2.0
    y = (height - (sin * width + cos * height)) / 2.0
    zero = tf.zeros([])
    transform = tf.stack([cos, -sin, x, sin, cos, y, zero, zero])[None]
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=image[None],
        transforms=transform,
        output_shape=tf.shape(image)[:2],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )[0]


def _random_box(shape, seed):
    """Returns `[top, left, height, width]` of the first of ten drawn crops that fits, else of the largest square."""
    draws = tf.random.stateless_uniform([4, _TRIES], seed)
    height, width = tf.cast(shape[0], "float32"), tf.cast(shape[1], "float32")
    area = height * width * (_SMALLEST_AREA + (1.0 - _SMALLEST_AREA) * draws[0])
    ratio = tf.exp(math.log(_LARGEST_RATIO) * (2.0 * draws[1] - 1.0))
    widths, heights = tf.round(tf.sqrt(area * ratio)), tf.round(tf.sqrt(area / ratio))
    fits = (widths <= width) & (heights <= height) & (widths > 0) & (heights > 0)
    first = tf.argmax(fits)
    side = tf.minimum(height, width)
    crop_height = tf.where(fits[first], heights[first], side)
    crop_width = tf.where(fits[first], widths[first], side)
    top = tf.floor(draws[2][first] * (height - crop_height + 1.0))
    left = tf.floor(draws[3][first] * (width - crop_width + 1.0))
    top, left = tf.minimum(top, height - crop_height), tf.minimum(left, width - crop_width)
    return tf.cast(tf.stack([top, left, crop_height, crop_width]), "int32")


def _change_colors(image, seed, hue_seed):
    brightness, contrast, saturation = tf.unstack(tf.random.stateless_uniform([3], seed, 1.0 - _JITTER, 1.0 + _JITTER))
    image = tf.clip_by_value(brightness * image, 0.0, 1.0)
    gray = tf.reduce_mean(tf.image.rgb_to_grayscale(image))
    image = tf.clip_by_value(gray + contrast * (image - gray), 0.0, 1.0)
    gray = tf.image.rgb_to_grayscale(image)
    image = tf.clip_by_value(gray + saturation * (image - gray), 0.0, 1.0)
    return tf.clip_by_value(tf.image.stateless_random_hue(image, _HUE, hue_seed), 0.0, 1.0)
