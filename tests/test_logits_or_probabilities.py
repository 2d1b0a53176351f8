"""A loss or metric of Keras gets logits or probabilities, whichever it takes, or is refused."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_mt

K, L, M = keras.layers, keras.losses, keras.metrics
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(12, 4)).astype("float32")
CLASSES = np.where(np.arange(12) < 8, np.arange(12) % 3, -1)
HERE = CLASSES >= 0
ONE_HOT = np.where(HERE[:, None], np.eye(3)[CLASSES], -1.0)
YES = RANDOM.integers(0, 2, (12, 3))


def network(activation=None):
    return keras.Sequential([keras.Input((4,)), K.Dense(3, activation=activation)])


def wrapped(student=None, loss=None, metrics=None, **arguments):
    model = keras_mt.MeanTeacher(student or network(), **{"method": "supervised", **arguments})
    model.compile(keras.optimizers.SGD(0.0), loss=loss, metrics=metrics, run_eagerly=True)
    return model


# Losses -------------------------------------------------------------------------------------------------------------

FUNCTIONS = {
    "function": (L.sparse_categorical_crossentropy, CLASSES),
    "partial": (functools.partial(L.sparse_categorical_crossentropy, axis=-1), CLASSES),
    "told": (functools.partial(L.sparse_categorical_crossentropy, from_logits=True), CLASSES),
    "positions": (keras_mt.losses.LabeledPositions(L.sparse_categorical_crossentropy), CLASSES),
    "one-hot": (L.categorical_crossentropy, ONE_HOT),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_loss_function_of_keras_is_told_that_outputs_are_logits(name):
    loss, labels = FUNCTIONS[name]
    model = wrapped(loss=loss)
    right = L.sparse_categorical_crossentropy(CLASSES[HERE], model.student(X[HERE]), from_logits=True)
    got = model.train_on_batch(X, labels, return_dict=True)["classification_cost"]
    np.testing.assert_allclose(got, np.sum(right) / 12, rtol=1e-5)


def test_a_loss_function_of_keras_is_told_that_outputs_are_probabilities():
    model = wrapped(network("softmax"), L.sparse_categorical_crossentropy, from_logits=False)
    right = L.sparse_categorical_crossentropy(CLASSES[HERE], model.student(X[HERE]))
    got = model.train_on_batch(X, CLASSES, return_dict=True)["classification_cost"]
    np.testing.assert_allclose(got, np.sum(right) / 12, rtol=1e-5)


@pytest.mark.parametrize(
    "loss",
    [
        functools.partial(L.sparse_categorical_crossentropy, from_logits=False),
        L.SparseCategoricalCrossentropy(),
        keras_mt.losses.LabeledPositions(L.SparseCategoricalCrossentropy()),
    ],
)
def test_a_loss_that_was_told_otherwise_is_refused(loss):
    with pytest.raises(ValueError, match="sparse_categorical_crossentropy with from_logits=False"):
        wrapped(loss=loss)


@pytest.mark.parametrize("loss", ["kl_divergence", L.kl_divergence, L.KLDivergence(), L.Dice(), "tversky"])
def test_a_loss_that_takes_probabilities_is_refused_for_logits_alone(loss):
    with pytest.raises(ValueError, match="takes probabilities. Received: from_logits=True; use a loss of logits"):
        wrapped(loss=loss)
    model = wrapped(network("softmax"), loss, from_logits=False)
    model.train_on_batch(X, ONE_HOT)


@pytest.mark.parametrize("positions", [False, True])
def test_a_loss_of_integer_classes_and_probabilities_gets_these_or_is_refused(positions):
    """Its name says neither; for labels `[N, 1]` plain Keras compares each example with each."""
    loss = L.CategoricalGeneralizedCrossEntropy(q=0.7)
    given = keras_mt.losses.LabeledPositions(loss) if positions else loss
    model = wrapped(network("softmax"), given, from_logits=False)
    right = np.sum((1 - model.student(X).numpy()[HERE, CLASSES[HERE]] ** 0.7) / 0.7) / 12
    for labels in (CLASSES, CLASSES[:, None]):
        got = model.train_on_batch(X, labels, return_dict=True)["classification_cost"]
        np.testing.assert_allclose(got, right, rtol=1e-5)
    with pytest.raises(ValueError, match=r"needs integers, or another one. Received: labels of shape \(12, 3\)"):
        model.train_on_batch(X, ONE_HOT)
    with pytest.raises(ValueError, match="takes probabilities. Received: from_logits=True"):
        wrapped(loss=given)
    with pytest.raises(ValueError, match="takes integer classes.*Received: task='multilabel'"):
        wrapped(network("sigmoid"), given, task="multilabel", from_logits=False)


@pytest.mark.parametrize("loss", ["circle", L.circle, L.Circle()], ids=["name", "function", "object"])
def test_a_loss_of_pairs_takes_integer_classes_and_the_labeled_examples_alone(loss):
    student = keras.Sequential([keras.Input((4,)), K.Dense(3), K.UnitNormalization()])
    right = float(L.Circle()(CLASSES[HERE], student(X[HERE])))
    got = wrapped(student, loss, reduction="labeled").train_on_batch(X, CLASSES, return_dict=True)
    np.testing.assert_allclose(got["classification_cost"], right, rtol=1e-5)


def test_numbers_under_a_cross_entropy_need_to_be_told():
    for loss in ("binary_crossentropy", L.binary_crossentropy):
        with pytest.raises(ValueError, match="binary_crossentropy, must say whether numbers are logits"):
            wrapped(loss=loss, task="regression")
    wrapped(loss=L.BinaryCrossentropy(from_logits=True), task="regression")
    wrapped(loss="poisson", task="regression")


def test_a_loss_of_the_user_s_that_converts_outputs_is_called_as_it_is():
    @functools.wraps(L.kl_divergence)
    def function(y_true, y_pred):
        return L.kl_divergence(y_true, tf.nn.softmax(y_pred))

    class Converts(L.KLDivergence):
        def call(self, y_true, y_pred):
            return super().call(y_true, tf.nn.softmax(y_pred))

    for loss in (function, Converts()):
        model = wrapped(loss=loss)
        right = np.sum(function(ONE_HOT[HERE].astype("float32"), model.student(X[HERE]))) / 12
        got = model.train_on_batch(X, ONE_HOT, return_dict=True)["classification_cost"]
        np.testing.assert_allclose(got, right, rtol=1e-5)


# Consistency --------------------------------------------------------------------------------------------------------

OF_PROBABILITIES = (
    L.KLDivergence(), L.BinaryCrossentropy(), L.CategoricalCrossentropy(from_logits=True), L.Poisson(), L.Dice()
)  # fmt: skip


@pytest.mark.parametrize("loss", OF_PROBABILITIES, ids=lambda loss: loss.name)
@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_a_consistency_cost_that_takes_probabilities_is_refused(task, loss):
    for given in (loss, keras_mt.losses.Confident(loss)) if loss is OF_PROBABILITIES[0] else (loss,):
        with pytest.raises(ValueError, match=f'takes its target for probabilities: use consistency="kl".*{loss.name}'):
            wrapped(task=task, consistency=given)


def test_a_consistency_cost_of_numbers_or_of_the_user_s_own_is_taken():
    class OfLogits(L.KLDivergence):
        def call(self, y_true, y_pred):
            return super().call(tf.nn.softmax(y_true), tf.nn.softmax(y_pred))

    wrapped(task="regression", consistency=L.Poisson())
    model = wrapped(network("softmax"), consistency=OfLogits(), from_logits=False, method="mean_teacher")
    model.teacher.set_weights([w + RANDOM.normal(size=w.shape) for w in model.teacher.get_weights()])
    keras_mt.MeanTeacherCallback(1.0, verbose=False).set_model(model)
    right = float(L.KLDivergence()(model.teacher(X), model.student(X)))
    got = model.train_on_batch(X, CLASSES, return_dict=True)["consistency_cost"]
    np.testing.assert_allclose(got, right, rtol=1e-4)


# Metrics ------------------------------------------------------------------------------------------------------------


def value(metric, y, outputs):
    metric.update_state(y, outputs)
    return np.asarray(metric.result())


METRICS = {  # What it is, and what it is of probabilities.
    "BinaryCrossentropy": (M.BinaryCrossentropy, M.BinaryCrossentropy),
    "of logits": (lambda: M.BinaryCrossentropy(from_logits=True), M.BinaryCrossentropy),
    "function": (lambda: L.binary_crossentropy, M.BinaryCrossentropy),
    "string": (lambda: "binary_crossentropy", M.BinaryCrossentropy),
    "AUC": (lambda: "AUC", M.AUC),
    "AUC of logits": (lambda: M.AUC(from_logits=True), M.AUC),
    "AUC of each": (
        lambda: M.AUC(multi_label=True, num_labels=3), lambda: M.AUC(multi_label=True, num_labels=3)
    ),
    "binary_accuracy": (lambda: "binary_accuracy", M.BinaryAccuracy),
    "accuracy function": (lambda: M.binary_accuracy, M.BinaryAccuracy),
    "accuracy": (lambda: "accuracy", M.BinaryAccuracy),
    "BinaryAccuracy": (M.BinaryAccuracy, M.BinaryAccuracy),
    "BinaryAccuracy above 0": (lambda: M.BinaryAccuracy(threshold=0.0), M.BinaryAccuracy),
    "accuracy function above 0": (
        lambda: M.MeanMetricWrapper(functools.partial(M.binary_accuracy, threshold=0.0)), M.BinaryAccuracy
    ),
    "Precision": (M.Precision, M.Precision),
    "Precision above 0": (lambda: M.Precision(0), M.Precision),  # As Keras has it for logits.
    "Recall": (lambda: "Recall", M.Recall),
    "F1Score": (lambda: M.F1Score(threshold=0.5), lambda: M.F1Score(threshold=0.5)),
    "BinaryIoU": (lambda: M.BinaryIoU(threshold=0.4), lambda: M.BinaryIoU(threshold=0.4)),
    "SensitivityAtSpecificity": (
        lambda: M.SensitivityAtSpecificity(0.5), lambda: M.SensitivityAtSpecificity(0.5)
    ),
}  # fmt: skip


@pytest.mark.parametrize("activation", [None, "sigmoid"])
@pytest.mark.parametrize("name", METRICS)
def test_a_metric_of_yes_or_no_outputs_reads_what_it_takes(name, activation):
    given, plain = METRICS[name]
    if name.endswith("above 0") and activation:
        given = plain
    model = wrapped(network(activation), metrics=[given()], task="multilabel", from_logits=not activation)
    model.student.layers[-1].bias.assign([-1.0, -1.0, -1.0])  # Few logits are above 0, and all probabilities.
    outputs = model.student(X)
    right = value(plain(), YES, outputs if activation else keras.ops.sigmoid(outputs))
    got = model.train_on_batch(X, YES, return_dict=True)
    (key,) = set(got) - set(wrapped(task="multilabel").train_on_batch(X, YES, return_dict=True))
    np.testing.assert_allclose(got[key], right, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "given",
    [
        lambda: "sparse_categorical_crossentropy",
        lambda: L.sparse_categorical_crossentropy,
        M.SparseCategoricalCrossentropy,
        lambda: M.SparseCategoricalCrossentropy(from_logits=True),
    ],
)
def test_a_metric_of_classes_reads_what_it_takes(given):
    model = wrapped(metrics=[given()])
    got = model.train_on_batch(X, CLASSES, return_dict=True)
    right = got["classification_cost"] * 12 / 8
    np.testing.assert_allclose(got["sparse_categorical_crossentropy"], right, rtol=1e-5)


def test_a_metric_of_the_user_s_gets_the_outputs_themselves():
    class OfLogits(M.Precision):
        def update_state(self, y_true, y_pred, sample_weight=None):
            super().update_state(y_true, tf.sigmoid(y_pred), sample_weight)

    model = wrapped(metrics=[OfLogits(name="own")], task="multilabel")
    right = value(M.Precision(), YES, keras.ops.sigmoid(model.student(X)))
    np.testing.assert_allclose(model.train_on_batch(X, YES, return_dict=True)["own"], right, rtol=1e-5)


@pytest.mark.parametrize(
    ("metric", "labels", "sentence"),
    [
        ("AUC", CLASSES, r"AUC, needs one-hot labels. Received: labels of shape \(None,\)"),
        ("F1Score", CLASSES, "F1Score, needs one-hot labels"),
        (M.RootMeanSquaredError(), CLASSES[:, None], "RootMeanSquaredError, needs one-hot labels"),
        (M.MeanIoU(3), CLASSES, "MeanIoU, needs sparse_y_pred=False"),
        (M.MeanIoU(3, sparse_y_pred=False), ONE_HOT, "MeanIoU, needs integers, or sparse_y_true=False"),
        (M.MeanIoU(3, sparse_y_true=False, sparse_y_pred=False), CLASSES, "one-hot labels, or sparse_y_true=True"),
        (M.OneHotMeanIoU(3), CLASSES, "OneHotMeanIoU, needs one-hot labels"),
    ],
)  # fmt: skip
def test_a_metric_that_does_not_fit_the_labels_is_refused_in_a_sentence(metric, labels, sentence):
    model = wrapped(metrics=[metric])
    model.run_eagerly = False
    with pytest.raises(ValueError, match=sentence):
        model.fit(X, labels, batch_size=12, verbose=0)


@pytest.mark.parametrize(
    ("make", "labels"),
    [
        (M.AUC, ONE_HOT),
        (lambda: M.MeanIoU(3, sparse_y_pred=False), CLASSES),
        (lambda: M.MeanIoU(3, sparse_y_true=False, sparse_y_pred=False), ONE_HOT),
        (lambda: M.OneHotMeanIoU(3), ONE_HOT),
    ],
)
def test_a_metric_that_fits_the_labels_is_that_of_keras(make, labels):
    model = wrapped(metrics=[make()])
    metric = make()
    outputs = model.student(X[HERE])
    right = value(metric, labels[HERE], keras.ops.softmax(outputs))
    got = model.train_on_batch(X, labels, return_dict=True)
    (key,) = [key for key in got if key.startswith(("auc", "mean_io", "one_hot"))]
    np.testing.assert_allclose(got[key], right, rtol=1e-5)
