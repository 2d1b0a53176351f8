"""Segmentation with few labeled images: which pixels belong to a 3, which to an 8.

python examples/segmentation.py

Scenes of two of scikit-learn's handwritten digits under noise; 20 have a class for each pixel, 400 have none. In each
batch there are 2 of either sort; the loss is Dice plus cross-entropy. The settings were chosen on seed 100; the seeds
that are printed, 0 to 2, draw other scenes.
"""

import keras
import numpy as np
from sklearn.datasets import load_digits

import keras_mt
from keras_mt.data import two_stream

LABELED, UNLABELED, TEST, SIZE = 20, 400, 200, 24
KINDS = (3, 8)
SETTINGS = {
    "supervised": {"learning_rate": 0.003, "consistency_weight": 0.0},
    "mean_teacher": {"learning_rate": 0.003, "consistency_weight": 4.0},
}
STEPS = 1500


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
    kept = []
    for width in (16, 32):
        x = keras.layers.Conv2D(width, 3, padding="same", use_bias=False)(x)
        x = keras.layers.ReLU()(keras.layers.BatchNormalization(momentum=0.9)(x))
        kept.append(x)
        x = keras.layers.MaxPooling2D()(x)
    x = keras.layers.Dropout(0.3)(keras.layers.Conv2D(64, 3, padding="same", activation="relu")(x))
    for width, skipped in zip((32, 16), reversed(kept), strict=True):
        x = keras.layers.Concatenate()([keras.layers.UpSampling2D()(x), skipped])
        x = keras.layers.Conv2D(width, 3, padding="same", activation="relu")(x)
    return keras.Model(inputs, keras.layers.Conv2D(3, 1)(x))


def dice_and_cross_entropy(labels, logits):
    """One number for a batch: the mean cross-entropy plus 1 minus the mean overlap (Dice) of the classes."""
    labels = keras.ops.one_hot(keras.ops.cast(labels, "int32"), logits.shape[-1])
    probabilities = keras.ops.softmax(logits)
    axes = list(range(len(logits.shape) - 1))
    both = keras.ops.sum(labels * probabilities, axes)
    dice = (2 * both + 1) / (keras.ops.sum(labels, axes) + keras.ops.sum(probabilities, axes) + 1)
    cross_entropy = keras.ops.categorical_crossentropy(labels, logits, from_logits=True)
    return keras.ops.mean(cross_entropy) + 1 - keras.ops.mean(dice)


def movement():
    """What moves images and maps: it is the same for both networks. Pixels that come in from outside are unlabeled."""
    filled = {"fill_mode": "constant", "fill_value": 0.0}
    return keras.Sequential(
        [
            keras.layers.RandomRotation(0.03, **filled),
            keras.layers.RandomTranslation(0.1, 0.1, **filled),
        ]
    )


def mean_overlap(labels, logits):
    """Mean over the two kinds of digits of intersection over union."""
    predicted = logits.argmax(axis=-1)
    return np.mean(
        [((predicted == c) & (labels == c)).sum() / ((predicted == c) | (labels == c)).sum() for c in (1, 2)]
    )


def overlap(method: str, seed: int, settings: dict) -> float:
    """Trains with a method and returns the teacher's mean overlap, in %, on test scenes of digits it has not seen."""
    digits, classes = load_digits(return_X_y=True)
    digits, classes = digits[np.isin(classes, KINDS)].reshape(-1, 8, 8) / 16.0, classes[np.isin(classes, KINDS)]
    random = np.random.default_rng(seed)
    seen = np.arange(len(digits)) % 3 < 2
    labeled = scenes(digits[seen], classes[seen], LABELED, random)
    unlabeled, _ = scenes(digits[seen], classes[seen], UNLABELED, random)
    test, test_labels = scenes(digits[~seen], classes[~seen], TEST, random)
    keras.utils.set_random_seed(seed)
    model = keras_mt.MeanTeacher(
        network(),
        method=method,
        shared_augmentation=movement(),
        augmentation=keras.layers.GaussianNoise(0.15),
    )
    rate = keras.optimizers.schedules.CosineDecay(settings["learning_rate"], STEPS)
    # Dice is one number for a batch; of moved images some pixels are unlabeled: it is computed over the others.
    loss = keras_mt.losses.LabeledPositions(dice_and_cross_entropy)
    model.compile(keras.optimizers.Adam(rate), loss=loss)
    callback = keras_mt.MeanTeacherCallback(
        settings["consistency_weight"], consistency_start_step=300, rampup_steps=400, ema_decay=0.98, verbose=False
    )
    batches = two_stream(labeled, unlabeled, labeled_per_batch=2, batch_size=4, seed=seed)
    model.fit(batches, steps_per_epoch=STEPS, callbacks=[callback], verbose=0)
    return 100 * mean_overlap(test_labels, model.predict(test, verbose=0))


if __name__ == "__main__":
    for method, settings in SETTINGS.items():
        results = [overlap(method, seed, settings) for seed in range(3)]
        each = " ".join(f"{result:.1f}" for result in results)
        print(f"{method:12}  mean overlap {each} -> {np.mean(results):.1f} %")
