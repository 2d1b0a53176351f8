"""The teacher follows the student until the first step, and its `trainable` flags whenever a step is traced."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.dense_students import FEW, X, Y, compiled, fit, network, same_weights

import keras_mt

K, SGD = keras.layers, keras.optimizers.SGD
LOADED = [np.ones((4, 3), "float32"), np.full(3, 2.0, "float32")]


# Until the first step ----------------------------------------------------------------------------------------------


def saved(model, path):
    model.save(path)
    return keras.saving.load_model(path)


def test_a_student_that_is_loaded_after_an_untrained_model_was_reaches_the_teacher(tmp_path):
    model = saved(compiled(network()), tmp_path / "model.keras")
    model.student.set_weights(LOADED)
    fit(model)
    same_weights(model)

    compiled(network()).save_weights(tmp_path / "model.weights.h5")
    model = compiled(network())
    model.load_weights(tmp_path / "model.weights.h5")
    model.student.set_weights(LOADED)
    fit(model)
    same_weights(model)


def test_a_student_with_an_adapter_that_is_changed_after_loading_reaches_the_teacher(tmp_path):
    student = network()
    student.layers[0].enable_lora(2)
    student.layers[0].lora_kernel_b.assign(np.ones((2, 3)))
    model = saved(compiled(student), tmp_path / "model.keras")
    model.student.layers[0].bias.assign(LOADED[1])
    fit(model)
    same_weights(model)


@pytest.mark.parametrize("save", [lambda m, path: m.save(path), keras.saving.save_model])
def test_an_untrained_model_is_saved_with_the_student_that_it_has_now(save, tmp_path):
    model = compiled(network())
    model.student.set_weights(LOADED)
    save(model, tmp_path / "model.keras")
    same_weights(keras.saving.load_model(tmp_path / "model.keras"))


def test_nothing_is_copied_to_a_loaded_teacher_that_was_trained_or_given_weights(tmp_path):
    for trained in (True, False):
        model = compiled(network())
        if trained:
            fit(model)
        model.teacher.set_weights(LOADED)
        model = saved(model, tmp_path / "model.keras")
        model.student.set_weights([np.zeros((4, 3)), np.zeros(3)])
        np.testing.assert_array_equal(model.predict(X, verbose=0), X @ LOADED[0] + LOADED[1])
        fit(model, decay=0.75)
        np.testing.assert_allclose(model.teacher.get_weights()[1], 0.75 * LOADED[1])


def served(model, path):
    model.export(path, verbose=False)
    return tf.saved_model.load(path).serve(X)


ANSWERS = {
    "call": lambda model, path: model(X),
    "predict": lambda model, path: model.predict(X, verbose=0),
    "predict_on_batch": lambda model, path: model.predict_on_batch(X),
    "export": served,
}


@pytest.mark.parametrize("second", [None, 0.9], ids=["teacher", "second average"])
@pytest.mark.parametrize("how", ANSWERS)
def test_an_untrained_model_answers_as_its_student_does_now(how, second, tmp_path):
    model = compiled(network(), second_ema_decay=second)
    model.student.set_weights(LOADED)
    np.testing.assert_allclose(ANSWERS[how](model, str(tmp_path)), X @ LOADED[0] + LOADED[1], rtol=1e-5)


def test_an_untrained_model_is_evaluated_as_its_student_is_now_and_fit_still_says_so(capsys):
    layer = K.Normalization()
    model = compiled(network(layer))
    layer.adapt(50 * X + 1000)
    results = model.evaluate(50 * X + 1000, Y, verbose=0, return_dict=True)
    assert results["loss"] == results["student_loss"]
    model.fit(X, Y, verbose=2, callbacks=[keras_mt.MeanTeacherCallback(1.0, verbose=False)])
    assert "the teacher starts from them" in capsys.readouterr().out


def test_an_optimizer_that_has_trained_the_student_alone_is_no_training_of_the_teacher():
    student, optimizer = network(), SGD(0.1)
    student.compile(optimizer, loss="mse")
    model = keras_mt.MeanTeacher(student)
    student.fit(X, np.ones((12, 3)), verbose=0)
    optimizer.learning_rate = 0.0
    model.compile(optimizer, run_eagerly=True)
    fit(model)
    assert optimizer.iterations == 2
    same_weights(model)


def test_predictions_and_a_batch_by_hand_follow_the_student_under_a_strategy_too():
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        model = keras_mt.MeanTeacher(network())
        model.compile(SGD(0.0))
    model.student.set_weights(LOADED)
    np.testing.assert_allclose(model.predict(X, verbose=0), X @ LOADED[0] + LOADED[1], rtol=1e-5)
    model.student.set_weights([2 * weight for weight in LOADED])
    keras_mt.MeanTeacherCallback(1.0, verbose=False).set_model(model)
    model.train_on_batch(X, Y)
    same_weights(model)


class When(keras.callbacks.Callback):
    """Does something at the beginning of training, or of its first epoch."""

    def __init__(self, moment, what):
        super().__init__()
        setattr(self, moment, lambda *_: what())


@pytest.mark.parametrize("moment", ["on_train_begin", "on_epoch_begin"])
@pytest.mark.parametrize("second", [None, 0.9], ids=["teacher", "second average"])
def test_weights_that_a_callback_loads_before_the_first_step_reach_the_teacher(moment, second):
    model = compiled(network(), second_ema_decay=second)
    callbacks = [
        When(moment, lambda: model.student.set_weights(LOADED)),
        keras_mt.MeanTeacherCallback(1.0, verbose=False),
    ]
    model.fit(X, Y, verbose=0, callbacks=callbacks)
    same_weights(model)
    same_weights(model, model.predictor)


def test_weights_that_a_callback_gives_both_networks_before_the_first_step_are_kept():
    model = compiled(network())

    def both():
        model.student.set_weights(LOADED)
        model.teacher.set_weights([2.0 * weight for weight in LOADED])

    callback = keras_mt.MeanTeacherCallback(1.0, ema_decay=0.5, verbose=False)
    model.fit(X, Y, verbose=0, callbacks=[When("on_train_begin", both), callback])
    np.testing.assert_allclose(model.teacher.get_weights()[1], 1.5 * LOADED[1])


# A `teacher=` of other layers, flags of variables -------------------------------------------------------------------


def nested(*more):
    base = keras.Sequential([keras.Input((4,)), K.Dense(5), K.BatchNormalization(momentum=0.5)])
    return network(base, *more), base


@pytest.mark.parametrize("method", ["mean_teacher", "supervised"])
def test_what_is_frozen_stays_in_a_teacher_of_other_layers_and_lives_again(method):
    (student, base), (teacher, base_of_teacher) = nested(), nested(K.Dropout(0.0))
    base.trainable = False
    model = compiled(student, teacher=teacher, method=method)
    fit(model, 5 * X + 3, epochs=2)
    for trained in (base, base_of_teacher):
        np.testing.assert_array_equal(trained.layers[1].moving_variance, np.ones(5))
    base.trainable = True
    model.compile(SGD(0.0), run_eagerly=True)
    fit(model, 5 * X + 3, epochs=2)
    variance = base.layers[1].moving_variance.numpy()
    assert (variance != 1).all()
    np.testing.assert_allclose(base_of_teacher.layers[1].moving_variance, variance, rtol=1e-5)


def test_what_a_callback_unfreezes_lives_in_both_networks():
    student, base = nested()
    base.trainable = False
    model = keras_mt.MeanTeacher(student)
    model.compile(SGD(0.0))
    callbacks = [When("on_train_begin", lambda: setattr(base, "trainable", True)), keras_mt.MeanTeacherCallback(1.0)]
    model.fit(5 * X + 3, Y, verbose=0, callbacks=callbacks)
    variances = [network.layers[0].layers[1].moving_variance.numpy() for network in (student, model.teacher)]
    assert (variances[0] != 1).all()
    np.testing.assert_allclose(*variances, rtol=1e-5)


def test_what_is_frozen_between_two_fits_moves_in_neither_network_once_the_step_is_traced_anew():
    student = network(K.Dense(5), K.BatchNormalization(momentum=0.5))
    model = keras_mt.MeanTeacher(student)
    model.compile(SGD(0.0))
    fit(model)
    means = [network.layers[1].moving_mean for network in (student, model.teacher)]
    student.layers[1].trainable = False
    before = [mean.numpy() for mean in means]
    fit(model, 5 * X + 3, decay=0.5)  # Another decay: with it the step is traced anew.
    for mean, old in zip(means, before, strict=True):
        np.testing.assert_array_equal(mean.numpy(), old)


@keras.saving.register_keras_serializable("test_teacher_state")
class Both(K.Layer):
    """Holds what two layers of the student hold."""

    def build(self, shape):
        self.first, self.second = self.add_weight((4, 4)), self.add_weight((4, 3))

    def call(self, x):
        return x @ self.first @ self.second


def test_a_layer_of_the_teacher_that_can_not_be_frozen_by_halves_is_refused():
    student = keras.Sequential([keras.Input((4,)), K.Dense(4, use_bias=False), K.Dense(3, use_bias=False)])
    teacher = keras.Sequential([keras.Input((4,)), Both(name="both")])
    compiled(student, teacher=teacher)
    student.layers[0].trainable = False
    with pytest.raises(ValueError, match="layer 'both' holds the weights of several layers.*Received"):
        compiled(student, teacher=teacher)


@pytest.mark.parametrize("arguments", [{}, {"method": "supervised"}, {"method": "pi"}, {"separate_passes": 4}], ids=str)
def test_a_weight_that_is_frozen_by_its_own_flag_moves_in_neither_network(arguments):
    student = network(K.Dense(5), K.BatchNormalization(momentum=0.5))
    model = compiled(student, 0.5, **arguments)
    fit(model, X, FEW, decay=0.5)
    kernels = [n.layers[0].kernel for n in (model.student, model.teacher)]
    kernels[0].trainable = False
    before = [kernel.numpy() for kernel in kernels]
    model.compile(SGD(0.5), run_eagerly=True)
    assert not kernels[1].trainable
    fit(model, X, FEW, decay=0.5, epochs=2)
    for kernel, old in zip(kernels, before, strict=True):
        np.testing.assert_array_equal(kernel.numpy(), old)


def test_two_callbacks_in_one_fit_are_refused():
    callbacks = [keras_mt.MeanTeacherCallback(weight, verbose=False) for weight in (1.0, 2.0)]
    for given in (callbacks, keras.callbacks.CallbackList(callbacks)):
        with pytest.raises(ValueError, match="must hold one `MeanTeacherCallback`.*Received: 2"):
            compiled(network()).fit(X, Y, verbose=0, callbacks=given)
