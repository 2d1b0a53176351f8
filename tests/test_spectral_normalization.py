"""`SpectralNormalization` overwrites its kernel in a training pass: the student does once a step, a teacher never."""

import keras
import numpy as np
import pytest
from support.dense_students import FEW, X, Y, compiled, fit, network

import keras_mt

K = keras.layers


def spectral(**arguments):
    return network(K.SpectralNormalization(K.Dense(4), **arguments), K.Dropout(1e-6))


def alike():
    student, other = spectral(), spectral()
    other.set_weights(student.get_weights())
    return student, other


@pytest.mark.parametrize(
    "arguments", [{}, {"separate_passes": 4, "statistics_of": "unlabeled"}, {"second_ema_decay": 0.9}], ids=str
)
def test_the_teacher_is_the_average_of_the_student(arguments):
    student = spectral()
    before = [w.numpy() for w in student.trainable_weights]
    model = compiled(student, 0.1, **arguments)
    fit(model, y=FEW, decay=0.75)
    assert max(np.abs(w.numpy() - old).max() for w, old in zip(student.trainable_weights, before, strict=True)) > 0.01
    for teacher, weight, old in zip(model.teacher.trainable_weights, student.trainable_weights, before, strict=True):
        np.testing.assert_allclose(teacher, 0.75 * old + 0.25 * weight.numpy(), rtol=1e-5, atol=1e-6)


PERTURBED = {"method": "vat", "perturbation": keras_mt.VirtualAdversarial(epsilon=1.0)}
METHODS = [{"method": "supervised"}, {}, {"method": "pi"}, PERTURBED, {"uncertainty": keras_mt.Uncertainty(2)}]


@pytest.mark.parametrize("arguments", METHODS, ids=lambda arguments: next(iter(arguments.values()), "mean_teacher"))
def test_the_students_step_is_that_of_keras_whatever_other_passes_there_are(arguments):
    student, plain = alike()
    plain.compile(keras.optimizers.SGD(0.1), loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    plain.fit(X, Y, batch_size=64, epochs=3, verbose=0, shuffle=False)
    model = keras_mt.MeanTeacher(student, **arguments)
    model.compile(keras.optimizers.SGD(0.1))
    callback = keras_mt.MeanTeacherCallback(1e-12, ema_decay=0.5, verbose=False)
    model.fit(X, Y, batch_size=64, epochs=3, verbose=0, shuffle=False, callbacks=[callback])
    for ours, theirs in zip(student.trainable_weights, plain.trainable_weights, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("frozen", [False, True])
def test_nothing_moves_an_own_teacher_with_a_decay_of_one(frozen):
    student, teacher = alike()
    teacher.trainable = not frozen
    before = teacher.get_weights()
    fit(compiled(student, 0.1, teacher=teacher, teacher_weights="own"), decay=1.0, epochs=2)
    for weight, old in zip(teacher.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, old)


def test_what_is_frozen_moves_in_neither_network():
    student = spectral()
    student.layers[0].trainable = False
    before = student.layers[0].get_weights()
    model = compiled(student, 0.1)
    fit(model, decay=0.5, epochs=2)
    for part in (student, model.teacher):
        for weight, old in zip(part.layers[0].get_weights(), before, strict=True):
            np.testing.assert_array_equal(weight, old)


def test_statistics_are_made_anew_and_weights_stay():
    model = compiled(network(K.SpectralNormalization(K.Dense(4)), K.BatchNormalization()))
    before = [w.numpy() for w in model.teacher.trainable_weights]
    model.recompute_statistics([X])
    for weight, old in zip(model.teacher.trainable_weights, before, strict=True):
        np.testing.assert_array_equal(weight, old)
    assert np.abs(model.teacher.layers[1].moving_mean.numpy()).max() > 0
