"""Segmentation with few labeled images: which pixels belong to a 3, which to an 8.

python examples/segmentation.py

Scenes of two of scikit-learn's handwritten digits under noise; 20 have a class for each pixel, 400 have none.
"""

import keras
import numpy as np
from sklearn.datasets import load_digits

import keras_mt

LABELED, UNLABELED, TEST, SIZE = 20, 400, 200, 24
KINDS = (3, 8)


def scenes(digits, classes, count, random):
    """Returns images `[count, 24, 24, 1]` of two digits each, and the class of each pixel: none, a 3, an 8."""
    images, labels = np.zeros((count, SIZE, SIZE), "float32"), np.zeros((count, SIZE, SIZE), "int32")
    for image, label in zip(images, labels, strict=True):
        for left in (random.integers(0, 4), random.integers(12, 16)):
            chosen, top = random.integers(len(digits)), random.integers(0, SIZE - 8)
            place = np.s_[top : top + 8, left : left + 8]
            image[place] += digits[chosen]
            label[place] = np.where(digits[chosen] > 0.3, 1 + KINDS.index(classes[chosen]), label[place])
    return (images + random.normal(0, 0.25, images.shape).astype("float32"))[..., None], labels


def network():
    """A small U-Net: 24×24 pixels to logits of three classes for each."""
    x = inputs = keras.Input((SIZE, SIZE, 1))
    x = keras.layers.GaussianNoise(0.15)(x)
    kept = []
    for width in (16, 32):
        for _ in range(2):
            x = keras.layers.Conv2D(width, 3, padding="same", use_bias=False)(x)
            x = keras.layers.ReLU()(keras.layers.BatchNormalization(momentum=0.9)(x))
        kept.append(x)
        x = keras.layers.MaxPooling2D()(x)
    x = keras.layers.Dropout(0.3)(keras.layers.Conv2D(64, 3, padding="same", activation="relu")(x))
    for width, skipped in zip((32, 16), reversed(kept), strict=True):
        x = keras.layers.Concatenate()([keras.layers.UpSampling2D()(x), skipped])
        x = keras.layers.Conv2D(width, 3, padding="same", activation="relu")(x)
    return keras.Model(inputs, keras.layers.Conv2D(3, 1)(x))


def mean_overlap(labels, logits):
    """Mean over the two kinds of digits of intersection over union."""
    predicted = logits.argmax(axis=-1)
    return np.mean(
        [((predicted == c) & (labels == c)).sum() / ((predicted == c) | (labels == c)).sum() for c in (1, 2)]
    )


def overlap(method: str, seed: int) -> float:
    """Trains with a method and returns the teacher's mean overlap on test scenes of digits it has not seen."""
    digits, classes = load_digits(return_X_y=True)
    digits, classes = digits[np.isin(classes, KINDS)].reshape(-1, 8, 8) / 16.0, classes[np.isin(classes, KINDS)]
    random = np.random.default_rng(seed)
    seen = np.arange(len(digits)) % 3 < 2
    x, y = scenes(digits[seen], classes[seen], LABELED + UNLABELED, random)
    test, test_labels = scenes(digits[~seen], classes[~seen], TEST, random)
    y[LABELED:] = -1  # A whole image without labels; single pixels may have none just as well.
    keras.utils.set_random_seed(seed)
    model = keras_mt.MeanTeacher(network(), method=method)
    model.compile(keras.optimizers.Adam(0.001))
    # In each batch 10 labeled images and 10 others.
    labeled = np.resize(np.arange(LABELED), UNLABELED)
    others = LABELED + random.permutation(UNLABELED)
    rows = np.concatenate([labeled.reshape(-1, 10), others.reshape(-1, 10)], axis=1).ravel()
    # A supervised start: with consistency from the first step a bad teacher pulled one of three students down.
    callback = keras_mt.MeanTeacherCallback(
        {"supervised": 0.0, "mean_teacher": 2.0}[method],
        rampup_steps=400,
        consistency_start_step=250,
        ema_decay=0.98,
        verbose=False,
    )
    model.fit(x[rows], y[rows], batch_size=20, epochs=25, shuffle=False, callbacks=[callback], verbose=0)
    return mean_overlap(test_labels, model.predict(test, verbose=0))


if __name__ == "__main__":
    for method in ("supervised", "mean_teacher"):
        results = [100 * overlap(method, seed) for seed in range(3)]
        each = " ".join(f"{result:.1f}" for result in results)
        print(f"{method:12}  mean overlap {each} -> {np.mean(results):.1f} %")
