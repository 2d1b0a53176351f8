"""The check that the teacher answers as the student does: it refuses no network that does, and each that does not."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import keras_mt

_RANDOM = np.random.default_rng(0)
X = _RANDOM.normal(size=(8, 4)).astype("float32")
STEPS = _RANDOM.normal(size=(8, 5, 4)).astype("float32")
TOKENS = _RANDOM.integers(0, 4, (8, 5)).astype("int32")
IMAGES = _RANDOM.normal(size=(8, 6, 6, 2)).astype("float32")


@keras.saving.register_keras_serializable("test_teacher")
class AlwaysDrops(layers.Dropout):
    def call(self, x, training=None):
        return super().call(x, training=True)


@keras.saving.register_keras_serializable("test_teacher")
class Draws(layers.Layer):
    def call(self, x):
        return x + tf.random.normal(tf.shape(x))


@keras.saving.register_keras_serializable("test_teacher")
class Counts(layers.Layer):
    def build(self, _):
        self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False)

    def call(self, x):
        self.calls.assign_add(1.0)
        return x + self.calls


@keras.saving.register_keras_serializable("test_teacher")
class Tied(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.embedding = layers.Embedding(5, 4)

    def call(self, x):
        return keras.ops.matmul(self.embedding(x), keras.ops.transpose(self.embedding.embeddings))

    def get_config(self):
        return {"name": self.name}


@keras.saving.register_keras_serializable("test_teacher")
class KeepsANumber(layers.Layer):
    """Its config does not tell what it computes with."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.shift = float(_RANDOM.normal())

    def call(self, x):
        return x + self.shift


@keras.saving.register_keras_serializable("test_teacher")
class KeepsAnOutlier(KeepsANumber):
    """Its other output is infinite."""

    def call(self, x):
        return keras.ops.concatenate([super().call(x), x + np.inf], axis=-1)


def chain(x, *parts, dtype=None):
    return keras.Sequential([keras.Input(x.shape[1:], dtype=dtype), *parts]), x


def tied():
    student = Tied()
    student(TOKENS)
    return student, TOKENS


def graph(x, build, dtype=None, **kwargs):
    inputs = keras.Input(x.shape[1:], dtype=dtype, **kwargs)
    return keras.Model(inputs, build(inputs)), x


def shared(inputs):
    twice = layers.Dense(4, activation="tanh")
    return layers.Dense(3)(twice(twice(inputs)))


def frozen():
    student, x = chain(X, layers.Dense(4), layers.BatchNormalization(trainable=False), layers.Dense(3))
    student.layers[1].moving_mean.assign([1.0, 2.0, 3.0, 4.0])
    return student, x


def quantized():
    student, x = chain(X, layers.Dense(4), layers.Dense(3))
    student.quantize("int8")
    student.layers[1].enable_lora(2)
    return student, x


def stateful():
    inputs = keras.Input(batch_shape=(8, 5, 4))
    return keras.Model(inputs, layers.Dense(3)(layers.LSTM(4, stateful=True)(inputs))), STEPS


def words():
    x = tf.constant([["a b"], ["c"], ["b b"], ["a"], ["d"], ["a c"], ["c c"], ["b"]])
    vectors = layers.TextVectorization(output_sequence_length=3)
    vectors.adapt(x)
    return graph(x, lambda t: layers.Dense(3)(layers.Flatten()(layers.Embedding(9, 4)(vectors(t)))), dtype="string")


def attention(inputs):
    outputs, scores = layers.MultiHeadAttention(2, 3)(inputs, inputs, return_attention_scores=True)
    return layers.Dense(3)(layers.Concatenate()([layers.Flatten()(outputs), layers.Flatten()(scores)]))


def ragged():
    x = tf.ragged.constant([[1, 2], [3], [1, 2, 3], [2], [2, 1], [3], [1], [2, 2]])
    inputs = keras.Input((None,), dtype="int32", ragged=True)
    pooled = layers.GlobalAveragePooling1D()(layers.Embedding(5, 4)(inputs))
    return keras.Model(inputs, layers.Dense(3)(pooled)), x


