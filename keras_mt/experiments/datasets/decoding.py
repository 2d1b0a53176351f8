"""From the bytes of a picture to its pixels, the same for training, evaluation, prediction and exports."""

import tensorflow as tf

_HEADER = 64
_ANIMATED, _ALPHA = 0x02, 0x10  # Flags of a WebP file.


def decoded(content: tf.Tensor) -> tf.Tensor:
    """Decodes a picture; of an animated one the first image.

    Args:
        content: Bytes of a JPEG, PNG, BMP, GIF or WebP picture.

    Returns:
        uint8 `[height, width, 3]`. Transparency is dropped, 16 bits are cut to the upper 8, gray is repeated, CMYK
        becomes RGB; the orientation that EXIF records is not applied.

    Raises:
        tf.errors.InvalidArgumentError: If it is none, damaged, or a BMP of fewer than 8 bits a pixel.
    """
    first = tf.strings.substr(content, 0, 1)
    special = (first == b"R") | (first == b"B")  # Of most pictures no more is looked at: conditions take time.
    image = tf.cond(special, lambda: _decoded_webp_or_bmp(content), lambda: _decode(content, 3))
    return tf.ensure_shape(image, [None, None, 3])


def _decoded_webp_or_bmp(content):
    header = tf.cast(tf.io.decode_raw(tf.strings.substr(content, 0, _HEADER), tf.uint8, fixed_length=_HEADER), "int32")

    def has(place, text):
        return tf.reduce_all(header[place : place + len(text)] == list(text))

    is_webp, extended = has(0, b"RIFF") & has(8, b"WEBP"), has(12, b"VP8X")
    animated = extended & (header[20] & _ANIMATED > 0)
    transparent = extended & (header[20] & _ALPHA > 0) | has(12, b"VP8L") & (header[24] & 16 > 0)
    has_palette = has(0, b"BM") & (header[28] + 256 * header[29] == 8)  # Bits a pixel.
    return tf.case(
        [
            (is_webp & animated, lambda: _first_of_webp(content, header[20])),
            (is_webp & transparent, lambda: _decode(content, 4)[..., :3]),  # TensorFlow refuses 3.
            (has_palette, lambda: _colors_of_bmp(content, 14 + header[14] + 256 * header[15])),
        ],
        default=lambda: _decode(content, 3),
    )


def _decode(content, channels):
    return tf.io.decode_image(content, channels=channels, expand_animations=False)


def _first_of_webp(content, flags):
    """TensorFlow 2.21 refuses an animation whose flag of transparency is not set, and writes past the end of its
    buffer if it is asked for the first image only, or for as many channels as there are."""
    with_alpha = tf.gather(tf.constant([bytes([number]) for number in range(256)]), flags | _ALPHA)
    parts = [tf.strings.substr(content, 0, 20), with_alpha, tf.strings.substr(content, 21, tf.int32.max)]
    return tf.io.decode_image(tf.strings.join(parts), channels=4, expand_animations=True)[0, ..., :3]


def _colors_of_bmp(content, place):
    """TensorFlow returns the numbers of the colors in the palette instead of the colors."""
    entries = tf.io.decode_raw(tf.strings.substr(content, place, 1024), tf.uint8, fixed_length=1024)
    palette = tf.reshape(entries, [256, 4])[:, 2::-1]
    return tf.gather(palette, tf.cast(_decode(content, 3)[..., 0], "int32"))
