"""The student's strong view of images: Keras' own layers, with operations drawn for each image of its own."""

import keras
import tensorflow as tf
from keras import layers

STRONG_AUGMENTATIONS = ("none", "erasing", "randaugment")
_PIXELS = (0, 255)
_GRAY = 128.0
_ROUNDS = 2


def strong_view(name: str, image_shape: tuple[int, int, int], num_plain: int = 0) -> keras.Layer | None:
    """Returns the layer that makes the student's strong view; None for `"none"`.

    Args:
        name: One of `STRONG_AUGMENTATIONS`.
        image_shape: Height, width and channels.
        num_plain: How many rows a batch begins with that stay as they are, over all replicas: the labeled ones.
    """
    if name == "none":
        return None
    parts = [RandAugmentEach(operations(image_shape[-1]))] if name == "randaugment" else []
    # Cutout: a rectangle whose sides are at most half of the image's.
    parts.append(layers.RandomErasing((1.0, 1.0), scale=(0.0, 0.25), fill_value=_GRAY, value_range=_PIXELS))
    return StrongView(parts, num_plain)


def operations(channels: int) -> list[keras.Layer]:
    """Returns the operations of FixMatch's RandAugment as Keras has them; that on colors for color images only."""
    moved = {"fill_mode": "constant", "fill_value": _GRAY}
    colors = [layers.RandomColorDegeneration(0.95, value_range=_PIXELS)] if channels == 3 else []
    return [
        *colors,
        layers.AutoContrast(value_range=_PIXELS),
        layers.Equalization(value_range=_PIXELS),
        layers.RandomBrightness(0.5, value_range=_PIXELS),
        layers.RandomContrast(0.9, value_range=_PIXELS),
        layers.RandomSharpness(0.9, value_range=_PIXELS),
        layers.RandomPosterization((4, 8), value_range=_PIXELS),
        layers.Solarization(threshold_factor=1.0, value_range=_PIXELS),
        layers.RandomRotation(30 / 360, **moved),
        layers.RandomShear(0.3, 0.0, **moved),
        layers.RandomShear(0.0, 0.3, **moved),
        layers.RandomTranslation(0.3, 0.0, **moved),
        layers.RandomTranslation(0.0, 0.3, **moved),
    ]


class RandAugmentEach(keras.Layer):
    """Two operations in turn, drawn for each image; one of the choices is to do nothing.

    `keras.layers.RandAugment` draws one pair of operations for a whole batch, and computes all operations for all
    images. Here each gets the images that drew it, all of which have a strength of their own.

    Args:
        choices: Keras image preprocessing layers that draw their strength for each image.

    Reference: Cubuk et al. (2019), https://arxiv.org/abs/1909.13719; Sohn et al. (2020), appendix D
    """

    def __init__(self, choices: list[keras.Layer], **arguments):
        super().__init__(**arguments)
        self.choices = choices
        self.seeds = keras.random.SeedGenerator(0)

    def build(self, input_shape):
        for layer in self.choices:
            layer.build(input_shape)

    def call(self, images, training=False):
        images = keras.ops.cast(images, "float32")
        if not training:
            return images
        shape, rows = images.shape[1:], tf.range(tf.shape(images)[0])
        drawn = keras.random.randint((_ROUNDS, tf.shape(images)[0]), 0, len(self.choices) + 1, seed=self.seeds)
        for chosen in tf.unstack(drawn):
            *groups, kept = tf.dynamic_partition(images, chosen, len(self.choices) + 1)
            # With a row more, which is dropped: some of Keras' layers fail on none.
            groups = [tf.concat([group, images[:1]], axis=0) for group in groups]
            changed = [layer(group, training=True)[:-1] for layer, group in zip(self.choices, groups, strict=True)]
            places = tf.dynamic_partition(rows, chosen, len(self.choices) + 1)
            images = tf.ensure_shape(tf.dynamic_stitch(places, [*changed, kept]), (None, *shape))
        return images


class StrongView(keras.Layer):
    """Layers in turn, applied to all rows of a batch but its first ones.

    Args:
        parts: The layers.
        num_plain: How many rows stay as they are, over all replicas.
    """

    def __init__(self, parts: list[keras.Layer], num_plain: int, **arguments):
        super().__init__(**arguments)
        self.parts, self.num_plain = parts, num_plain

    def build(self, input_shape):
        for layer in self.parts:
            layer.build(input_shape)

    def call(self, images, training=False):
        plain = self.num_plain // tf.distribute.get_strategy().num_replicas_in_sync
        images = keras.ops.cast(images, "float32")
        changed = images[plain:]
        for layer in self.parts:
            changed = layer(changed, training=training)
        return keras.ops.concatenate([images[:plain], changed], axis=0) if plain else changed
