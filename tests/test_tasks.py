"""Dense, multi-label and numeric outputs obey the laws of the method: what is unlabeled has no cost but consistency."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_mt
from keras_mt import losses, tasks

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.normal(size=(6, 8, 8, 1)).astype("float32")
ROWS = RANDOM.normal(size=(6, 5)).astype("float32")


def segmenter(classes=3, **last):
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(4, 3, padding="same", activation="tanh"),
            keras.layers.GaussianNoise(0.1),
            keras.layers.Conv2D(classes, 1, **last),
        ]
    )


def rows(outputs, **last):
    return keras.Sequential(
        [
            keras.Input((5,)),
            keras.layers.Dense(8, "tanh"),
            keras.layers.GaussianNoise(0.1),
            keras.layers.Dense(outputs, **last),
        ]
    )


def half_hidden(labels, hidden):
    labels = labels.copy()
    labels[3:] = hidden
    return labels


PIXELS = half_hidden(RANDOM.integers(0, 3, (6, 8, 8)), -1)
PIXELS[0, :4] = -1  # Some pixels of a labeled image.
TAGS = half_hidden(RANDOM.integers(0, 2, (6, 3)), -1)
TAGS[0, 1] = -1
NUMBERS = half_hidden(RANDOM.normal(size=(6, 2)).astype("float32"), np.nan)
NUMBERS[0, 1] = np.nan
YES_NO = half_hidden(RANDOM.integers(0, 2, 6), -1)

CASES = {
    "segmentation": (segmenter, IMAGES, PIXELS, "multiclass"),
    "multilabel": (lambda **last: rows(3, **last), ROWS, TAGS, "multilabel"),
    "binary": (lambda **last: rows(1, **last), ROWS, YES_NO, "multilabel"),
    "regression": (lambda **last: rows(2, **last), ROWS, NUMBERS, "regression"),
}


def fitted(case, weight=5.0, labels=None, epochs=2, **arguments):
    build, x, y, task = CASES[case]
    keras.utils.set_random_seed(2)
    model = keras_mt.MeanTeacher(build(), task=task, **arguments)
    model.compile(keras.optimizers.SGD(0.1))
    callback = keras_mt.MeanTeacherCallback(weight, ema_decay=0.5, verbose=False)
    y = y if labels is None else labels
    history = model.fit(x, y, batch_size=6, epochs=epochs, shuffle=False, callbacks=[callback], verbose=0).history
    assert all(np.isfinite(values).all() for values in history.values())
    return model, history


trained = functools.cache(fitted)  # For what trains it no further.


@pytest.mark.parametrize("case", CASES)
def test_consistency_moves_the_student_and_only_the_average_the_teacher(case):
    model, history = trained(case)
    supervised, _ = trained(case, method="supervised")
    assert history["consistency_cost"][-1] > 0
    moved = [
        np.abs(a - b).max() for a, b in zip(model.student.get_weights(), supervised.student.get_weights(), strict=True)
    ]
    assert max(moved) > 1e-6
    build, *_ = CASES[case]
    keras.utils.set_random_seed(2)
    start = build().get_weights()
    one, _ = fitted(case, epochs=1)
    for first, student, teacher in zip(start, one.student.get_weights(), one.teacher.get_weights(), strict=True):
        np.testing.assert_allclose(teacher, first + 0.5 * (student - first), atol=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_what_is_hidden_has_no_cost_of_labels(case):
    build, x, y, task = CASES[case]
    _, history = trained(case, method="supervised")
    keras.utils.set_random_seed(2)
    model = keras_mt.MeanTeacher(build(), task=task)
    keras_mt.views.set_noise(keras_mt.views.noise_variables(model.student), 0, tf.constant(0), 0)
    outputs = model.student(x, training=True).numpy()
    if task == "multiclass":
        logs = tf.nn.log_softmax(outputs).numpy()
        each = -np.take_along_axis(logs, np.maximum(y, 0)[..., None], axis=-1)[..., 0] * (y >= 0)
    elif task == "multilabel":
        y = y.reshape(6, -1)
        each = tf.nn.sigmoid_cross_entropy_with_logits(np.maximum(y, 0).astype("float32"), outputs).numpy() * (y >= 0)
    else:
        each = np.where(np.isnan(y), 0.0, outputs - np.nan_to_num(y)) ** 2
    assert history["classification_cost"][0] == pytest.approx(each.mean(), rel=1e-4)  # Over all of the batch.
    assert history["labeled_per_batch"][0] == 3  # Examples, not pixels or outputs.


@pytest.mark.parametrize("case", CASES)
def test_errors_are_those_of_what_is_labeled(case):
    model, _ = trained(case)
    _, x, y, task = CASES[case]
    outputs = model.predict(x, verbose=0)
    if task == "multiclass":
        wrong = (outputs.argmax(-1) != y)[y >= 0]
    elif task == "multilabel":
        wrong = ((outputs > 0) != y.reshape(6, -1))[y.reshape(6, -1) >= 0]
    else:
        wrong = np.abs(outputs - y)[~np.isnan(y)]
    results = model.evaluate(x, y, verbose=0, return_dict=True)
    assert results["teacher_error"] == pytest.approx(wrong.mean(), rel=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_losses_metrics_and_files_of_keras_work_with_it(case, tmp_path):
    build, x, y, task = CASES[case]
    model = keras_mt.MeanTeacher(build(), task=task)
    losses = {
        "multiclass": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        "multilabel": keras.losses.BinaryCrossentropy(from_logits=True),
        "regression": "mse",
    }
    model.compile("sgd", loss=losses[task], metrics=["accuracy" if task == "multiclass" else "mae"])
    callback = keras_mt.MeanTeacherCallback(1.0, verbose=False)
    history = model.fit(x, y, batch_size=6, callbacks=[callback], verbose=0).history
    assert all(np.isfinite(values).all() for values in history.values())
    own, _ = trained(case)
    own.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded.predict(x, verbose=0), own.predict(x, verbose=0), atol=1e-6)
    assert loaded.evaluate(x, y, verbose=0, return_dict=True) == pytest.approx(
        own.evaluate(x, y, verbose=0, return_dict=True), rel=1e-5
    )


def test_sigmoid_outputs_give_what_logits_give():
    x, y = ROWS, TAGS
    errors = []
    for activation in (None, "sigmoid"):
        keras.utils.set_random_seed(2)
        model = keras_mt.MeanTeacher(rows(3, activation=activation), task="multilabel", from_logits=activation is None)
        model.compile(keras.optimizers.SGD(0.1))
        callback = keras_mt.MeanTeacherCallback(5.0, verbose=False)
        history = model.fit(x, y, batch_size=6, epochs=3, shuffle=False, callbacks=[callback], verbose=0).history
        errors.append([history[name] for name in ("classification_cost", "consistency_cost")])
    np.testing.assert_allclose(errors[0], errors[1], rtol=1e-3)


def test_one_hot_maps_of_pixels_are_what_class_maps_are():
    one_hot = np.where(PIXELS[..., None] < 0, -1, np.arange(3) == PIXELS[..., None]).astype("float32")
    np.testing.assert_allclose(
        trained("segmentation")[1]["loss"], fitted("segmentation", labels=one_hot)[1]["loss"], rtol=1e-5
    )


def test_sigmoid_consistency_is_softmax_consistency_of_two_classes():
    first, second = (tf.constant(RANDOM.normal(size=(7, 1)).astype("float32")) for _ in range(2))
    both = [tf.concat([logit, tf.zeros_like(logit)], axis=1) for logit in (first, second)]
    np.testing.assert_allclose(losses.SigmoidMSEConsistency()(first, second), losses.MSEConsistency()(*both), rtol=1e-5)
    np.testing.assert_allclose(losses.SigmoidKLConsistency()(first, second), losses.KLConsistency()(*both), rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"task": "detection"}, "Argument `task`"),
        ({"task": "regression", "consistency": "kl"}, "Argument `consistency`"),
        ({"task": "multilabel", "consistency": 0.5}, "Argument `consistency`"),
        ({"task": "multilabel", "top5": True}, "needs at least 6 classes"),
    ],
)
def test_what_a_task_has_not_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        keras_mt.MeanTeacher(rows(3), **arguments)


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        (
            "assertion failed: [keras_mt: Labels must be below 3. Received:  :keras_mt] [7]\n\t [[{{node Assert}}]]",
            "Labels must be below 3. Received: 7",
        ),
        ("assertion failed: [keras_mt: Sums to  :keras_mt] [-1.5e-05]", "Sums to -1.5e-05"),
        ("assertion failed: [keras_mt: Sums to  :keras_mt] [nan]", "Sums to nan"),
        (r"assertion failed: [keras_mt: It can\'t be so :keras_mt] []" "\n\t [[{{node Assert}}]]", "It can't be so"),
        (r"[keras_mt: Use \'that\' :keras_mt] \'\'\n node x", "Use 'that'"),
        ("something else", None),
    ],
)
def test_a_sentence_is_found_in_what_tensorflow_raises_without_what_follows_it(said, sentence):
    assert tasks.sentence_of(RuntimeError(said)) == sentence
