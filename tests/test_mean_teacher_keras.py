"""`MeanTeacher` is a Keras model: what Keras users do with a model works."""

import json
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.networks import small_convnet, values

import keras_mt


def plain_model(**last):
    return keras.Sequential(
        [
            keras.Input((12, 12, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(16, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.3),
            keras.layers.Dense(4, **last),
        ]
    )


def callback(weight=5.0, **kwargs):
    return keras_mt.MeanTeacherCallback(weight, verbose=False, **kwargs)


def test_fit_evaluate_and_predict_a_plain_keras_model_on_numpy_data(batch):
    images, labels = batch
    model = keras_mt.MeanTeacher(plain_model())
    model.compile("adam", metrics=["accuracy"])
    shown = labels >= 0
    history = model.fit(
        images, labels, batch_size=16, epochs=2, verbose=0, callbacks=[callback()],
        validation_data=(images[shown], labels[shown]),
    ).history  # fmt: skip
    trained = {"loss", "classification_cost", "consistency_cost", "consistency_weight", "ema_decay", "student_error"}
    assert trained | {"teacher_error", "accuracy", "labeled_per_batch", "teacher_student_distance"} <= set(history)
    evaluated = {"val_loss", "val_student_loss", "val_student_error", "val_teacher_error", "val_accuracy"}
    assert {name for name in history if name.startswith("val_")} == evaluated
    results = model.evaluate(images[shown], labels[shown], verbose=0, return_dict=True)
    np.testing.assert_allclose(results["teacher_error"], 1 - results["accuracy"], rtol=1e-5)
    np.testing.assert_array_equal(model.predict(images, verbose=0), model(images).numpy())
    np.testing.assert_allclose(model(images), model.teacher(images, training=False), rtol=1e-5)


def test_both_errors_are_measured_on_labeled_examples_only(batch):
    images, labels = batch
    model = keras_mt.MeanTeacher(plain_model())
    model.compile("sgd")
    results = model.evaluate(images, labels, verbose=0, return_dict=True)
    predicted = model.predict(images[:8], verbose=0).argmax(axis=1)
    np.testing.assert_allclose(results["teacher_error"], (predicted != labels[:8]).mean())
    assert results["student_error"] == results["teacher_error"]


def test_saving_and_loading_keeps_networks_optimizer_and_settings(batch, tmp_path):
    images, labels = batch
    model = keras_mt.MeanTeacher(
        small_convnet(num_heads=2),
        consistency=0.3,
        consistency_on_labeled=False,
        two_heads=True,
        logit_distance_weight=0.1,
        seed=5,
    )
    model.compile(keras_mt.optimizers.ScheduledAdam(0.01), metrics=["accuracy"])
    model.fit(images, labels, verbose=0, callbacks=[callback()])
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert json.dumps(again.get_config()) == json.dumps(model.get_config())
    for a, b in zip(values(model.weights), values(again.weights), strict=True):
        np.testing.assert_array_equal(a, b)
    results = []
    for network in (model, again):
        network.fit(images, labels, verbose=0, callbacks=[callback()])
        results.append(network.predict(images, verbose=0))
    np.testing.assert_allclose(*results, rtol=1e-4, atol=1e-5)


def test_the_teacher_can_be_a_network_of_its_own(batch):
    model = keras_mt.MeanTeacher(small_convnet(dropout=0.5), small_convnet(dropout=0.0))
    for student, teacher in zip(values(model.student.weights), values(model.teacher.weights), strict=True):
        np.testing.assert_array_equal(student, teacher)


def test_a_subclassed_student_works_once_it_is_built(batch):
    @keras.saving.register_keras_serializable(package="keras_mt_tests")
    class Student(keras.Model):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.flatten, self.dense = keras.layers.Flatten(), keras.layers.Dense(4)

        def call(self, inputs):
            return self.dense(self.flatten(inputs))

    images, labels = batch
    student = Student()
    with pytest.raises(ValueError, match="must be built"):
        keras_mt.MeanTeacher(student)
    student(images)
    model = keras_mt.MeanTeacher(student)
    model.compile("sgd")
    model.fit(images, labels, verbose=0, callbacks=[callback()])


def test_softmax_outputs_give_what_logits_give(batch):
    images, labels = batch
    logs = []
    for activation in (None, "softmax"):
        keras.utils.set_random_seed(3)
        model = keras_mt.MeanTeacher(plain_model(activation=activation), from_logits=activation is None)
        model.compile("sgd")
        callback().set_model(model)
        logs.append(model.train_on_batch(images, labels, return_dict=True))
    for name in ("classification_cost", "consistency_cost"):
        np.testing.assert_allclose(logs[0][name], logs[1][name], rtol=1e-3)


def test_regularizers_of_the_student_count_once(batch):
    images, labels = batch
    model = keras_mt.MeanTeacher(plain_model(kernel_regularizer=keras.regularizers.L2(0.1)), method="supervised")
    model.compile("sgd")
    expected = 0.1 * float(tf.reduce_sum(model.student.layers[-1].kernel ** 2))
    logs = model.train_on_batch(images, np.full_like(labels, -1), return_dict=True)
    np.testing.assert_allclose(logs["classification_cost"], expected, rtol=1e-5)


def test_fit_without_the_callback_says_that_it_is_supervised(batch):
    images, labels = batch
    model = keras_mt.MeanTeacher(plain_model())
    model.compile("sgd")
    with pytest.warns(UserWarning, match="labels alone.*MeanTeacherCallback"):
        model.fit(images, labels, verbose=0)


def test_a_weight_of_zero_says_that_it_is_supervised(batch):
    images, labels = batch
    model = keras_mt.MeanTeacher(plain_model())
    model.compile("sgd")
    with pytest.warns(UserWarning, match="labels alone.*consistency_weight=0"):
        model.fit(images, labels, verbose=0, callbacks=[callback(weight=0.0)])


def test_a_supervised_run_that_was_asked_for_is_quiet(batch):
    images, labels = batch
    model = keras_mt.MeanTeacher(plain_model(), method="supervised")
    model.compile("sgd")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(images, labels, verbose=0)


def test_training_begins_with_a_line_that_says_what_is_in_force(batch, capsys):
    images, labels = batch
    model = keras_mt.MeanTeacher(plain_model(), consistency_on_labeled=False)
    model.compile("sgd")
    settings = keras_mt.MeanTeacherCallback(7.5, 40, 0.999, 0.99, ema_warmup=True)
    model.fit(images, labels, verbose=0, callbacks=[settings])
    line = capsys.readouterr().out
    for part in ("mean_teacher", "weight 7.5", "over 40 steps", "mse", "unlabeled", "0.99 for 40 steps, then 0.999",
                 "warmed up", "divided by the batch", "the teacher predicts"):  # fmt: skip
        assert part in line


def test_the_distance_between_teacher_and_student_is_logged(batch):
    images, labels = batch
    model = keras_mt.MeanTeacher(plain_model())
    model.compile(keras.optimizers.SGD(0.1))
    history = model.fit(images, labels, verbose=0, callbacks=[callback(ema_decay=0.5)]).history
    squares = [np.sum((s.numpy() - t.numpy()) ** 2) for s, t in zip(
        model.student.trainable_variables, model.teacher.trainable_variables, strict=True)]  # fmt: skip
    np.testing.assert_allclose(history["teacher_student_distance"], [np.sqrt(np.sum(squares))], rtol=1e-5)


def test_new_schedules_take_effect_in_the_next_fit(batch):
    images, labels = batch
    model = keras_mt.MeanTeacher(plain_model())
    model.compile("sgd")
    for weight in (1.0, 2.0):
        history = model.fit(images, labels, verbose=0, callbacks=[callback(weight)]).history
        np.testing.assert_allclose(history["consistency_weight"], [weight])


def test_schedules_begin_again_with_a_new_optimizer_and_go_on_with_the_same_and_the_average_always_goes_on(batch):
    """What the guide says of recompiling. One step an epoch, so that the log shows each step's weight and decay."""
    schedule = {"consistency_weight": 2.0, "rampup_steps": 8, "ema_decay": 0.9, "ema_decay_during_rampup": 0.5}
    model = keras_mt.MeanTeacher(
        keras.Sequential([keras.Input((12, 12, 1)), keras.layers.Flatten(), keras.layers.Dense(4)])
    )

    def fitted(optimizer=None, **changes):
        if optimizer is not None:
            model.compile(optimizer, run_eagerly=True)
        callback = keras_mt.MeanTeacherCallback(**(schedule | changes), verbose=False)
        before = model.teacher.get_weights()
        history = model.fit(*batch, batch_size=32, epochs=3, callbacks=[callback], verbose=0).history
        moved = [w - b for w, b in zip(model.teacher.get_weights(), before, strict=True)]
        return history["consistency_weight"], history["ema_decay"], max(np.abs(m).max() for m in moved)

    ramp = 2.0 * np.exp(-5.0 * (1.0 - np.arange(9) / 8.0) ** 2)
    first = keras.optimizers.SGD(0.1)
    np.testing.assert_allclose(fitted(first)[0], ramp[:3], rtol=1e-5)
    np.testing.assert_allclose(fitted()[0], ramp[3:6], rtol=1e-5)  # Fitted again: it goes on.
    weights, decays, _ = fitted(first)  # Compiled again with the same optimizer: it goes on.
    np.testing.assert_allclose(weights, ramp[6:9], rtol=1e-5)
    np.testing.assert_allclose(decays, [0.5, 0.5, 0.9], rtol=1e-5)
    assert model.teacher_distance() > 1e-3
    weights, decays, moved = fitted(keras.optimizers.SGD(0.0))  # A new one: it begins again.
    np.testing.assert_allclose(weights, ramp[:3], rtol=1e-5)
    np.testing.assert_allclose(decays, [0.5, 0.5, 0.5], rtol=1e-5)
    student, teacher = (n.trainable_variables for n in (model.student, model.teacher))
    left = max(float(np.abs(a - b).max()) for a, b in zip(student, teacher, strict=True))
    assert 0 < left < moved  # An average that halves what is left each step, not a copy of the student.
    weights, decays, _ = fitted(keras.optimizers.SGD(0.0), rampup_steps=0)
    np.testing.assert_allclose((weights, decays), [[2.0] * 3, [0.9] * 3], rtol=1e-5)


def test_reset_teacher_makes_the_twins_equal(batch):
    images, labels = batch
    model = keras_mt.MeanTeacher(plain_model())
    model.compile(keras.optimizers.SGD(0.5))
    model.fit(images, labels, verbose=0, callbacks=[callback()])
    assert model.teacher_distance() > 0
    model.reset_teacher()
    assert model.teacher_distance() == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "temporal"}, "method='temporal'"),
        ({"consistency": "l1"}, "consistency='l1'"),
        ({"teacher_statistics": "none"}, "teacher_statistics='none'"),
        ({"logit_distance_weight": -1.0}, r"logit_distance_weight=-1\.0"),
        ({"logit_distance_weight": 1.0}, "two heads"),
        ({"teacher": "small"}, "Argument `teacher`"),
        ({"teacher": "same"}, "share weights"),
        ({"student": "softmax"}, "from_logits"),
    ],
)
def test_bad_arguments_of_mean_teacher_are_named(arguments, message):
    student = plain_model(activation="softmax" if arguments.pop("student", None) else None)
    teacher = {"small": small_convnet(), "same": student}.get(arguments.get("teacher"))
    with pytest.raises(ValueError, match=message):
        keras_mt.MeanTeacher(student, **{**arguments, "teacher": teacher})


