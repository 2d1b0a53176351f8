"""Of yes-or-no outputs and numbers each column has a label: it may be missing, and be weighed, by itself."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_mt

K = keras.layers
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(12, 4)).astype("float32")
YES = RANDOM.integers(0, 2, (12, 3))
NUMBERS = RANDOM.normal(size=(12, 3)).astype("float32")
PART = np.arange(3) != np.arange(12)[:, None] % 3  # Each example lacks one label.
SOME = PART | (np.arange(12) < 6)[:, None]
WEIGHT = RANDOM.uniform(0.2, 2.0, (12, 3)).astype("float32")
TASKS = ("multilabel", "regression")


def mean_of_columns(y_true, y_pred):
    return tf.reduce_mean(tf.abs(y_pred - y_true) ** 3, axis=-1)


def each_column(y_true, y_pred):
    return tf.abs(y_pred - y_true) ** 3


def largest_column(y_true, y_pred):
    return tf.reduce_max(tf.abs(y_pred - y_true), axis=-1)


def huber(distance):
    return np.where(distance < 1, distance**2 / 2, distance - 0.5)


def cross_entropy(y, p):
    return np.maximum(p, 0) - p * y + np.log1p(np.exp(-abs(p)))


def wrapped(task, network=None, rate=0.0, **compiling):
    network = network or keras.Sequential([keras.Input((4,)), K.Dense(3)])
    model = keras_mt.MeanTeacher(network, task=task, method="supervised")
    model.compile(keras.optimizers.SGD(rate), **{"run_eagerly": True, **compiling})
    return model


def labels(task, present, values=None):
    values = (YES if task == "multilabel" else NUMBERS) if values is None else values
    return np.where(present, values, -1 if task == "multilabel" else np.nan)


LOSSES = {
    "string": ("multilabel", "binary_crossentropy", cross_entropy),
    "object": ("multilabel", keras.losses.BinaryCrossentropy(from_logits=True), cross_entropy),
    "mse": ("regression", "mse", lambda y, p: (p - y) ** 2),
    "huber": ("regression", keras.losses.Huber(), lambda y, p: huber(abs(p - y))),
    "function": ("regression", mean_of_columns, lambda y, p: abs(p - y) ** 3),
    "of each": ("regression", each_column, lambda y, p: abs(p - y) ** 3),
}


@pytest.mark.parametrize("name", LOSSES)
def test_a_label_that_is_missing_in_a_column_costs_nothing_and_the_others_cost_what_they_do(name):
    task, loss, right = LOSSES[name]
    model = wrapped(task, loss=loss)
    costs = right(YES if task == "multilabel" else NUMBERS, model.student(X).numpy())
    for present in (PART, SOME, np.ones_like(PART)):
        got = model.train_on_batch(X, labels(task, present), return_dict=True)
        model.reset_metrics()
        np.testing.assert_allclose(got["classification_cost"], (costs * present).mean(), rtol=1e-5)


@pytest.mark.parametrize(("name", "kind"), [*((name, "sample_weight") for name in LOSSES), ("string", "class_weight")])
def test_weights_of_labels_weigh_each_column(name, kind):
    task, loss, right = LOSSES[name]
    model = wrapped(task, loss=loss)
    costs = right(YES if task == "multilabel" else NUMBERS, model.student(X).numpy())
    given, weight = (WEIGHT, WEIGHT) if kind == "sample_weight" else ({0: 1.0, 1: 10.0}, np.where(YES == 1, 10.0, 1.0))
    got = model.train_on_batch(X, labels(task, PART), return_dict=True, **{kind: given})
    np.testing.assert_allclose(got["classification_cost"], (costs * weight * PART).mean(), rtol=1e-5)


def test_a_loss_of_keras_trains_what_the_task_s_own_does():
    weights = []
    for loss in (None, "mse"):
        keras.utils.set_random_seed(0)
        model = wrapped("regression", rate=0.5, loss=loss, run_eagerly=False)
        model.fit(X, labels("regression", PART), batch_size=6, epochs=3, shuffle=False, verbose=0)
        weights.append(model.student.get_weights())
    np.testing.assert_allclose(weights[1][0], weights[0][0], atol=1e-6)


@pytest.mark.parametrize(
    ("reduction", "right"),
    [
        ("sum", lambda costs, w: (costs * w).sum() / 3),
        ("mean_with_sample_weight", lambda costs, w: (costs * w).sum() / w.sum()),
    ],
)
def test_a_reduction_counts_columns_as_keras_does(reduction, right):
    model = wrapped("regression", loss=keras.losses.MeanSquaredError(reduction=reduction))
    costs = (model.student(X).numpy() - NUMBERS) ** 2
    got = model.train_on_batch(X, labels("regression", PART), sample_weight=WEIGHT, return_dict=True)
    np.testing.assert_allclose(got["classification_cost"], right(costs, PART * WEIGHT), rtol=1e-5)


@pytest.mark.parametrize("loss", ["cosine_similarity", largest_column])
@pytest.mark.parametrize("eager", [True, False])
def test_a_loss_that_is_no_mean_of_columns_takes_whole_rows_and_weights_of_examples_alone(loss, eager):
    model = wrapped("regression", loss=loss, run_eagerly=eager)
    whole = labels("regression", (np.arange(12) < 6)[:, None] & np.ones_like(PART))
    function = largest_column if loss is largest_column else keras.losses.cosine_similarity
    costs = np.asarray(function(tf.constant(NUMBERS), model.student(X)))
    got = model.train_on_batch(X, whole, sample_weight=WEIGHT[:, 0], return_dict=True)
    np.testing.assert_allclose(got["classification_cost"], (costs * WEIGHT[:, 0])[:6].sum() / 12, rtol=1e-5)
    with pytest.raises(ValueError, match="missing inside of an example can't be kept from it"):
        model.train_on_batch(X, labels("regression", PART))
    with pytest.raises(ValueError, match="can't be weighed by themselves"):
        wrapped("regression", loss=loss, run_eagerly=eager).train_on_batch(X, whole, sample_weight=WEIGHT)


def test_a_loss_of_whole_images_refuses_weights_of_pixels():
    network = keras.Sequential([keras.Input((2, 2, 1)), K.Conv2D(2, 1)])
    model = keras_mt.MeanTeacher(network, method="supervised")
    model.compile("sgd", loss=lambda y, p: tf.reduce_mean(p, [1, 2, 3]), run_eagerly=True)
    images, maps = np.ones((4, 2, 2, 1), "float32"), np.arange(16).reshape(4, 2, 2) % 2
    with pytest.raises(ValueError, match="can't be weighed by themselves"):
        model.train_on_batch(images, maps, class_weight={0: 1.0, 1: 10.0})


def test_columns_of_positions_are_masked_alike():
    network = keras.Sequential([keras.Input((3, 4)), K.Dense(3)])
    model = wrapped("multilabel", network, loss="binary_crossentropy", metrics=["binary_accuracy"])
    x, y, here = X.reshape(4, 3, 4), YES.reshape(4, 3, 3), PART.reshape(4, 3, 3)
    p = network(x).numpy()
    got = model.train_on_batch(x, labels("multilabel", here, y), return_dict=True)
    np.testing.assert_allclose(got["classification_cost"], (cross_entropy(y, p) * here).mean(), rtol=1e-5)
    assert got["binary_accuracy"] == pytest.approx(((p > 0) == y)[here].mean())


# Metrics ------------------------------------------------------------------------------------------------------------

METRICS = {
    "accuracy": ("multilabel", "accuracy", keras.metrics.BinaryAccuracy),
    "binary_accuracy": ("multilabel", "binary_accuracy", keras.metrics.BinaryAccuracy),
    "crossentropy": ("multilabel", "crossentropy", keras.metrics.BinaryCrossentropy),
    "AUC": ("multilabel", "AUC", keras.metrics.AUC),
    "mae": ("regression", "mae", keras.metrics.MeanAbsoluteError),
    "rmse": ("regression", keras.metrics.RootMeanSquaredError(name="rmse"), keras.metrics.RootMeanSquaredError),
    "own": ("regression", mean_of_columns, lambda: keras.metrics.MeanMetricWrapper(mean_of_columns)),
}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("present", [PART, SOME], ids=["each lacks one", "some are whole"])
@pytest.mark.parametrize("name", METRICS)
def test_metrics_are_those_of_the_labels_that_are_there(name, present, weighted):
    task, given, make = METRICS[name]
    model = wrapped(task, run_eagerly=not weighted, **{"weighted_metrics" if weighted else "metrics": [given]})
    outputs, values = model.student(X).numpy(), YES if task == "multilabel" else NUMBERS
    outputs = 1 / (1 + np.exp(-outputs)) if task == "multilabel" else outputs
    metric = make()
    here = WEIGHT[present] if weighted else None
    metric.update_state(values[present][:, None], outputs[present][:, None], sample_weight=here)
    got = model.fit(
        X, labels(task, present), sample_weight=WEIGHT if weighted else None, batch_size=5, shuffle=False, verbose=0
    ).history
    (key,) = [key for key in got if key in (name, "mean_of_columns")]
    np.testing.assert_allclose(got[key], metric.result(), rtol=1e-5)
    if name in ("accuracy", "mae") and not weighted:
        error = got["student_error"][0]
        assert got[name][0] == pytest.approx(error if name == "mae" else 1 - error)


@pytest.mark.parametrize("metric", ["R2Score", largest_column, "cosine_similarity"])
def test_a_metric_that_is_no_mean_of_labels_is_that_of_whole_rows_or_refused(metric):
    model = wrapped("regression", metrics=[metric], run_eagerly=False)
    model.fit(X, NUMBERS, verbose=0)
    with pytest.raises(ValueError, match="is not a mean over labels: it can't leave out some columns"):
        model.fit(X, labels("regression", PART), verbose=0)


@pytest.mark.parametrize("task", TASKS)
def test_a_mean_over_weights_that_sum_to_0_is_not_0(task):
    model = wrapped(task, weighted_metrics=["mae"])
    got = model.fit(X, labels(task, PART), sample_weight=np.zeros(12), verbose=0).history
    assert np.isnan(got["mae"]).all()
    assert got["classification_cost"] == [0.0]


@pytest.mark.parametrize("eager", [True, False])
def test_numbers_may_be_integers(eager):
    model = wrapped("regression", run_eagerly=eager)
    got = model.fit(X, YES, batch_size=12, verbose=0).history["classification_cost"]
    np.testing.assert_allclose(got, ((model.student(X).numpy() - YES) ** 2).mean(), rtol=1e-5)
