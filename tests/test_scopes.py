"""What is trained under a strategy was made in its scope, or is refused in a sentence; what is only read may be any."""

import contextlib

import keras
import pytest
import tensorflow as tf
from support.dense_students import X, Y, network

import keras_mt

CALLBACK = {"consistency_weight": 1.0, "ema_decay": 0.5, "verbose": False}


@pytest.fixture(scope="module")
def strategy():
    return tf.distribute.MirroredStrategy(["CPU:0"])


def trained(strategy, places, make=network, teacher=None):
    """Builds, wraps, compiles and fits a student, each inside of the scope of a strategy where its letter is `s`."""
    scopes = [strategy.scope() if place == "s" else contextlib.nullcontext() for place in places]
    with scopes[0]:
        student = make()
    with scopes[1]:
        model = keras_mt.MeanTeacher(student, teacher=teacher)
    with scopes[2]:
        model.compile("sgd")
    with scopes[3]:
        model.fit(X, Y, verbose=0, callbacks=[keras_mt.MeanTeacherCallback(**CALLBACK)])
    return model


@pytest.mark.parametrize("places", ["-ss-", "--s-", "---s", "s---"])
def test_a_student_of_another_scope_is_refused(places, strategy):
    with pytest.raises(ValueError, match="The student must be .* inside of the scope of one strategy. Received: "):
        trained(strategy, places)


def test_a_teacher_of_another_scope_is_refused_also_with_flags_that_will_be_the_students(strategy):
    teacher = network()
    teacher.trainable = False
    with pytest.raises(ValueError, match="The teacher must be .*made outside of that of the present MirroredStrategy"):
        trained(strategy, "sss-", teacher=teacher)


@pytest.mark.parametrize("places", ["sss-", "ssss", "ss--", "----"])
def test_what_is_made_in_one_scope_trains(places, strategy):
    assert trained(strategy, places).batches_seen.numpy() == 1


def test_layers_that_are_only_read_may_come_from_elsewhere(strategy):
    normalization, backbone = keras.layers.Normalization(), keras.Sequential([keras.Input((4,)), keras.layers.Dense(4)])
    normalization.adapt(X)
    backbone.trainable = False
    assert trained(strategy, "sss-", lambda: network(normalization, backbone)).batches_seen.numpy() == 1


def test_one_device_takes_a_student_of_no_scope():
    assert trained(tf.distribute.OneDeviceStrategy("CPU:0"), "-ss-").batches_seen.numpy() == 1
