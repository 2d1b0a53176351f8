"""Under XLA, which drops assertions (Keras' default on GPUs), a step refuses what it refuses without."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_mt

X = np.random.default_rng(0).normal(size=(12, 4)).astype("float32")
Y = np.where(np.arange(12) < 4, np.arange(12) % 3, -1)


def compiled(jit_compile=True, **arguments):
    student = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    model = keras_mt.MeanTeacher(student, **arguments)
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), jit_compile=jit_compile)
    return model


def fit(model, *data):
    batches = tf.data.Dataset.from_tensor_slices(data).batch(6)
    return model.fit(batches, verbose=0, callbacks=[keras_mt.MeanTeacherCallback(1.0, 0.5, verbose=False)]).history


def with_(array, value):
    array = array.astype("float32")
    array[8] = value
    return array


BAD = {
    "class": ((X, with_(Y, 7).astype("int64")), "from 0 to 2, or -1 for unlabeled examples. Received: 7"),
    "fraction": ((X, with_(Y, 1.5)), "integer class labels. Received: 1.5"),
    "one-hot": ((X, np.zeros((12, 3))), "rows that sum to 1.* Received: a row that sums to 0"),
    "x": ((with_(X, np.nan), Y), "`x` must hold finite numbers"),
    "weight": ((X, Y, with_(np.ones(12), np.inf)), "`sample_weight` must hold finite numbers"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_batch_that_is_refused_has_changed_nothing(case):
    data, sentence = BAD[case]
    model = compiled()
    with pytest.raises(ValueError, match=sentence):
        fit(model, *(part[6:] for part in data))
    assert int(model.optimizer.iterations) == 0
    np.testing.assert_array_equal(model.student.get_weights()[0], model.teacher.get_weights()[0])


@pytest.mark.parametrize("function", ["train_on_batch", "test_on_batch", "evaluate"])
def test_other_functions_than_fit_refuse_as_well(function):
    model = compiled(method="supervised")
    with pytest.raises(ValueError, match="from 0 to 2.*Received: 7"):
        getattr(model, function)(X, np.full(12, 7))
    getattr(model, function)(X, Y)  # Nothing is left of what was found.


def test_what_only_the_costs_find_out_is_refused():
    images = keras.Input((4, 4, 1))
    model = keras_mt.MeanTeacher(keras.Model(images, keras.layers.Conv2D(2, 1)(images)))
    model.compile("sgd", loss=lambda y, p: keras.ops.mean(p[..., 0] * keras.ops.cast(y, "float32")), jit_compile=True)
    labels = np.arange(96).reshape(6, 4, 4) % 2
    labels[1, 2] = -1
    with pytest.raises(ValueError, match="labels that are missing inside of an example can't be kept from it"):
        fit(model, np.ones((6, 4, 4, 1), "float32"), labels)


def test_several_steps_an_execution_refuse_as_well_and_the_model_says_that_it_is_compiled():
    model = compiled()
    model.steps_per_execution = 2
    with pytest.raises(ValueError, match="Received: 7"):
        fit(model, X, with_(Y, 7))
    assert model.jit_compile is True


def test_a_mirrored_strategy_refuses_what_keras_can_not_do_there():
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        with pytest.raises(ValueError, match="leave `jit_compile` at.* Received: jit_compile=True"):
            compiled()
        model = compiled(jit_compile="auto")
        optimizer = keras.optimizers.SGD(0.1, gradient_accumulation_steps=2)
        for each in (optimizer, keras.optimizers.LossScaleOptimizer(optimizer)):
            with pytest.raises(ValueError, match="can't be accumulated under a MirroredStrategy.*steps=2"):
                model.compile(each)
