"""What networks hold besides trained weights: adapters, statistics, counters, flags, states of recurrent layers."""

import keras
import numpy as np
import pytest
from support.dense_students import FEW, X, Y, compiled, fit, network, same_weights

import keras_mt

K, SGD = keras.layers, keras.optimizers.SGD
STEPS = np.random.default_rng(0).normal(size=(4, 5, 2)).astype("float32")


# Adapters ----------------------------------------------------------------------------------------------------------


def with_lora(kind):
    if kind == "Dense":
        student, x = network(), X
    else:
        student = keras.Sequential([keras.Input((2,), dtype="int32"), K.Embedding(5, 4), K.Flatten(), K.Dense(3)])
        x = np.random.default_rng(0).integers(0, 5, (12, 2))
    layer = student.layers[0]
    layer.enable_lora(2)
    b = layer.lora_kernel_b if kind == "Dense" else layer.lora_embeddings_b
    b.assign(np.ones(b.shape))
    return student, x


@pytest.mark.parametrize("kind", ["Dense", "Embedding"])
def test_a_trained_lora_adapter_is_the_teachers_weight_for_weight(kind):
    student, x = with_lora(kind)
    model = compiled(student)
    same_weights(model)
    fit(model, x, decay=0.5, epochs=3)
    same_weights(model)  # The student never moves: nor does the average of it.
    student.layers[-1].bias.assign([1.0, 2.0, 3.0])
    model.reset_teacher()
    same_weights(model)


# A teacher with weights of its own ---------------------------------------------------------------------------------

MOVES_STATISTICS = [
    {},
    {"teacher_statistics": "copy"},
    {"teacher_statistics": "ema"},
    {"separate_passes": 4},
    {"second_ema_decay": 0.9},
]


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("arguments", MOVES_STATISTICS, ids=str)
def test_nothing_moves_an_own_teacher_with_a_decay_of_one(arguments, frozen):
    student, teacher = network(K.BatchNormalization()), network(K.BatchNormalization())
    teacher.trainable = not frozen
    before = [w.numpy() for w in teacher.weights]
    model = compiled(student, 0.1, teacher=teacher, teacher_weights="own", **arguments)
    fit(model, X + 3, FEW, decay=1.0, epochs=2)
    for weight, old in zip(teacher.weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), old)
    assert all(layer.trainable != frozen for layer in teacher.layers)
    if model.average is not None:  # Its statistics belong to the student's weights, not to those of the teacher.
        np.testing.assert_array_equal(model.average.layers[0].moving_mean, student.layers[0].moving_mean)


@pytest.mark.parametrize("frozen", [False, True])
def test_a_frozen_own_teacher_answers_in_inference_mode_and_another_by_its_batch(frozen):
    student, teacher = network(K.BatchNormalization()), network(K.BatchNormalization())
    teacher.trainable = not frozen
    x = 5 * X + 3
    normalized = x if frozen else (x - x.mean(0)) / x.std(0)
    target = keras.ops.softmax(teacher.layers[1](normalized))
    difference = keras.ops.softmax(student.layers[1]((x - x.mean(0)) / x.std(0))) - target
    model = compiled(student, teacher=teacher, teacher_weights="own")
    cost = fit(model, x, FEW, decay=1.0).history["consistency_cost"][0]
    np.testing.assert_allclose(cost, keras.ops.mean(difference**2), rtol=2e-2)


def test_an_average_that_would_move_a_frozen_teacher_is_refused():
    teacher = network()
    teacher.trainable = False
    model = compiled(network(), teacher=teacher, teacher_weights="own")
    with pytest.raises(ValueError, match="`ema_decay` must be 1.0 for a teacher that is frozen.*Received"):
        fit(model)


