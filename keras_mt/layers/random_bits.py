"""Random draws that are the same numbers in a plain graph and under XLA.

TensorFlow's stateless integers are equal bit for bit in both; its floats are not, and with them
`keras.layers.Dropout` and `GaussianNoise` (measured on TensorFlow 2.21). So the noise of this package's networks
starts from random bits, which are also less work than a float.
"""

import math

import keras
import tensorflow as tf


def random_bits(shape, seed_generator: keras.random.SeedGenerator) -> tf.Tensor:
    """Returns independent uint32 of all values."""
    return tf.random.stateless_uniform(shape, seed_generator.next(), minval=None, maxval=None, dtype="uint32")


def random_chances(shape, probability: float, seed_generator: keras.random.SeedGenerator) -> tf.Tensor:
    """Returns booleans that are true with a probability (rounded to 2⁻¹⁶): two from 32 bits."""
    size = tf.reduce_prod(shape)
    bits = tf.bitcast(random_bits([(size + 1) // 2], seed_generator), "uint16")
    threshold = min(round(probability * 2**16), 2**16 - 1)
    return tf.reshape(tf.reshape(bits, [-1])[:size], shape) < tf.constant(threshold, "uint16")


def random_integers(shape, minimum: int, maximum: int, seed_generator: keras.random.SeedGenerator) -> tf.Tensor:
    """Returns int32 between `minimum` and `maximum`, both included, uniform up to 2⁻³² of their number."""
    count = tf.constant(maximum - minimum + 1, "uint32")
    return tf.cast(random_bits(shape, seed_generator) % count, "int32") + minimum


def random_uniforms(shape, seed_generator: keras.random.SeedGenerator) -> tf.Tensor:
    """Returns float32 between 0 and 1, neither included."""
    return _to_uniforms(random_bits(shape, seed_generator))


def _to_uniforms(bits):
    # 24 bits are what float32 holds; the half keeps logarithms off 0.
    return (tf.cast(tf.bitwise.right_shift(bits, tf.constant(8, "uint32")), "float32") + 0.5) * 2.0**-24


def random_normals(shape, seed_generator: keras.random.SeedGenerator) -> tf.Tensor:
    """Returns standard normal float32 (Box & Muller 1958): two bits draws make two normals."""
    size = tf.reduce_prod(shape)
    bits = random_bits([2, (size + 1) // 2], seed_generator)
    uniforms = _to_uniforms(bits)
    radius = tf.sqrt(-2.0 * tf.math.log(uniforms[0]))
    angle = (2.0 * math.pi) * uniforms[1]
    return tf.reshape(tf.concat([radius * tf.cos(angle), radius * tf.sin(angle)], 0)[:size], shape)
