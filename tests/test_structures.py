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


def one_output():
    inputs = keras.Input((4,))
    return keras.Model(inputs, keras.layers.Dense(3, name="out")(inputs))


LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
ONE = {
    "dict of one metric": {"metrics": {"out": "accuracy"}},
    "dict of a list": {"metrics": {"out": ["accuracy"]}},
    "list in a list": {"metrics": [["accuracy"]]},
    "loss": {"loss": {"out": LOSS}, "metrics": ["accuracy"]},
    "weights": {"loss": {"out": LOSS}, "loss_weights": {"out": 2.0}, "metrics": ["accuracy"]},
}


@pytest.mark.parametrize("kind", ONE)
def test_one_output_takes_its_name_in_a_dict_and_lists_in_lists_as_keras_does(kind):
    student = one_output()
    model = keras_mt.MeanTeacher(student, method="supervised")
    model.compile(keras.optimizers.SGD(0.0), **ONE[kind])
    history = model.fit(X, Y, batch_size=12, verbose=0).history
    student.compile(keras.optimizers.SGD(0.0), **{"loss": LOSS, **ONE[kind]})
    right = student.fit(X, Y, batch_size=12, verbose=0).history
    np.testing.assert_allclose([history[name] for name in right], list(right.values()), rtol=1e-5)


@pytest.mark.parametrize("argument", ["loss", "loss_weights", "metrics", "weighted_metrics"])
def test_a_name_that_no_output_has_is_refused(argument):
    model = keras_mt.MeanTeacher(one_output(), method="supervised")
    with pytest.raises(ValueError, match=rf"`{argument}` must have one entry for each output of \['out'\].*'wrong'"):
        model.compile("sgd", **{argument: {"wrong": 1.0 if argument == "loss_weights" else "accuracy"}})


def test_lists_in_a_list_of_metrics_are_refused_for_a_dict_of_outputs():
    inputs = keras.Input((4,))
    student = keras.Model(inputs, {name: keras.layers.Dense(3)(inputs) for name in "ab"})
    model = keras_mt.MeanTeacher(student, method="supervised")
    with pytest.raises(ValueError, match="`metrics` must hold a metric or a list of them for each output"):
        model.compile("sgd", metrics=[["accuracy"], ["crossentropy"]])


@pytest.mark.parametrize("argument", ["loss", "loss_weights"])
def test_a_list_for_outputs_of_a_dict_is_refused_with_their_names(argument):
    inputs = keras.Input((4,))
    model = keras_mt.MeanTeacher(keras.Model(inputs, {name: keras.layers.Dense(3)(inputs) for name in "ab"}))
    with pytest.raises(ValueError, match=rf"`{argument}` must be one value, or a dict .*\['a', 'b'\].*a list of 2"):
        model.compile(**{argument: [1.0, 2.0] if argument == "loss_weights" else [LOSS, LOSS]})
