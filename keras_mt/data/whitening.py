"""ZCA whitening of images: what `keras_mt.layers.ZCAWhitening` computes with (Tarvainen & Valpola, 2017, B.2)."""

import numpy as np

_REGULARIZER = 0.1
_CONTRAST_NORM = 55.0


def contrast_normalize(images: np.ndarray) -> np.ndarray:
    """Normalizes the contrast of each image globally.

    Args:
        images: Numbers `[images, ...]`.

    Returns:
        float32 `[images, numbers]`, each row of mean 0 and norm 55.

    Example:

    ```python
    images = np.random.default_rng(0).integers(0, 256, (200, 8, 8, 3)).astype("uint8")
    rows = keras_mt.data.contrast_normalize(images)  # [200, 192]
    ```
    """
    flat = images.reshape(len(images), -1).astype("float32")
    flat -= flat.mean(axis=1, keepdims=True)
    flat *= _CONTRAST_NORM / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-8)
    return flat


def fit_zca(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fits ZCA to contrast-normalized images: `(covariance + 0.1·I)^(-1/2)`.

    Args:
        images: uint8 `[images, height, width, channels]`, the training images, at least two.

    Returns:
        `(mean, matrix)`, float32 `[numbers]` and `[numbers, numbers]`.

    Raises:
        ValueError: If there are fewer than two images.

    Example:

    ```python
    from keras_mt import data

    images = np.random.default_rng(0).integers(0, 256, (100, 8, 8, 3)).astype("uint8")
    whitening = keras_mt.layers.ZCAWhitening()
    preprocessing = keras.Sequential(
        [keras.Input((8, 8, 3)), keras_mt.layers.GlobalContrastNormalization(), whitening]
    )
    whitening.set_weights(data.fit_zca(images))
    ```
    """
    if len(images) < 2:
        raise ValueError(f"Argument `images` must hold at least two images. Received: {len(images)}")
    flat = contrast_normalize(images)
    mean = flat.mean(axis=0)
    flat -= mean
    covariance = (flat.T @ flat).astype("float64") / (len(flat) - 1)
    covariance.flat[:: len(covariance) + 1] += _REGULARIZER
    variances, directions = np.linalg.eigh(covariance)
    matrix = (directions / np.sqrt(variances)) @ directions.T
    return mean, matrix.astype("float32")
