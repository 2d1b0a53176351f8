"""Students that a NumPy computation follows by hand: one linear layer, no noise, float32."""

import keras
import numpy as np

import keras_mt


def linear(columns=3, features=5, seed=0):
    random = np.random.default_rng(seed)
    student = keras.Sequential([keras.Input((features,)), keras.layers.Dense(columns)])
    student.set_weights([random.normal(size=(features, columns)), random.normal(size=columns)])
    return student


def per_pixel(columns=3, size=8, seed=0):
    random = np.random.default_rng(seed)
    student = keras.Sequential([keras.Input((size, size, 2)), keras.layers.Conv2D(columns, 1)])
    student.set_weights([random.normal(size=(1, 1, 2, columns)), random.normal(size=columns)])
    return student


def noisy(columns=3, features=5):
    """With what noise, statistics and averages can differ in."""
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((features,)),
            keras.layers.Dense(8),
            keras.layers.BatchNormalization(momentum=0.5),
            keras.layers.ReLU(),
            keras_mt.layers.Dropout(0.3),
            keras.layers.Dense(columns),
        ]
    )


def examples(rows=12, labeled=4, features=5, columns=3, seed=0):
    random = np.random.default_rng(seed)
    x = random.normal(size=(rows, features)).astype("float32")
    return x, np.where(np.arange(rows) < labeled, np.arange(rows) % columns, -1)


def pictures(rows=6, labeled=2, columns=3, size=8, seed=0):
    random = np.random.default_rng(seed)
    x = random.normal(size=(rows, size, size, 2)).astype("float32")
    y = random.integers(0, columns, (rows, size, size))
    y[labeled:] = -1
    return x, y


def one_step(student, x, y, weight=2.0, decay=0.5, steps=1, learning_rate=0.1, callback=None, **arguments):
    """A `MeanTeacher` after a few steps on one batch, and what it reported of the last."""
    model = keras_mt.MeanTeacher(student, **arguments)
    model.compile(keras.optimizers.SGD(learning_rate))
    schedules = keras_mt.MeanTeacherCallback(weight, ema_decay=decay, verbose=False, **(callback or {}))
    schedules.set_model(model)
    for _ in range(steps):
        logs = model.train_on_batch(x, y, return_dict=True)
    return model, logs


def softmax(logits):
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


def largest(first, second):
    """Largest difference of two models' weights."""
    pairs = zip(first.weights, second.weights, strict=True)
    return max(float(np.abs(a.numpy().astype("float64") - b.numpy()).max()) for a, b in pairs)
