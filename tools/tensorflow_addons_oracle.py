# /// script
# requires-python = "==3.11.*"
# dependencies = ["tensorflow-cpu==2.15.1", "tensorflow-addons==0.23.0", "numpy<2"]
# ///
"""Computes with tensorflow-addons what this package's layers are compared with.

    uv run tools/tensorflow_addons_oracle.py

or, without uv, in an environment of Python 3.11 with the packages above. tensorflow-addons is end-of-life and cannot be
imported beside Keras 3: it has an environment of its own, and only the numbers it gives come into the tests
(`tests/golden/tensorflow_addons.npz`).
"""

from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_addons as tfa

TARGET = Path(__file__).resolve().parents[1] / "tests" / "golden" / "tensorflow_addons.npz"


def main() -> None:
    random = np.random.default_rng(0)
    images = random.normal(size=(6, 8, 8, 3)).astype("float32")
    vectors = random.normal(size=(6, 5)).astype("float32")
    numbers = {"images": images, "vectors": vectors}
    layers = {
        "conv_same": (lambda: tf.keras.layers.Conv2D(4, 3, padding="same"), images),
        "conv_valid": (lambda: tf.keras.layers.Conv2D(4, 3, padding="valid"), images),
        "dense": (lambda: tf.keras.layers.Dense(4), vectors),
    }
    for name, (make, inputs) in layers.items():
        numbers |= _normalized(name, make, inputs, random)
    numbers |= _translated(images)
    np.savez(TARGET, **numbers)
    print(f"{TARGET}: {sum(value.size for value in numbers.values())} numbers")


def _normalized(name, make, inputs, random):
    """Outputs and gradients for given weights, and what the data-dependent initialization makes of the same V."""
    layer = tfa.layers.WeightNormalization(make(), data_init=False)
    layer(inputs)
    v = (0.05 * random.normal(size=layer.v.shape)).astype("float32")
    g, b = (random.normal(size=4).astype("float32") for _ in range(2))
    layer.v.assign(v)
    layer.g.assign(g)
    layer.layer.bias.assign(b)
    slope = random.normal(size=layer(inputs).shape).astype("float32")
    with tf.GradientTape() as tape:
        outputs = layer(inputs)
        loss = tf.reduce_sum(outputs * slope)
    gradients = tape.gradient(loss, [layer.v, layer.g, layer.layer.bias])

    from_data = tfa.layers.WeightNormalization(make(), data_init=True)
    from_data.build(inputs.shape)
    from_data.v.assign(v)
    first_outputs = from_data(inputs)
    numbers = {
        "v": v, "g": g, "b": b, "outputs": outputs, "slope": slope,
        "gradient_v": gradients[0], "gradient_g": gradients[1], "gradient_b": gradients[2],
        "initialized_g": from_data.g, "initialized_b": from_data.layer.bias, "first_outputs": first_outputs,
    }  # fmt: skip
    return {f"{name}_{key}": np.asarray(value) for key, value in numbers.items()}


def _translated(images):
    """Whole pixels; tensorflow-addons takes (horizontal, vertical)."""
    offsets = np.array([[0, 0], [1, 0], [0, 2], [-2, 1], [2, -2], [-1, -1]], "float32")
    moved = tfa.image.translate(images, offsets, interpolation="nearest", fill_mode="reflect")
    return {"offsets": offsets, "translated": np.asarray(moved)}


if __name__ == "__main__":
    main()
