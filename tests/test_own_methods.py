"""What a student's own class overrides is called, or warned of by name."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_mt

X = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
Y = np.array([0, 1, 2, -1, 1, -1, -1, -1])
HERE = Y >= 0
SEEN = []


@keras.saving.register_keras_serializable("tests_own_methods")
class OwnLoss(keras.Model):
    """Adds to the usual loss, as a label smoothing or a margin of one's own would."""

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        SEEN.append((len(x), len(y), len(y_pred)))
        cost = keras.losses.sparse_categorical_crossentropy(y, y_pred, from_logits=True)
        return 2.0 * tf.reduce_mean(cost) + 0.5


def student_of(kind):
    inputs = keras.Input((4,))
    return kind(inputs, keras.layers.Dense(3)(inputs))


def cost(network, factor=2.0):
    return np.mean(keras.losses.sparse_categorical_crossentropy(Y[HERE], network(X[HERE]), from_logits=True)) * factor


@pytest.mark.parametrize("reduction", ["batch", "labeled"])
def test_the_students_own_compute_loss_gets_the_labeled_examples(reduction):
    SEEN.clear()
    model = keras_mt.MeanTeacher(student_of(OwnLoss), method="supervised", reduction=reduction)
    model.compile(keras.optimizers.SGD(0.0), run_eagerly=True)
    got = model.train_on_batch(X, Y, return_dict=True)["classification_cost"]
    share = HERE.mean() if reduction == "batch" else 1.0
    np.testing.assert_allclose(got, (cost(model.student) + 0.5) * share, rtol=1e-5)
    assert SEEN[-1] == (4, 4, 4)


@pytest.mark.parametrize("name", ["train_step", "test_step", "predict_step"])
def test_own_steps_are_warned_of_by_name(name):
    kind = type("OwnStep", (keras.Model,), {name: lambda self, data: getattr(super(type(self), self), name)(data)})
    with pytest.warns(UserWarning, match=f"`{name}`.*is not called"):
        keras_mt.MeanTeacher(student_of(kind))


def test_a_student_without_methods_of_its_own_is_quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        keras_mt.MeanTeacher(student_of(keras.Model))


@pytest.mark.parametrize("compiling", [{"gradient_accumulation_steps": 2}, {"clipnorm": 0.1}, {"use_ema": True}])
def test_options_of_the_optimizer_give_what_they_give_without_a_teacher(compiling):
    """Fully labeled and supervised, the student is that of plain Keras."""
    y, weights = np.arange(8) % 3, []
    for wrap in (True, False):
        keras.utils.set_random_seed(0)
        network = student_of(keras.Model)
        model = keras_mt.MeanTeacher(network, method="supervised") if wrap else network
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.SGD(0.5, **compiling), loss=loss, run_eagerly=True)
        model.fit(X, y, batch_size=4, epochs=2, shuffle=False, verbose=0)
        weights.append(network.get_weights())
    for got, right in zip(*weights, strict=True):
        np.testing.assert_allclose(got, right, atol=1e-6)