@pytest.mark.parametrize(
    "arguments",
    [
        {"consistency_weight": -1.0},
        {"consistency_weight": float("nan")},
        {"rampup_steps": -5},
        {"ema_decay": 1.5},
        {"ema_decay_during_rampup": -0.1},
    ],
)
def test_bad_arguments_of_the_callback_are_named(arguments):
    with pytest.raises(ValueError, match=f"{next(iter(arguments))}.*Received"):
        keras_mt.MeanTeacherCallback(**{"consistency_weight": 1.0, **arguments})


def test_the_callback_refuses_another_model():
    with pytest.raises(ValueError, match="Sequential"):
        callback().set_model(plain_model())


def test_layers_that_a_callback_unfreezes_when_training_begins_are_trained():
    student = keras.Sequential([keras.Input((6,)), keras.layers.Dense(5, name="first"), keras.layers.Dense(3)])
    student.get_layer("first").trainable = False
    model = keras_mt.MeanTeacher(student)
    model.compile("adam")
    frozen = student.get_layer("first").kernel.numpy()

    class Unfreeze(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            student.get_layer("first").trainable = True

    x, y = np.random.default_rng(0).normal(size=(16, 6)).astype("float32"), np.arange(16) % 3
    callbacks = [keras_mt.MeanTeacherCallback(1.0, ema_decay=0.5, verbose=False), Unfreeze()]
    model.fit(x, y, verbose=0, callbacks=callbacks)
    assert np.abs(student.get_layer("first").kernel.numpy() - frozen).max() > 0


def test_a_student_that_is_unfrozen_after_a_first_fit_trains_then():
    student = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3)])
    student.trainable = False
    model = keras_mt.MeanTeacher(student)
    model.compile("adam")
    x, y = np.random.default_rng(0).normal(size=(16, 6)).astype("float32"), np.arange(16) % 3
    callback = keras_mt.MeanTeacherCallback(1.0, ema_decay=0.5, verbose=False)
    with pytest.warns(UserWarning, match="no trainable weights"):
        model.fit(x, y, verbose=0, callbacks=[callback])
    student.trainable, before = True, student.get_weights()[0]
    callback = keras_mt.MeanTeacherCallback(2.0, ema_decay=0.5, verbose=False)  # With which the step is traced anew.
    model.fit(x, y, verbose=0, callbacks=[callback])
    assert np.abs(student.get_weights()[0] - before).max() > 0