def test_the_statistics_of_an_own_teacher_stay_while_the_decay_is_one_and_move_afterwards():
    student, teacher = network(K.BatchNormalization()), network(K.BatchNormalization())
    model = compiled(student, teacher=teacher, teacher_weights="own")
    callback = keras_mt.MeanTeacherCallback(
        1.0, rampup_steps=2, ema_decay_during_rampup=1.0, ema_decay=0.9, verbose=False
    )
    means = []
    for _ in range(3):
        model.fit(X + 3, Y, batch_size=12, verbose=0, shuffle=False, callbacks=[callback])
        means.append(teacher.layers[0].moving_mean.numpy())
    assert not means[1].any()
    np.testing.assert_allclose(means[2], 0.01 * (X + 3).mean(0), rtol=1e-4)


# State that is no floating point number, states of recurrent layers ------------------------------------------------


@keras.saving.register_keras_serializable("test_teacher_state")
class RunningMean(K.Layer):
    def build(self, shape):
        still = {"initializer": "zeros", "trainable": False}
        self.total = self.add_weight((shape[-1],), **still)
        self.count = self.add_weight((), dtype="int32", **still)
        self.done = self.add_weight((), dtype="bool", **still)

    def call(self, x, training=False):
        if training:
            self.total.assign_add(keras.ops.sum(x, axis=0))
            self.count.assign_add(keras.ops.shape(x)[0])
            self.done.assign(True)
        return x - self.total / keras.ops.cast(keras.ops.maximum(self.count, 1), "float32")


WAYS = {
    "mean_teacher": {},
    "supervised": {"method": "supervised"},
    "pi": {"method": "pi"},
    "vat": {"method": "vat", "perturbation": keras_mt.VirtualAdversarial(0.5)},
    "second average": {"second_ema_decay": 0.9},
}


@pytest.mark.parametrize("way", WAYS)
def test_counters_and_flags_move_once_a_step_and_are_the_teachers(way):
    model = compiled(network(RunningMean()), **WAYS[way])
    fit(model, X + 3, FEW, epochs=2)
    for net in model._networks().values():
        layer = net.layers[0]
        assert (int(layer.count.numpy()), bool(layer.done.numpy())) == (24, True), net.name
        # Of the examples as the student sees them, which are perturbed in one way.
        np.testing.assert_allclose(layer.total, 2 * (X + 3).sum(0), rtol=2e-2 if way == "vat" else 1e-5)


def test_counters_are_copied_beside_averaged_statistics():
    model = compiled(network(RunningMean()), teacher_statistics="ema")
    fit(model, X + 3, FEW, decay=0.75)
    assert int(model.teacher.layers[0].count.numpy()) == 12
    np.testing.assert_allclose(model.teacher.layers[0].total, 0.25 * (X + 3).sum(0), rtol=1e-5)


def stateful():
    inputs = keras.Input(batch_shape=STEPS.shape)
    return keras.Model(inputs, K.Dense(3)(K.LSTM(4, stateful=True)(inputs)))


def states(network):
    return [state.numpy() for state in network.layers[1].states]


@pytest.mark.parametrize("way", WAYS)
def test_states_of_recurrent_layers_move_once_a_step_and_are_the_teachers(way):
    student = stateful()
    plain = keras.models.clone_model(student)
    plain.set_weights(student.get_weights())
    model = compiled(student, **WAYS[way])
    fit(model, STEPS, np.arange(4) % 3, epochs=2)
    for _ in range(2):
        plain(STEPS)
    for net in model._networks().values():
        for got, right in zip(states(net), states(plain), strict=True):
            np.testing.assert_allclose(got, right, atol=1e-6, err_msg=net.name)


def test_a_stateful_student_that_has_been_used_is_copied_with_its_states():
    student = stateful()
    student(STEPS)
    model = compiled(student)
    student(STEPS)
    fit(model, STEPS, np.arange(4) % 3)
    for got, right in zip(states(model.teacher), states(student), strict=True):
        np.testing.assert_allclose(got, right, atol=1e-6)


def test_predictions_of_an_untrained_stateful_model_go_on_from_one_to_the_next():
    student = stateful()
    plain = keras.models.clone_model(student)
    plain.set_weights(student.get_weights())
    model = compiled(student)
    for _ in range(2):
        np.testing.assert_allclose(model.predict(STEPS, batch_size=4, verbose=0), plain(STEPS), atol=1e-6)
