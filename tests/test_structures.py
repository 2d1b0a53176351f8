"""What an argument says of each output reaches that output, in whichever structure the student has them."""

import collections

import keras
import numpy as np
import pytest

import keras_mt

X, Y = np.random.default_rng(0).normal(size=(12, 4)).astype("float32"), np.arange(12) % 3


@pytest.mark.parametrize("kind", [dict, collections.OrderedDict])
def test_outputs_of_a_dict_are_known_by_their_keys_in_any_order(kind):
    inputs = keras.Input((4,))
    student = keras.Model(inputs, kind(z=keras.layers.Dense(3)(inputs), a=keras.layers.Dense(1)(inputs)))
    model = keras_mt.MeanTeacher(student, task={"z": "multiclass", "a": "regression"})
    model.compile(keras.optimizers.SGD(0.0), loss_weights={"z": 0.0, "a": 2.0}, metrics={"a": ["mse"]})
    labels = {"z": Y, "a": 10.0 + X[:, :1]}
    callback = keras_mt.MeanTeacherCallback(0.0, 0.5, verbose=False)
    with pytest.warns(UserWarning, match="consistency_weight=0"):
        history = model.fit(X, labels, batch_size=12, verbose=0, callbacks=[callback]).history
    outputs = student(X)
    of_z = keras.losses.sparse_categorical_crossentropy(Y, outputs["z"], from_logits=True)
    squares = np.mean(np.square(labels["a"] - outputs["a"]))
    np.testing.assert_allclose(history["classification_cost"], [2 * squares], rtol=1e-5)
    np.testing.assert_allclose(history["a_mse"], [squares], rtol=1e-5)
    errors = np.argmax(outputs["z"], axis=-1) != Y
    np.testing.assert_allclose(history["z_student_error"], [np.mean(errors)], rtol=1e-5)
    model.compile(keras.optimizers.SGD(0.0), loss_weights={"z": 1.0, "a": 0.0})
    np.testing.assert_allclose(model.evaluate(X, labels, verbose=0, return_dict=True)["loss"], np.mean(of_z), rtol=1e-5)
