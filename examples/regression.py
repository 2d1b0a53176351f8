"""Numbers as labels: by how many degrees a handwritten digit is turned.

python examples/regression.py

scikit-learn's digits turned by -60 to 60 degrees; 60 have the angle, 1,100 have none (NaN).
"""

import keras
import numpy as np
from scipy.ndimage import rotate
from sklearn.datasets import load_digits

import keras_mt

LABELED, DEGREES = 60, 60.0


def turned(digits, random):
    """Returns digits `[count, 12, 12, 1]` turned at random, and by how much, `[count, 1]` in units of 60 degrees."""
    angles = random.uniform(-1, 1, len(digits))
    padded = np.pad(digits, ((0, 0), (2, 2), (2, 2)))
    pairs = zip(padded, angles, strict=True)
    images = [rotate(image, DEGREES * angle, reshape=False, order=1) for image, angle in pairs]
    return np.array(images, "float32")[..., None], angles.astype("float32")[:, None]


def network():
    """A small convolutional network to one number."""
    return keras.Sequential(
        [
            keras.Input((12, 12, 1)),
            keras.layers.GaussianNoise(0.1),
            keras.layers.Conv2D(32, 3, padding="same", activation="relu"),
            keras.layers.BatchNormalization(momentum=0.9),
            keras.layers.MaxPooling2D(),
            keras.layers.Conv2D(64, 3, padding="same", activation="relu"),
            keras.layers.BatchNormalization(momentum=0.9),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.3),
            keras.layers.Dense(1),
        ]
    )


def error(method: str, seed: int) -> float:
    """Trains with a method and returns the teacher's mean error on test digits in degrees."""
    digits = load_digits().data.reshape(-1, 8, 8) / 16.0
    random = np.random.default_rng(seed)
    x, y = turned(digits, random)
    test = np.arange(len(x)) % 3 == 2
    pool, hidden = x[~test], y[~test].copy()
    hidden[LABELED:] = np.nan
    keras.utils.set_random_seed(seed)
    model = keras_mt.MeanTeacher(network(), task="regression", method=method)
    model.compile(keras.optimizers.Adam(0.003))
    labeled, others = np.resize(np.arange(LABELED), 1100), LABELED + np.arange(1100)
    rows = np.concatenate([labeled.reshape(-1, 20), others.reshape(-1, 20)], axis=1).ravel()
    weight = {"supervised": 0.0, "mean_teacher": "auto"}[method]
    callback = keras_mt.MeanTeacherCallback(weight, rampup_steps=400, ema_decay=0.98, verbose=False)
    model.fit(pool[rows], hidden[rows], batch_size=40, epochs=25, shuffle=False, callbacks=[callback], verbose=0)
    return DEGREES * model.evaluate(x[test], y[test], verbose=0, return_dict=True)["teacher_error"]


if __name__ == "__main__":
    for method in ("supervised", "mean_teacher"):
        results = [error(method, seed) for seed in range(3)]
        print(f"{method:12}  degrees {' '.join(f'{result:.1f}' for result in results)} -> {np.mean(results):.1f}")
