"""Files hold what the model is compiled with: not what its networks were before, and a loss scale only if it is so."""

import keras
import numpy as np
import pytest
from support.dense_students import FEW, X, Y, fit, network

import keras_mt


def of_the_user(y, outputs):
    return keras.ops.mean(keras.ops.square(outputs), axis=-1)


@pytest.mark.parametrize("who", ["student", "part of the student", "teacher"])
def test_a_loss_that_a_network_was_compiled_with_before_is_not_in_the_file(who, tmp_path):
    part, other = network(keras.layers.Dense(5)), network(keras.layers.Dense(5))
    student = network(part) if who == "part of the student" else part
    before = other if who == "teacher" else part
    before.compile("sgd", loss=of_the_user)
    before.fit(X, np.ones((12, 3)), verbose=0)
    model = keras_mt.MeanTeacher(student, teacher=other if who == "teacher" else None)
    model.compile(keras.optimizers.SGD(0.1))
    fit(model, y=FEW)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    fit(model, y=FEW)
    fit(loaded, y=FEW)
    for ours, theirs in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert before.compiled  # It stays as it is.
    before.save(tmp_path / "alone.keras")
    loaded = keras.saving.load_model(tmp_path / "alone.keras", custom_objects={"of_the_user": of_the_user})
    assert loaded.compiled


@keras.saving.register_keras_serializable("tests")
class WithOwnLoss(keras.Model):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return 2.0 * super().compute_loss(x, y, y_pred, sample_weight, training)


def test_a_loss_that_the_student_s_own_compute_loss_calls_is_in_the_file(tmp_path):
    inputs = keras.Input((4,))
    student = WithOwnLoss(inputs, keras.layers.Dense(3)(inputs))
    student.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True, name="sparse"))
    model = keras_mt.MeanTeacher(student)
    model.compile(keras.optimizers.SGD(0.1))
    right = model.evaluate(X, Y, verbose=0, return_dict=True)["loss"]
    model.save(tmp_path / "model.keras")
    found = keras.saving.load_model(tmp_path / "model.keras").evaluate(X, Y, verbose=0, return_dict=True)["loss"]
    np.testing.assert_allclose(found, right, rtol=1e-6)


@pytest.mark.parametrize("scales", [False, True])
def test_a_float16_student_is_loaded_with_the_optimizer_that_it_had(scales, tmp_path):
    student = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, dtype="mixed_float16")])
    model = keras_mt.MeanTeacher(student)
    model.compile(keras.optimizers.Adam(0.01), auto_scale_loss=scales)
    fit(model, epochs=3)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert isinstance(loaded.optimizer, keras.optimizers.LossScaleOptimizer) == scales
    for ours, theirs in zip(loaded.optimizer.variables, model.optimizer.variables, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
