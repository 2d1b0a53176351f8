"""Temporal ensembling: each example's past predictions are its target (Laine & Aila 2017)."""

import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.networks import quiet_convnet, small_convnet, values
from support.programs import TINY, run_program, same_run

import keras_mt
from keras_mt.data import Sampling, training_batches
from keras_mt.temporal_ensembling import PredictionEnsemble

EVERYONE = tf.ones(2, "bool")


def compiled(student, **kwargs):
    model = keras_mt.MeanTeacher(student, method="temporal_ensembling", num_examples=32, **kwargs)
    model.compile(keras.optimizers.SGD(0.1))
    return model


def fit(model, images, labels, weight=5.0, epochs=1, **kwargs):
    callback = keras_mt.MeanTeacherCallback(weight, verbose=False)
    return model.fit(
        (images, np.arange(len(images))), labels, batch_size=8, epochs=epochs, verbose=0, callbacks=[callback], **kwargs
    )


def test_the_average_is_that_of_the_paper():
    ensemble = PredictionEnsemble(4, (2,), momentum=0.6)
    example = tf.constant([2, 0])
    first, second = tf.constant([[0.9, 0.1], [0.2, 0.8]]), tf.constant([[0.5, 0.5], [0.4, 0.6]])
    target, known = ensemble.target(example)
    np.testing.assert_array_equal(known, 0)
    ensemble.update(example, first, EVERYONE)
    target, known = ensemble.target(example)
    np.testing.assert_array_equal(known, 1)
    np.testing.assert_allclose(target, first, rtol=1e-6)  # Z/(1 - α) after one epoch.
    ensemble.update(example, second, EVERYONE)
    z = 0.6 * (0.4 * first.numpy()) + 0.4 * second.numpy()
    np.testing.assert_allclose(ensemble.averages.numpy()[[2, 0]], z, rtol=1e-6)
    np.testing.assert_allclose(ensemble.target(example)[0], z / (1 - 0.6**2), rtol=1e-6)
    np.testing.assert_array_equal(ensemble.visits, [2, 0, 2, 0])


def test_visits_that_do_not_count_change_nothing_and_two_in_a_batch_follow_each_other():
    first, second = tf.constant([[0.9, 0.1]]), tf.constant([[0.3, 0.7]])
    in_turn, at_once = PredictionEnsemble(3, (2,)), PredictionEnsemble(3, (2,))
    for prediction in (first, second):
        in_turn.update(tf.constant([1]), prediction, tf.constant([True]))
    at_once.update(
        tf.constant([1, 1, 1]), tf.concat([[[0.5, 0.5]], first, second], 0), tf.constant([False, True, True])
    )
    np.testing.assert_allclose(at_once.averages, in_turn.averages, rtol=1e-6)
    np.testing.assert_array_equal(at_once.visits, [0, 2, 0])


def test_the_first_epoch_has_no_consistency_cost_and_later_ones_move_the_student(batch):
    images, _ = batch
    model = compiled(small_convnet())
    labels = np.full(32, -1)
    data = tf.data.Dataset.from_tensor_slices(((images, np.arange(32)), labels)).batch(8)
    callback = keras_mt.MeanTeacherCallback(5.0, verbose=False)
    before = values(model.student.trainable_variables)
    first = model.fit(data, verbose=0, callbacks=[callback], shuffle=False).history
    assert first["consistency_cost"] == [0.0]
    assert all((a == b).all() for a, b in zip(before, values(model.student.trainable_variables), strict=True))
    second = model.fit(data, verbose=0, callbacks=[callback], shuffle=False).history
    assert second["consistency_cost"][0] > 0
    assert any((a != b).any() for a, b in zip(before, values(model.student.trainable_variables), strict=True))


def test_no_gradient_reaches_the_remembered_predictions_and_the_target_is_theirs(batch):
    images, labels = batch
    student = quiet_convnet()
    model = compiled(student)
    remembered = np.random.default_rng(0).dirichlet(np.ones(4), 32).astype("float32")
    model.prediction_ensembles[0].averages.assign(0.4 * remembered)
    model.prediction_ensembles[0].visits.assign(np.ones(32, "int32"))
    predicted = tf.nn.softmax(student(images, training=True)).numpy()
    callback = keras_mt.MeanTeacherCallback(5.0, verbose=False)
    history = model.fit((images, np.arange(32)), labels, batch_size=32, verbose=0, callbacks=[callback]).history
    expected = 5.0 * np.square(predicted - remembered).mean()
    np.testing.assert_allclose(history["consistency_cost"][0], expected, rtol=1e-3)
    np.testing.assert_allclose(
        model.prediction_ensembles[0].averages, 0.6 * 0.4 * remembered + 0.4 * predicted, rtol=1e-3, atol=1e-6
    )
    assert not any("averages" in v.path for v in model.trainable_variables)


def test_the_average_of_the_weights_is_kept_evaluated_and_predicts(batch):
    images, labels = batch
    model = compiled(small_convnet())
    shown = labels >= 0
    history = fit(model, images, labels, epochs=2, validation_data=(images[shown], labels[shown])).history
    assert {"val_student_error", "val_teacher_error", "consistency_cost"} <= set(history)
    np.testing.assert_array_equal(model.predict(images, verbose=0), model.teacher.predict(images, verbose=0))
    assert model.teacher_distance() > 0


