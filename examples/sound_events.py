"""Sound-event detection with few labeled clips: which of three events are heard in which frames.

python examples/sound_events.py

Clips of 24 frames and 12 frequency bins, made here: steady tones, rising chirps and pulses at any pitch, in noise. 40
clips have labels of frames and of the clip, 80 of the clip alone, 1,000 have none. The learning rates and weights were
chosen on seed 100; the seeds of the printed table, 0 to 2, draw other clips.
"""

import keras
import numpy as np

import keras_mt

FRAMES, BINS, CLASSES, POOLED = 24, 12, 3, 2
STRONG, WEAK, UNLABELED, TEST = 40, 80, 1000, 400  # Clips with labels of frames and clip, of the clip alone, and none.
BATCH = (6, 8, 14)  # Clips of each of these sorts in a batch.
STEPS = 800
SETTINGS = {
    "supervised": {"learning_rate": 0.01, "consistency_weights": {"strong": 0.0, "weak": 0.0}},
    "mean_teacher": {"learning_rate": 0.01, "consistency_weights": {"strong": 1.0, "weak": 2.0}},
}


def event(kind, length, random):
    """Returns an event `[length, 12]`: a tone, a chirp or pulses."""
    time, bins = np.arange(length)[:, None], np.arange(BINS)
    center = random.uniform(1, BINS - 5)
    loudness = random.uniform(0.6, 1.4)
    if kind == 0:
        return loudness * np.exp(-((bins - center) ** 2)) * np.ones((length, 1))
    if kind == 1:
        return loudness * np.exp(-((bins - center - 4 * time / length) ** 2))
    return loudness * np.exp(-((bins - center) ** 2)) * (time // 2 % 2 == random.integers(2)) * 1.4


def clips(count, random):
    """Returns clips `[count, 24, 12]`, labels of their frames `[count, 12, 3]` and of the clips `[count, 3]`."""
    sounds = random.normal(0, 0.15, (count, FRAMES, BINS))
    heard = np.zeros((count, FRAMES, CLASSES), "int32")
    for sound, label in zip(sounds, heard, strict=True):
        for kind in random.choice(CLASSES, random.integers(0, 3), replace=False):
            length = random.integers(6, 13)
            onset = random.integers(0, FRAMES - length)
            sound[onset : onset + length] += event(kind, length, random)
            label[onset : onset + length, kind] = 1
    frames = heard.reshape(count, FRAMES // POOLED, POOLED, CLASSES).max(axis=2)
    return sounds.astype("float32"), frames, frames.max(axis=1)


def network():
    """A CRNN: logits of each event in each second frame, and in the clip."""
    x = inputs = keras.Input((FRAMES, BINS))
    x = keras.layers.Reshape((FRAMES, BINS, 1))(x)
    for filters, pooled in ((16, (POOLED, 2)), (32, (1, 6))):
        x = keras.layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
        x = keras.layers.BatchNormalization(momentum=0.9)(x)
        x = keras.layers.Dropout(0.2)(keras.layers.MaxPooling2D(pooled)(x))
    x = keras.layers.Reshape((FRAMES // POOLED, -1))(x)
    x = keras.layers.GRU(24, return_sequences=True, unroll=True)(x)
    strong = keras.layers.Dense(CLASSES, name="strong")(x)
    return keras.Model(inputs, {"strong": strong, "weak": keras.layers.GlobalMaxPooling1D(name="weak")(strong)})


def scores(labels, logits):
    """Returns the F1 score of frames and the share of wrong clip labels, in %."""
    found, real = logits["strong"] > 0, labels["strong"] > 0
    f1 = [2 * (found & real)[..., c].sum() / (found[..., c].sum() + real[..., c].sum()) for c in range(CLASSES)]
    return 100 * np.mean(f1), 100 * np.mean((logits["weak"] > 0) != labels["weak"])


def train(method: str, seed: int, settings: dict) -> tuple[float, float]:
    """Trains with a method and returns the teacher's scores on clips that it has not heard."""
    random = np.random.default_rng(seed)
    x, frames, clip = clips(STRONG + WEAK + UNLABELED, random)
    test, *test_labels = clips(TEST, random)
    frames[STRONG:] = -1
    clip[STRONG + WEAK :] = -1
    ends = np.cumsum([0, STRONG, WEAK, UNLABELED])
    rows = [
        np.resize(random.permutation(np.arange(first, end)), (STEPS, size))
        for first, end, size in zip(ends, ends[1:], BATCH, strict=False)
    ]
    rows = np.concatenate(rows, axis=1).ravel()
    keras.utils.set_random_seed(seed)
    model = keras_mt.MeanTeacher(
        network(),
        task="multilabel",
        method=method,
        augmentation=keras.layers.GaussianNoise(0.2),
        consistency_weights=settings["consistency_weights"],
    )
    rate = keras.optimizers.schedules.CosineDecay(settings["learning_rate"], STEPS)
    model.compile(keras.optimizers.Adam(rate))
    weight = float(method != "supervised")  # Times those of the outputs.
    callback = keras_mt.MeanTeacherCallback(weight, rampup_steps=300, ema_decay=0.98, verbose=False)
    labels = {"strong": frames[rows], "weak": clip[rows]}
    model.fit(x[rows], labels, batch_size=sum(BATCH), shuffle=False, callbacks=[callback], verbose=0)
    return scores({"strong": test_labels[0], "weak": test_labels[1]}, model.predict(test, verbose=0))


if __name__ == "__main__":
    print("method        F1 of frames, %             wrong clip labels, %")
    for method, settings in SETTINGS.items():
        results = np.array([train(method, seed, settings) for seed in range(3)]).T
        columns = [" ".join(f"{r:.1f}" for r in column) + f" -> {column.mean():.1f}" for column in results]
        print(f"{method:12}  {columns[0]:26}  {columns[1]}")
