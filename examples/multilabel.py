"""Several labels an image: which of the ten digits are in a scene.

python examples/multilabel.py

Scenes of two of scikit-learn's handwritten digits; 150 have ten labels each (there or not), 2,000 have none.
"""

import keras
import numpy as np
from sklearn.datasets import load_digits

import keras_mt

LABELED, UNLABELED, TEST = 150, 2000, 1000


def scenes(digits, classes, count, random):
    """Returns images `[count, 10, 20, 1]` of two digits side by side, and which are there, `[count, 10]`."""
    images, labels = np.zeros((count, 10, 20, 1), "float32"), np.zeros((count, 10), "int32")
    for image, label in zip(images, labels, strict=True):
        for left in (0, 10):
            chosen = random.integers(len(digits))
            top, left = random.integers(0, 3), left + random.integers(0, 3)
            image[top : top + 8, left : left + 8, 0] = digits[chosen]
            label[classes[chosen]] = 1
    return images, labels


def network():
    """A small convolutional network to ten logits, one a digit."""
    return keras.Sequential(
        [
            keras.Input((10, 20, 1)),
            keras.layers.GaussianNoise(0.15),
            keras.layers.Conv2D(32, 3, padding="same", activation="relu"),
            keras.layers.BatchNormalization(momentum=0.9),
            keras.layers.MaxPooling2D(),
            keras.layers.Conv2D(64, 3, padding="same", activation="relu"),
            keras.layers.BatchNormalization(momentum=0.9),
            keras.layers.Dropout(0.3),
            keras.layers.GlobalMaxPooling2D(),
            keras.layers.Dense(10),
        ]
    )


def error(method: str, seed: int) -> float:
    """Trains with a method and returns how many of the teacher's answers on test scenes are wrong."""
    digits, classes = load_digits(return_X_y=True)
    digits = digits.reshape(-1, 8, 8) / 16.0
    random = np.random.default_rng(seed)
    seen = np.arange(len(digits)) % 3 < 2
    x, y = scenes(digits[seen], classes[seen], LABELED + UNLABELED, random)
    test, test_labels = scenes(digits[~seen], classes[~seen], TEST, random)
    y[LABELED:] = -1
    keras.utils.set_random_seed(seed)
    model = keras_mt.MeanTeacher(network(), task="multilabel", method=method)
    model.compile(keras.optimizers.Adam(0.003))
    labeled, others = np.resize(np.arange(LABELED), 2000), LABELED + np.arange(UNLABELED)
    rows = np.concatenate([labeled.reshape(-1, 25), others.reshape(-1, 25)], axis=1).ravel()
    weight = {"supervised": 0.0, "mean_teacher": "auto"}[method]
    callback = keras_mt.MeanTeacherCallback(weight, rampup_steps=400, ema_decay=0.98, verbose=False)
    model.fit(x[rows], y[rows], batch_size=50, epochs=15, shuffle=False, callbacks=[callback], verbose=0)
    return model.evaluate(test, test_labels, verbose=0, return_dict=True)["teacher_error"]


if __name__ == "__main__":
    for method in ("supervised", "mean_teacher"):
        results = [100 * error(method, seed) for seed in range(3)]
        each = " ".join(f"{result:.2f}" for result in results)
        print(f"{method:12}  wrong answers {each} -> {np.mean(results):.2f} %")
