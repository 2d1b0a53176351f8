"""Sound-event detection with few labeled clips: which of six events are heard in which frames.

python examples/sound_events.py

Spectrograms of 32 frames and 16 frequency bins, made here: steady tones, rising and falling chirps, pulses, wailing
tones and bursts of broad noise, at any pitch, loudness and length, in background noise of any level and tilt. Of 2,090
clips 30 have labels of frames and of the clip, 60 of the clip alone, 2,000 have none. Both methods hear the same clips
with the same gain and noise. With the teacher, an interval of each unlabeled clip is taken from another one (CutMix),
and the prediction for each frame must be the teacher's for the clip that the frame comes from.

SEEDS
"""

import keras
import numpy as np
import tensorflow as tf
from sklearn.metrics import average_precision_score, f1_score

import keras_mt
from keras_mt.data import two_stream

FRAMES, BINS, POOLED = 32, 16, 4
KINDS = TONE, RISING, FALLING, PULSES, WAILING, BURST = range(6)
STRONG, WEAK, UNLABELED, TEST = 30, 60, 2000, 800  # Clips with labels of frames and clip, of the clip alone, and none.
STEPS, BATCH, LABELED_PER_BATCH = 1200, 48, 16
SETTINGS = {
    "supervised": {"consistency_weight": 0.0, "mixing": None},
    "mean_teacher": {"consistency_weight": 2.0, "mixing": keras_mt.mixing.CutMix()},
}


def event(kind, length, random):
    """Returns an event `[length, 16]`."""
    time, bins = np.arange(length)[:, None], np.arange(BINS)
    along = time / (length - 1) - 0.5
    sweep = random.uniform(4, 8)
    margin = 1 + sweep / 2 * (kind in (RISING, FALLING, WAILING))
    pitch = random.uniform(margin, BINS - 1 - margin)
    if kind in (RISING, FALLING):
        pitch = pitch + sweep * along * (1 if kind == RISING else -1)
    if kind == WAILING:
        pitch = pitch + sweep / 3 * np.sin(2 * np.pi * (time / random.uniform(5, 8) + random.uniform()))
    width = random.uniform(2.5, 4) if kind == BURST else random.uniform(0.7, 1.2)
    sound = np.exp(-(((bins - pitch) / width) ** 2)) * np.ones((length, 1))
    if kind == PULSES:
        period = random.integers(3, 6)
        sound = sound * ((time + random.integers(period)) % period < period / 2)
    if kind == BURST:
        sound = sound * random.uniform(0, 1.6, sound.shape)
    return random.uniform(0.7, 1.5) * sound


def clips(count, random):
    """Returns clips `[count, 32, 16]`, labels of their frames `[count, 8, 6]` and of the clips `[count, 6]`."""
    sounds = np.zeros((count, FRAMES, BINS))
    heard = np.zeros((count, FRAMES, len(KINDS)), "int32")
    for sound, label in zip(sounds, heard, strict=True):
        tilt = np.exp(random.uniform(-0.7, 0.7) * np.linspace(-1, 1, BINS))
        sound += random.uniform(0.05, 0.15) * tilt * random.normal(size=(FRAMES, BINS))
        for kind in random.choice(KINDS, random.integers(0, 3), replace=False):
            length = random.integers(10, 21)
            onset = random.integers(0, FRAMES - length)
            sound[onset : onset + length] += event(kind, length, random)
            label[onset : onset + length, kind] = 1
    frames = heard.reshape(count, FRAMES // POOLED, POOLED, len(KINDS)).max(axis=2)
    return sounds.astype("float32"), frames, frames.max(axis=1)


def heard_otherwise(sounds, seed):
    """Another gain and other noise for each clip: what student and teacher hear in training, under either method."""
    gain = tf.exp(tf.random.stateless_uniform([tf.shape(sounds)[0], 1, 1], seed + 1, -0.4, 0.4))
    return gain * sounds + tf.random.stateless_normal(tf.shape(sounds), seed + 2, stddev=0.2)


def network():
    """A CRNN: logits of each event in each fourth frame, and in the clip."""
    x = inputs = keras.Input((FRAMES, BINS))
    x = keras.layers.Reshape((FRAMES, BINS, 1))(x)
    for filters, pooled in ((16, (POOLED, 2)), (32, (1, 4))):
        x = keras.layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
        x = keras.layers.BatchNormalization(momentum=0.9)(x)
        x = keras.layers.Dropout(0.2)(keras.layers.MaxPooling2D(pooled)(x))
    x = keras.layers.Reshape((FRAMES // POOLED, -1))(x)
    x = keras.layers.GRU(32, return_sequences=True, unroll=True)(x)
    strong = keras.layers.Dense(len(KINDS), name="strong")(x)
    return keras.Model(inputs, {"strong": strong, "weak": keras.layers.GlobalMaxPooling1D(name="weak")(strong)})


def scores(labels, logits):
    """Returns average precision and F1 score of frames, means over events, and the share of wrong clip labels, in %."""
    real, found = (part["strong"].reshape(-1, len(KINDS)) for part in (labels, logits))
    precision = average_precision_score(real, found)
    f1 = f1_score(real, found > 0, average="macro")
    return 100 * precision, 100 * f1, 100 * np.mean((logits["weak"] > 0) != labels["weak"])


def train(method: str, seed: int) -> tuple[float, float, float]:
    """Trains with a method and returns the teacher's scores on clips that it has not heard."""
    random, settings = np.random.default_rng(seed), SETTINGS[method]
    labeled = STRONG + WEAK
    x, frames, clip = clips(labeled + UNLABELED, random)
    test, test_frames, test_clip = clips(TEST, random)
    frames[STRONG:] = -1
    labels = {"strong": frames[:labeled], "weak": clip[:labeled]}
    batches = two_stream((x[:labeled], labels), x[labeled:], LABELED_PER_BATCH, BATCH, seed=seed)
    keras.utils.set_random_seed(seed)
    model = keras_mt.MeanTeacher(
        network(),
        task="multilabel",
        method=method,
        reduction="labeled",
        augmentation=heard_otherwise,
        mixing=settings["mixing"],
        # What is heard in a clip is no mixture by the shares of its parts; clips follow their frames.
        consistency_weights={"strong": 1.0, "weak": 0.0},
    )
    model.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.003, STEPS)))
    weight = settings["consistency_weight"]
    callback = keras_mt.MeanTeacherCallback(weight, rampup_steps=STEPS // 10, ema_decay=0.98, verbose=False)
    model.fit(batches, steps_per_epoch=STEPS, callbacks=[callback], verbose=0)
    return scores({"strong": test_frames, "weak": test_clip}, model.predict(test, verbose=0))


if __name__ == "__main__":
    print("method        average precision of frames, %  F1 of frames, %            wrong clip labels, %")
    for method in SETTINGS:
        results = np.array([train(method, seed) for seed in range(3)]).T
        columns = [" ".join(f"{r:.2f}" for r in column) + f" -> {column.mean():.2f}" for column in results]
        print(f"{method:12}  {columns[0]:30}  {columns[1]:26}  {columns[2]}", flush=True)
