"""Averages beyond one decay: warm-up by a power, every k steps, a late start, a second average, statistics anew."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.small_students import examples, largest, linear, noisy, one_step

import keras_mt
from keras_mt.schedules import EMADecay


def weights_of_steps(steps, **arguments):
    """The student's and the teacher's weights after each step of one training."""
    x, y = examples()
    history = []
    for k in range(1, steps + 1):
        model, _ = one_step(linear(), x, y, steps=k, learning_rate=0.5, **arguments)
        history.append((model.student.get_weights()[0], model.teacher.get_weights()[0], model))
    return history


def test_the_warm_up_by_a_power_is_its_formula():
    steps = np.arange(50)
    decay = EMADecay(0.9, 0.9, 0, warmup=0.75)
    expected = np.minimum(0.9, 1 - (2.0 + steps) ** -0.75)
    np.testing.assert_allclose([float(decay(step)) for step in steps], expected, rtol=1e-6)
    plain, power = EMADecay(0.9, 0.9, 0, warmup=True), EMADecay(0.9, 0.9, 0, warmup=1.0)
    assert [float(plain(step)) for step in steps] == [float(power(step)) for step in steps]


def test_an_average_of_every_third_step_waits_in_between():
    history = weights_of_steps(6, callback={"ema_every": 3})
    start = linear().get_weights()[0]
    for step, (_, teacher, _) in enumerate(history[:2], 1):
        np.testing.assert_array_equal(teacher, start, err_msg=str(step))
    np.testing.assert_allclose(history[2][1], 0.5 * start + 0.5 * history[2][0], atol=1e-6)
    np.testing.assert_array_equal(history[4][1], history[2][1])
    np.testing.assert_allclose(history[5][1], 0.5 * history[2][1] + 0.5 * history[5][0], atol=1e-6)


def test_a_late_average_starts_from_a_copy_to_the_last_bit():
    x, y = examples()
    for steps in (1, 2, 3):
        model, logs = one_step(noisy(), x, y, steps=steps, callback={"ema_start_step": 2})
        pairs = list(zip(model.student.weights, model.teacher.weights, strict=True))
        same = [np.array_equal(s.numpy(), t.numpy()) for s, t in pairs]
        assert all(same) if steps <= 2 else not any(s for s, (w, _) in zip(same, pairs, strict=True) if w.trainable)
        assert logs["ema_decay"] == (0.0 if steps <= 2 else 0.5)


def test_the_second_average_is_the_mean_of_all_students_and_predicts():
    """A decay near 1 with its warm-up: the start and the students of four steps, all with the same weight."""
    history = weights_of_steps(4, second_ema_decay=0.9999)
    model = history[-1][2]
    mean = np.mean([linear().get_weights()[0], *(student for student, _, _ in history)], axis=0)
    np.testing.assert_allclose(model.average.get_weights()[0], mean, atol=1e-5)
    x, y = examples()
    np.testing.assert_array_equal(model.predict(x, verbose=0), model.average.predict(x, verbose=0))
    results = model.evaluate(x, y, verbose=0, return_dict=True)
    assert {"average_error", "teacher_error", "student_error", "teacher_loss", "student_loss", "loss"} <= set(results)


def test_the_second_average_goes_on_where_it_was_after_another_compile(tmp_path):
    """As where a backbone is unfrozen: the start, four students, and two of the second training, all alike."""
    x, y = examples()
    model, _ = one_step(linear(), x, y, steps=4, method="supervised", second_ema_decay=0.9999)
    mean = model.average.get_weights()[0]
    model.save(tmp_path / "model.keras")
    for again in (model, keras.models.load_model(tmp_path / "model.keras")):
        again.compile(keras.optimizers.SGD(0.1, gradient_accumulation_steps=2))
        students = []
        for _ in range(4):  # Two steps of the optimizer.
            again.train_on_batch(x, y)
            students.append(again.student.get_weights()[0])
        expected = (5 * mean + students[1] + students[3]) / 7
        np.testing.assert_allclose(again.average.get_weights()[0], expected, atol=1e-5)


def test_the_second_average_starts_from_the_student_where_the_teacher_has_weights_of_its_own():
    student, teacher = linear(seed=1), linear(seed=2)
    model = keras_mt.MeanTeacher(student, teacher=teacher, teacher_weights="own", second_ema_decay=0.9)
    for network, seed in ((model.average, 1), (model.teacher, 2)):
        np.testing.assert_array_equal(network.get_weights()[0], linear(seed=seed).get_weights()[0])
    model.compile("sgd")
    student.set_weights(linear(seed=3).get_weights())
    x, y = examples()
    keras_mt.MeanTeacherCallback(1.0, ema_decay=1.0, verbose=False).set_model(model)
    model.optimizer.learning_rate = 0.0  # Nothing moves but what is copied before the first step.
    model.train_on_batch(x, y)
    np.testing.assert_allclose(model.average.get_weights()[0], linear(seed=3).get_weights()[0], rtol=1e-6)
    np.testing.assert_array_equal(model.teacher.get_weights()[0], linear(seed=2).get_weights()[0])


@keras.saving.register_keras_serializable("tests")
class Shifted(keras.Layer):
    """What it adds is in no config, so that a clone of it adds nothing."""

    shift = 0.0

    def call(self, inputs):
        return inputs + self.shift


def test_a_second_average_that_answers_otherwise_than_the_student_is_refused():
    def made():
        network = keras.Sequential([keras.Input((5,)), Shifted(), keras.layers.Dense(3)])
        network.layers[0].shift = 1.0
        return network

    model = keras_mt.MeanTeacher(made(), teacher=made(), second_ema_decay=0.9)
    model.compile("sgd")
    with pytest.raises(ValueError, match="answers otherwise than the student"):
        model.train_on_batch(*examples())


@pytest.mark.parametrize("dtype", ["bfloat16", "float64"])
@pytest.mark.parametrize("rule", ["own", "ema", "copy"])
def test_a_late_average_is_a_copy_in_each_dtype_and_under_each_rule(dtype, rule):
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(8, dtype=dtype), keras.layers.BatchNormalization(dtype=dtype)]
    student = keras.Sequential([keras.Input((5,)), *layers, keras.layers.Dense(3, dtype=dtype)])
    x, y = examples()
    model, _ = one_step(student, x, y, steps=2, callback={"ema_start_step": 2}, teacher_statistics=rule)
    for weight, copied in zip(model.student.weights, model.teacher.weights, strict=True):
        np.testing.assert_array_equal(copied.numpy(), weight.numpy(), err_msg=weight.path)


def test_a_model_with_a_second_average_is_saved_and_goes_on_to_the_same_bits(tmp_path):
    x, y = examples()

    def new():
        model = keras_mt.MeanTeacher(noisy(), second_ema_decay=0.9)
        model.compile(keras.optimizers.SGD(0.1, momentum=0.9))
        return model

    def fitted(model, epochs, **arguments):
        arguments.setdefault("ema_every", 2)
        callback = keras_mt.MeanTeacherCallback(2.0, ema_decay=0.5, verbose=False, ema_warmup=0.75, **arguments)
        model.fit(x, y, batch_size=12, shuffle=False, epochs=epochs, verbose=0, callbacks=[callback])
        return model

    fitted(new(), 3).save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert largest(fitted(again, 2), fitted(new(), 5)) == 0


def test_several_steps_an_execution_give_the_same_averages():
    x, y = examples(rows=24)
    models = []
    for steps in (1, 4):
        model = keras_mt.MeanTeacher(noisy(), second_ema_decay=0.9)
        model.compile(keras.optimizers.SGD(0.1), steps_per_execution=steps)
        callback = keras_mt.MeanTeacherCallback(2.0, ema_decay=0.5, verbose=False, ema_every=3, ema_start_step=2)
        data = tf.data.Dataset.from_tensor_slices((x, y)).batch(12).repeat(4)
        model.fit(data, verbose=0, callbacks=[callback], shuffle=False)
        models.append(model)
    assert largest(*models) == 0


def test_statistics_made_anew_are_the_means_over_batches():
    student = keras.Sequential([keras.Input((5,)), keras.layers.BatchNormalization(), keras.layers.Dense(3)])
    model = keras_mt.MeanTeacher(student)
    x = np.random.default_rng(0).normal(2.0, 3.0, size=(40, 5)).astype("float32")
    before = model.teacher.get_weights()
    model.recompute_statistics(tf.data.Dataset.from_tensor_slices(x).batch(10))
    normalization = model.teacher.layers[0]
    parts = x.reshape(4, 10, 5)
    np.testing.assert_allclose(normalization.moving_mean.numpy(), parts.mean(axis=1).mean(axis=0), rtol=1e-4)
    np.testing.assert_allclose(normalization.moving_variance.numpy(), parts.var(axis=1).mean(axis=0), rtol=1e-4)
    assert normalization.momentum == 0.99
    np.testing.assert_array_equal(model.teacher.get_weights()[-1], before[-1])
    with pytest.raises(ValueError, match="at least one batch"):
        model.recompute_statistics([])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"ema_warmup": 1.5}, "ema_warmup"),
        ({"ema_every": 0}, "ema_every"),
        ({"ema_start_step": -1}, "ema_start_step"),
    ],
)
def test_numbers_out_of_range_are_refused(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        keras_mt.MeanTeacherCallback(1.0, **arguments)
    with pytest.raises(ValueError, match="second_ema_decay"):
        keras_mt.MeanTeacher(linear(), second_ema_decay=1.0)


# Which rows the teacher sees, and whose statistics it has ----------------------------------------------------------


def test_a_teacher_that_sees_unlabeled_rows_alone_gives_the_same_costs():
    x, y = examples()
    arguments = {"consistency_on_labeled": False}
    whole, logs = one_step(linear(), x, y, steps=3, **arguments)
    part, of_part = one_step(linear(), x, y, steps=3, teacher_sees="unlabeled", **arguments)
    assert largest(whole, part) < 1e-6
    np.testing.assert_allclose(of_part["consistency_cost"], logs["consistency_cost"], rtol=1e-5)
    assert "teacher_error" in logs
    assert "teacher_error" not in of_part


@pytest.mark.parametrize("method", ["mean_teacher", "pi"])
def test_a_batch_without_unlabeled_rows_is_trained_too(method):
    x, y = examples(labeled=12)
    _, logs = one_step(
        noisy(), x, y, teacher_sees="unlabeled", consistency_on_labeled=False, method=method, reduction="labeled"
    )
    assert np.isfinite(logs["loss"])
    assert logs["consistency_cost"] == 0


def test_the_statistics_of_the_target_domain_are_those_of_unlabeled_rows():
    x, y = examples()
    x[4:] += 10.0
    student = keras.Sequential(
        [keras.Input((5,)), keras.layers.BatchNormalization(momentum=0.0), keras.layers.Dense(3)]
    )
    model, _ = one_step(student, x, y, separate_passes=4, statistics_of="unlabeled")
    for network in (model.student, model.teacher):
        np.testing.assert_allclose(network.layers[0].moving_mean.numpy(), x[4:].mean(axis=0), rtol=1e-5)
    model, _ = one_step(student, x, y, separate_passes=4)
    for network in (model.student, model.teacher):
        np.testing.assert_allclose(network.layers[0].moving_mean.numpy(), x[:4].mean(axis=0), rtol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"teacher_sees": "unlabeled"}, "needs consistency_on_labeled=False"),
        ({"statistics_of": "unlabeled"}, "needs `separate_passes`"),
        ({"class_balance": 1.0, "task": "regression"}, "outputs of classes"),
        ({"class_balance": -1.0}, "must not be negative"),
        ({"teacher_augmentation": lambda x: x, "method": "supervised"}, "pass for the target"),
        ({"student_augmentation": lambda x: x, "two_views": True}, "exclude each other"),
    ],
)
def test_options_that_contradict_each_other_are_refused_when_they_are_built(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        keras_mt.MeanTeacher(linear(), **arguments)


def test_the_cost_of_class_balance_is_that_of_numpy():
    x, y = examples()
    kernel, bias = linear().get_weights()
    probabilities = 1 / (1 + 0 * x[:, :1]) * np.exp(x @ kernel + bias)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    sure = (probabilities.max(axis=1) >= 0.7)[y < 0]
    balance = -np.log(probabilities[y < 0].mean(axis=0)).sum() * sure.mean()
    confident = keras_mt.losses.Confident("mse", 0.7)
    _, logs = one_step(linear(), x, y, consistency=confident, class_balance=0.01)
    np.testing.assert_allclose(logs["consistency_cost"], 2.0 * 0.01 * balance, rtol=1e-4)


def test_the_cost_of_class_balance_has_the_weight_of_its_output():
    inputs = keras.Input((5,))
    student = keras.Model(inputs, {name: keras.layers.Dense(3)(inputs) for name in ("a", "b")})
    x, labels = examples()
    y = {"a": labels, "b": labels}
    _, logs = one_step(student, x, y, class_balance=0.1, consistency_weights={"a": 1.0, "b": 0.0})
    assert logs["a_consistency_cost"] > 0
    assert logs["b_consistency_cost"] == 0


def test_strong_views_are_the_students_and_weak_ones_the_teachers():
    x, y = examples()
    kernel, bias = linear().get_weights()

    def softmax(logits):
        return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)

    _, logs = one_step(
        linear(), x, y, augmentation=lambda v: v + 1.0, student_augmentation=lambda v: 2.0 * v,
        teacher_augmentation=lambda v: v - 0.5,
    )  # fmt: skip
    student, teacher = softmax(2.0 * (x + 1.0) @ kernel + bias), softmax((x + 0.5) @ kernel + bias)
    np.testing.assert_allclose(logs["consistency_cost"], 2.0 * ((student - teacher) ** 2).mean(), rtol=1e-3)


def test_class_balance_is_trained_in_float64():
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    model = keras_mt.MeanTeacher(
        keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)]),
        class_balance=0.1,
        consistency_on_labeled=False,
    )
    model.compile("sgd", run_eagerly=True)
    callback = keras_mt.MeanTeacherCallback(1.0, verbose=False)
    history = model.fit(np.eye(4), np.array([0, 1, 2, -1]), callbacks=[callback], verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert history["consistency_cost"][0] > 0


# Too few steps for a decay ----------------------------------------------------------------------------------------


def heard(monkeypatch, method="mean_teacher", after=0, **callback):
    """What a callback warns of at the beginning of a fit of 40 steps, after so many of earlier ones."""
    sentences = []
    monkeypatch.setattr("keras_mt.callback.warnings.warn", lambda sentence, **_: sentences.append(sentence))
    model = keras_mt.MeanTeacher(keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)]), method=method)
    model.compile()
    model.optimizer.iterations.assign(after)
    of_fit = keras.callbacks.CallbackList(
        [keras_mt.MeanTeacherCallback(1.0, verbose=False, **callback)], model=model, epochs=10, steps=4
    )
    of_fit.on_train_begin()
    return [sentence for sentence in sentences if "weights it began with" in sentence]


@pytest.mark.parametrize(
    ("callback", "share"),
    [({}, 96), ({"ema_decay": 0.99}, 67), ({"ema_decay_during_rampup": 0.9, "rampup_steps": 2}, 78)],
)
def test_a_decay_with_which_the_first_weights_stay_is_warned_of(monkeypatch, callback, share):
    (sentence,) = heard(monkeypatch, **callback)
    assert f"After 40 steps with ema_decay={callback.get('ema_decay', 0.999):g} {share} % of the teacher" in sentence
    assert "a decay of at most 0.92 or" in sentence


def test_the_share_is_what_is_left_of_them(monkeypatch):
    (sentence,) = heard(monkeypatch, method="supervised", ema_decay=0.97)
    assert f"{100 * 0.97**40:.0f} % of the average" in sentence


@pytest.mark.parametrize("callback", [{"ema_decay": 0.92}, {"ema_warmup": True}, {"ema_start_step": 30}])
def test_what_the_warning_advises_is_not_warned_of(monkeypatch, callback):
    assert not heard(monkeypatch, **callback)


def test_steps_of_earlier_fits_count(monkeypatch):
    (sentence,) = heard(monkeypatch, after=40, ema_decay=0.985)
    assert "After 80 steps" in sentence
    assert not heard(monkeypatch, after=80, ema_decay=0.985)


def test_a_decay_for_a_long_run_is_not_warned_of(monkeypatch):
    assert not heard(monkeypatch, after=499_960, ema_decay=0.99999)
    assert not heard(monkeypatch, after=2_000_000, ema_decay=0.999999)