def test_saving_keeps_what_is_remembered(batch, tmp_path):
    images, labels = batch
    model = compiled(small_convnet(), ensembling_momentum=0.7)
    fit(model, images, labels)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.ensembling_momentum == 0.7
    np.testing.assert_array_equal(again.prediction_ensembles[0].averages, model.prediction_ensembles[0].averages)
    np.testing.assert_array_equal(again.prediction_ensembles[0].visits, 1)


def test_an_epoch_of_two_streams_counts_one_visit_of_each_example():
    images, labels = np.zeros((50, 12, 12, 1), "uint8"), (np.arange(50) % 5).astype("int32")
    batches = training_batches(images, labels, np.arange(10), Sampling(12, 2, seed=0), with_examples=True)
    visits = np.zeros(50, int)
    for (_, example, counted), _ in batches.take(15):  # 150 of the stream of all examples: three passes.
        np.add.at(visits, example.numpy()[counted.numpy() == 1], 1)
    np.testing.assert_array_equal(visits, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_examples": None}, "needs the argument `num_examples`"),
        ({"num_examples": 0}, "`num_examples` must be positive"),
        ({"num_examples": 5, "ensembling_momentum": 1.0}, r"`momentum` must be in the range \[0, 1\)"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        keras_mt.MeanTeacher(small_convnet(), method="temporal_ensembling", **arguments)


def test_missing_indices_are_named(batch):
    images, labels = batch
    model = compiled(small_convnet())
    with pytest.raises(ValueError, match="needs the index of each example"):
        model.fit(images, labels, verbose=0, callbacks=[keras_mt.MeanTeacherCallback(1.0, verbose=False)])


def test_an_index_of_no_example_is_named(batch):
    images, labels = batch
    model = compiled(small_convnet())
    callback = keras_mt.MeanTeacherCallback(1.0, verbose=False)
    with pytest.raises(ValueError, match="from 0 to 31. Received: 32"):
        model.fit((images, np.arange(1, 33)), labels, verbose=0, callbacks=[callback])


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("wrong", [-1, 32])
def test_an_index_of_no_example_in_a_data_set_is_named_before_anything_is_remembered(wrong, jit_compile):
    student = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    model = keras_mt.MeanTeacher(student, method="temporal_ensembling", num_examples=32)
    model.compile(keras.optimizers.SGD(0.1), jit_compile=jit_compile)
    batch = (np.ones((8, 4), "float32"), np.array([*range(7), wrong])), np.arange(8) % 3
    data = tf.data.Dataset.from_tensors(batch)
    callback = keras_mt.MeanTeacherCallback(1.0, verbose=False)
    with pytest.raises(ValueError, match=f"^Indices of examples must be from 0 to 31. Received: {wrong}$"):
        model.fit(data, verbose=0, callbacks=[callback])
    assert not np.any(model.prediction_ensembles[0].visits)


@pytest.mark.slow
def test_xla_remembers_the_same(batch):
    images, labels = batch
    remembered = []
    for jit_compile in (False, True):
        keras.utils.set_random_seed(0)
        model = keras_mt.MeanTeacher(small_convnet(), method="temporal_ensembling", num_examples=32)
        model.compile(keras.optimizers.SGD(0.1), jit_compile=jit_compile)
        fit(model, images, labels, epochs=2, shuffle=False)
        remembered.append(model.prediction_ensembles[0].averages.numpy())
    np.testing.assert_allclose(*remembered, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_a_run_that_was_cut_off_remembers_what_it_had_seen(tmp_path):
    flags = [*TINY, "--method=temporal_ensembling", "--labeled_per_batch=2"]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert run_program("train", *flags, f"--run_dir={whole}").returncode == 0
    shutil.copytree(whole, cut)
    shutil.rmtree(cut / "checkpoints" / "step-12")
    process = run_program("train", *flags, f"--run_dir={cut}")
    assert process.returncode == 0, process.stderr
    assert "continues at step 8" in process.stdout
    assert "against remembered predictions (1198×10 numbers, momentum 0.6)" in process.stdout
    same_run(whole, cut)
    remembered = [
        tf.train.load_checkpoint(str(run / "checkpoints" / "step-12" / "state")).get_tensor(
            "prediction_ensemble/1/.ATTRIBUTES/VARIABLE_VALUE"
        )
        for run in (whole, cut)
    ]
    assert remembered[0].sum() == 12 * 18  # Visits: 18 of each batch of 20 are of the stream of all examples.
    np.testing.assert_array_equal(*remembered)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int64"])
def test_indices_of_any_integers_are_taken_and_others_are_refused(dtype):
    def fit(index):
        model = keras_mt.MeanTeacher(
            keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)]), method="temporal_ensembling", num_examples=8
        )
        model.compile("sgd")
        callback = keras_mt.MeanTeacherCallback(1.0, ema_decay=0.5, verbose=False)
        model.fit((np.ones((8, 4), "float32"), index), np.arange(8) % 3, batch_size=4, verbose=0, callbacks=[callback])
        return model.prediction_ensembles[0].visits.numpy()

    np.testing.assert_array_equal(fit(np.arange(8).astype(dtype)), np.ones(8))
    with pytest.raises(ValueError, match="Indices of examples must be integers. Received: float32"):
        fit(np.arange(8).astype("float32"))
