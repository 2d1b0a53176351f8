"""What `evaluate` and the batch methods return without `return_dict`, and logs of outputs that would be one."""

import keras
import numpy as np
import pytest
from support.dense_students import FEW, X, Y, fit, network

import keras_mt

WEIGHT = np.linspace(0.5, 2.0, 12)


def cross_entropy():
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def top2():
    return keras.metrics.SparseTopKCategoricalAccuracy(2, name="top2")


def two_outputs(first, second, as_dict):
    inputs = keras.Input((4,))
    outputs = [keras.layers.Dense(3, name=name)(inputs) for name in (first, second)]
    return keras.Model(inputs, dict(zip((first, second), outputs, strict=True)) if as_dict else outputs)


def of_one_output():
    weighed = keras.metrics.SparseCategoricalCrossentropy(from_logits=True, name="also")
    return network(), {"metrics": [top2(), "accuracy"], "weighted_metrics": [weighed]}, Y


def of_a_list():
    student = two_outputs("tags", "events", as_dict=False)
    return student, {"metrics": [["accuracy"], [top2(), "accuracy"]]}, [Y, Y[::-1]]


def of_a_dict():
    student = two_outputs("tags", "events", as_dict=True)
    return student, {"metrics": {"tags": [top2(), "accuracy"], "events": [top2()]}}, {"tags": Y, "events": Y[::-1]}


@pytest.mark.parametrize("make", [of_one_output, of_a_list, of_a_dict])
@pytest.mark.parametrize("how", ["evaluate", "test_on_batch", "train_on_batch"])
def test_what_keras_returns_comes_first_and_in_its_order(make, how):
    student, settings, y = make()
    plain = keras.models.clone_model(student)
    plain.set_weights(student.get_weights())
    model = keras_mt.MeanTeacher(student, method="supervised")
    loss = keras.tree.map_structure(lambda _: cross_entropy(), y) if isinstance(y, (list, dict)) else cross_entropy()
    results = []
    for network_of_keras in (plain, model):
        again = {name: keras.tree.map_structure(_anew, given) for name, given in settings.items()}
        network_of_keras.compile(keras.optimizers.SGD(0.0), loss=loss, **again)
        arguments = {"verbose": 0, "batch_size": 12} if how == "evaluate" else {}
        weight = {"sample_weight": WEIGHT} if make is of_one_output else {}
        results.append(getattr(network_of_keras, how)(X, y, **weight, **arguments))
    right, found = results
    np.testing.assert_allclose(found[: len(right)], right, rtol=1e-5)
    names = model.evaluate(X, y, verbose=0, return_dict=True)
    if how == "evaluate":
        assert len(found) == len(names) > len(right)


def _anew(metric):
    return metric if isinstance(metric, str) else type(metric).from_config(metric.get_config())


@pytest.mark.parametrize(
    ("names", "options", "log"),
    [
        (("student", "b"), {}, "student_loss"),
        (("a", "a_student"), {}, "a_student_loss"),
        (("teacher", "b"), {"second_ema_decay": 0.9}, "teacher_loss"),
    ],
)
def test_outputs_whose_logs_would_have_one_name_are_refused(names, options, log):
    with pytest.raises(ValueError, match=f"need other names: two logs would be called '{log}'. Received: outputs .*"):
        keras_mt.MeanTeacher(two_outputs(*names, as_dict=True), **options)


def test_an_output_called_teacher_has_logs_of_its_own():
    model = keras_mt.MeanTeacher(two_outputs("teacher", "b", as_dict=True))
    model.compile(keras.optimizers.SGD(0.0))
    history = fit(model, X, {"teacher": FEW, "b": Y}, validation_data=(X, {"teacher": Y, "b": Y})).history
    total = history["val_teacher_loss"][0] + history["val_b_loss"][0]
    np.testing.assert_allclose(history["val_loss"][0], total, rtol=1e-5)
