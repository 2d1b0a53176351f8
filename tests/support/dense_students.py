"""A student of one layer or few, made into a model, and fitted with a fixed decay."""

import keras
import numpy as np

import keras_mt

X = np.random.default_rng(0).normal(size=(12, 4)).astype("float32")
Y = np.arange(12) % 3
FEW = np.where(np.arange(12) < 4, Y, -1)


def network(*layers):
    return keras.Sequential([keras.Input((4,)), *layers, keras.layers.Dense(3)])


def compiled(student, rate=0.0, **arguments):
    model = keras_mt.MeanTeacher(student, **arguments)
    model.compile(keras.optimizers.SGD(rate), run_eagerly=True)
    return model


def fit(model, x=X, y=Y, decay=0.999, **arguments):
    callback = keras_mt.MeanTeacherCallback(1.0, ema_decay=decay, verbose=False)
    return model.fit(x, y, batch_size=64, verbose=0, shuffle=False, callbacks=[callback], **arguments)


def same_weights(model, network=None):
    for ours, theirs in zip((network or model.teacher).weights, model.student.weights, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
