"""Under the task "regression" -1 is a number: where it stands for "no label" it is refused, or warned of."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.dense_students import compiled

import keras_mt
from keras_mt.data import two_stream

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(32, 4)).astype("float32")
AGES = RANDOM.integers(20, 60, 32)
FIRST = np.arange(32) < 8
SENTENCE = "must hold NaN for unlabeled examples: -1 is a number"


def model(columns=1):
    return compiled(keras.Sequential([keras.Input((4,)), keras.layers.Dense(columns)]), task="regression")


def fit(trained, x, y=None, **arguments):
    callback = keras_mt.MeanTeacherCallback(1.0, ema_decay=0.0, verbose=False)
    trained.fit(x, y, verbose=0, shuffle=False, callbacks=[callback], **arguments)


class Sequence(keras.utils.PyDataset):
    def __init__(self, *batch):
        super().__init__()
        self.batch = batch

    def __len__(self):
        return 1

    def __getitem__(self, i):
        return self.batch


WAYS = {
    "two_stream": lambda ages, y: fit(
        model(), two_stream((X, ages), X, labeled_per_batch=4, batch_size=16), steps_per_epoch=2
    ),
    "batches": lambda ages, y: fit(model(), tf.data.Dataset.from_tensors((X, y))),
    "generator": lambda ages, y: fit(model(), iter([(X, y)])),
    "PyDataset": lambda ages, y: fit(model(), Sequence(X, y)),
    "arrays": lambda ages, y: fit(model(), X, y),
    "column": lambda ages, y: fit(model(), X, y[:, None]),
    "one batch": lambda ages, y: model().train_on_batch(X, y),
}


@pytest.mark.parametrize("dtype", ["int64", "float32"])
@pytest.mark.parametrize("how", WAYS)
def test_ages_with_minus_one_for_no_label_are_refused(how, dtype):
    with pytest.raises(ValueError, match=f"{SENTENCE}.*Received: -1 for 75% of the examples, NaN for none"):
        WAYS[how](AGES.astype(dtype), np.where(FIRST, AGES, -1).astype(dtype))


@pytest.mark.parametrize(
    "labels",
    [
        np.where(FIRST, RANDOM.uniform(size=32), -1),  # Shares.
        np.where(FIRST, RANDOM.normal(size=32) * 3, -1),  # Standardized numbers.
        np.full(32, -1.0),
        np.where(FIRST[:, None], np.stack([AGES, AGES], axis=1), -1),
    ],
    ids=["shares", "normal", "all", "columns"],
)
def test_other_numbers_with_minus_one_for_no_label_are_refused(labels):
    with pytest.raises(ValueError, match=SENTENCE):
        fit(model(1 if labels.ndim == 1 else 2), X, labels)


@pytest.mark.parametrize(
    "labels",
    [
        np.where(FIRST, np.float32(AGES), np.nan),
        np.where(FIRST, np.float32(AGES), np.where(np.arange(32) == 9, np.nan, -1)),  # The user knows NaN.
        RANDOM.integers(-5, 6, 32),
        np.tile([-1, -2, -1, 3], 8),
        np.where(FIRST, RANDOM.uniform(-1, 1, 32), -1),  # Cut off at -1.
        np.where(FIRST, 1, -1),
        np.tile([-1, 0, 1, -1], 8),
        np.float32(AGES),
    ],
    ids=["NaN", "both", "whole", "whole, most -1", "cut off", "signs", "three signs", "none"],
)
def test_numbers_that_may_be_numbers_are_trained_without_a_word(labels):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        fit(model(), X, labels)


def test_pictures_scaled_to_one_on_both_sides_are_targets_of_an_autoencoder_without_a_word():
    pictures = np.tanh(3 * RANDOM.normal(size=(32, 6))).astype("float32")
    pictures[:, 0] = -1.0  # Always background.
    pictures[:20, 1] = -1.0
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        fit(model(6), X, pictures)


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        (np.where(FIRST, -1, AGES), "-1 for 25% of the labels."),
        (np.stack([AGES, np.where(FIRST, AGES, -1)], axis=1), "-1 for 75% of the labels in column 1."),
        (np.stack([np.where(FIRST, AGES, np.nan), np.where(FIRST, AGES, -1)], axis=1), "in column 1."),
    ],
    ids=["some", "a column", "a column beside one that has NaN"],
)
@pytest.mark.parametrize("batches", [False, True])
def test_what_can_be_either_is_warned_of_once(labels, found, batches):
    given = (tf.data.Dataset.from_tensors((X, labels)),) if batches else (X, labels)
    with pytest.warns(UserWarning, match="holds -1, which is trained to as a number") as warned:
        fit(model(labels.ndim), *given)
    (sentence,) = [str(w.message) for w in warned if "holds -1" in str(w.message)]
    assert found in sentence


def test_a_batch_of_few_is_not_taken_for_unlabeled():
    fit(model(), tf.data.Dataset.from_tensors((X[:4], np.array([-1, 3, -1, 0]))))


def test_classes_keep_their_minus_one():
    student = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    labels = np.where(FIRST, AGES % 3, -1).astype("float32")
    for task in ("multiclass", "multilabel"):
        y = labels if task == "multiclass" else np.minimum(np.stack([labels] * 3, axis=1), 1)
        fit(compiled(keras.models.clone_model(student), task=task), X, y)


def test_a_mixed_student_is_looked_at_by_its_tasks():
    inputs = keras.Input((4,))
    student = keras.Model(inputs, {"class": keras.layers.Dense(3)(inputs), "age": keras.layers.Dense(1)(inputs)})
    trained = compiled(student, task={"class": "multiclass", "age": "regression"})
    classes, ages = np.where(FIRST, AGES % 3, -1), np.where(FIRST, AGES, -1)
    with pytest.raises(ValueError, match=f"`y` of output 'age' {SENTENCE}"):
        fit(trained, X, {"class": classes, "age": ages})
    fit(trained, X, {"class": classes, "age": np.where(FIRST, np.float32(AGES), np.nan)})