SAME = {
    "Monte Carlo dropout": lambda: chain(X, layers.Dense(4), AlwaysDrops(0.5), layers.Dense(3)),
    "draws without a seed": lambda: chain(X, layers.Dense(4), Draws(), layers.Dense(3)),
    "NaN": lambda: chain(X, layers.Dense(3), layers.Lambda(lambda x: keras.ops.sqrt(x))),
    "GRU": lambda: chain(STEPS, layers.GRU(4, dropout=0.2, recurrent_dropout=0.2), layers.Dense(3)),
    "Bidirectional": lambda: chain(STEPS, layers.Bidirectional(layers.LSTM(4)), layers.Dense(3)),
    "cells": lambda: chain(STEPS, layers.RNN([layers.LSTMCell(4), layers.GRUCell(3)]), layers.Dense(3)),
    "stateful": stateful,
    "attention": lambda: graph(STEPS, attention),
    "mask": lambda: graph(
        TOKENS, lambda t: layers.Dense(3)(layers.LSTM(4)(layers.Embedding(5, 4, mask_zero=True)(t))), dtype="int32"
    ),
    "int8 and LoRA": quantized,
    "sparse": lambda: (graph(X, layers.Dense(3), sparse=True)[0], tf.sparse.from_dense(X)),
    "ragged": ragged,
    "text": words,
    "a layer twice": lambda: graph(X, shared),
    "tied weights": tied,
    "a function of Python": lambda: chain(X, layers.Lambda(lambda x: 2 * x), layers.Dense(3)),
    "frozen batch normalization": frozen,
    "spectral normalization": lambda: chain(X, layers.SpectralNormalization(layers.Dense(4)), layers.Dense(3)),
    "counts its calls": lambda: chain(X, Counts(), layers.Dense(3)),
    "bfloat16": lambda: chain(X, *(layers.Dense(n, dtype="bfloat16") for n in (64, 64, 3))),
    "random pictures": lambda: chain(IMAGES, layers.RandomRotation(0.1), layers.Flatten(), layers.Dense(3)),
    "time": lambda: chain(STEPS, layers.TimeDistributed(layers.Dense(2)), layers.Flatten(), layers.Dense(3)),
}


# Each takes seconds, and others stand for it: an LSTM with a mask, layers in a layer, noise, state, ragged inputs.
SLOW = {"GRU", "Bidirectional", "cells", "stateful", "attention", "sparse", "a function of Python", "random pictures"}
SLOW |= {"draws without a seed", "spectral normalization"}


@pytest.mark.parametrize("case", [pytest.param(c, marks=pytest.mark.slow if c in SLOW else ()) for c in SAME])
def test_a_network_whose_clone_answers_as_it_does_is_trained_and_the_check_moves_nothing(case):
    student, x = SAME[case]()
    model = keras_mt.MeanTeacher(student)
    model.compile(keras.optimizers.SGD(0.0))
    before = [weight.numpy() for weight in model.weights]
    model.before_first_step((x,))
    assert model._compared
    for old, weight in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(weight.numpy(), old)
    labels = TOKENS if case == "tied weights" else np.arange(8) % 3
    history = model.fit(
        x, labels, batch_size=8, verbose=0, callbacks=[keras_mt.MeanTeacherCallback(1.0, verbose=False)]
    )
    assert set(history.history) >= {"loss", "student_error", "teacher_error"}


@pytest.mark.parametrize("kind", [KeepsANumber, KeepsAnOutlier])
def test_a_clone_that_answers_otherwise_is_refused_with_the_name_of_the_layer(kind):
    student, x = chain(X, layers.Dense(3), kind(name="culprit"))
    model = keras_mt.MeanTeacher(student)
    model.compile("sgd")
    with pytest.raises(ValueError, match="first in the layer 'culprit'.*pass it as `teacher=`"):
        model.fit(x, np.arange(8) % 3, verbose=0, callbacks=[keras_mt.MeanTeacherCallback(1.0)])


def test_a_student_that_keras_cannot_make_anew_is_refused_in_a_line():
    student, _ = chain(X, layers.Dense(3, kernel_initializer=lambda shape, dtype=None: tf.ones(shape)))
    with pytest.raises(ValueError, match="can't be cloned.*Build a second network") as caught:
        keras_mt.MeanTeacher(student)
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)
