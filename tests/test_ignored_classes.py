"""What a loss ignores by itself (`ignore_class`) is in no mean, as in Keras."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_mt

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(8, 6, 6, 1)).astype("float32")
Y = RANDOM.integers(0, 3, (8, 6, 6))
Y[:, :4] = 0  # Background.
Entropy = keras.losses.SparseCategoricalCrossentropy


class Own(Entropy):
    """A class of the user's, whose values are those of Keras."""

    def call(self, y_true, y_pred):
        return super().call(y_true, y_pred)


def student():
    return keras.Sequential([keras.Input((6, 6, 1)), keras.layers.Conv2D(3, 3, padding="same")])


def costs(network, x, y, loss, reduction="labeled", **arguments):
    """The cost of one step, and of evaluation."""
    model = keras_mt.MeanTeacher(network, method="supervised", reduction=reduction)
    model.compile(keras.optimizers.SGD(0.0), loss=loss)
    fitted = model.train_on_batch(x, y, return_dict=True, **arguments)["classification_cost"]
    if getattr(loss, "reduction", None) == "sum" or arguments:
        return [fitted]
    return [fitted, model.evaluate(x, y, verbose=0, return_dict=True)["loss"]]


def wrapped(loss):
    return keras_mt.losses.LabeledPositions(loss)


@pytest.mark.parametrize("ignored", [0, -1])
@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum", "mean_with_sample_weight"])
@pytest.mark.parametrize("kind", [Entropy, Own])
def test_classes_that_a_loss_ignores_are_not_divided_by(kind, reduction, ignored):
    y = np.where(Y == 0, ignored, Y)
    loss, network = kind(from_logits=True, ignore_class=ignored, reduction=reduction), student()
    np.testing.assert_allclose(costs(network, X, y, loss), float(loss(y, network(X))), rtol=1e-5)


@pytest.mark.parametrize("make", [lambda f: f, wrapped])
def test_a_function_that_ignores_a_class_is_what_it_is_in_keras(make):
    function, network = keras.losses.sparse_categorical_crossentropy, student()
    function = functools.partial(function, from_logits=True, ignore_class=0)
    right = float(Entropy(from_logits=True, ignore_class=0)(Y, network(X)))
    np.testing.assert_allclose(costs(network, X, Y, make(function)), right, rtol=1e-5)


@pytest.mark.parametrize("make", [lambda loss: loss, wrapped])
def test_beside_what_is_ignored_labels_that_are_missing_are_not_divided_by_either(make):
    y, network = Y.copy(), student()
    y[:4, 2:5], y[6:] = -1, -1
    loss = make(Entropy(from_logits=True, ignore_class=0))
    known = tf.constant(y > 0)
    values = Entropy(from_logits=True, reduction=None)(np.maximum(y, 0), network(X))
    right = float(tf.reduce_mean(tf.boolean_mask(values, known)))
    np.testing.assert_allclose(costs(network, X, y, loss), right, rtol=1e-5)
    # Under the paper's reduction times the share of examples that have a label.
    np.testing.assert_allclose(costs(network, X, y, loss, "batch"), right * 6 / 8, rtol=1e-5)


def test_weights_of_examples_weigh_what_is_not_ignored():
    loss, network, weights = Entropy(from_logits=True, ignore_class=0), student(), RANDOM.uniform(0, 2, 8)
    right = float(loss(Y, network(X), sample_weight=weights[:, None, None] * np.ones(Y.shape)))
    np.testing.assert_allclose(costs(network, X, Y, loss, sample_weight=weights), right, rtol=1e-5)


def test_where_all_is_ignored_nothing_is_learned():
    assert costs(student(), X, np.zeros_like(Y), Entropy(from_logits=True, ignore_class=0)) == [0.0, 0.0]


def test_padding_and_what_is_ignored_are_left_out():
    tokens = np.array([[1, 2, 3, 0, 0], [4, 5, 0, 0, 0], [3, 3, 1, 2, 5]])
    network = keras.Sequential([keras.Input((5,)), keras.layers.Embedding(6, 4, mask_zero=True), keras.layers.Dense(3)])
    tags, loss = tokens % 3, Entropy(from_logits=True, ignore_class=2)
    np.testing.assert_allclose(costs(network, tokens, tags, loss), float(loss(tags, network(tokens))), rtol=1e-5)
