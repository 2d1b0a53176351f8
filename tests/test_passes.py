"""Laws of the later protocol: labeled and unlabeled rows pass apart.

TorchSSL's successor took the student's side of the consistency cost from the teacher's pass, so that nothing flowed,
and published the results (https://github.com/microsoft/Semi-supervised-learning). So here too: consistency alone moves
the student.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.networks import largest_difference, values

import keras_mt


def network():
    return keras.Sequential(
        [
            keras.Input((5,)),
            keras.layers.Dense(8),
            keras.layers.BatchNormalization(momentum=0.5),
            keras.layers.LeakyReLU(0.1),
            keras_mt.layers.Dropout(0.3),
            keras.layers.Dense(3),
        ]
    )


@pytest.fixture
def rows():
    random = np.random.default_rng(0)
    x = random.normal(size=(12, 5)).astype("float32")
    x[4:] += 10.0  # Unlabeled rows have other statistics.
    return x, np.array([0, 1, 2, 1] + [-1] * 8)


def trained(rows, weight=1.0, loss=None, steps=1, **arguments):
    keras.utils.set_random_seed(1)
    arguments = {"separate_passes": 4, "reduction": "labeled", "teacher_statistics": "copy", **arguments}
    model = keras_mt.MeanTeacher(network(), **arguments)
    model.compile(keras.optimizers.SGD(0.1), loss=loss)
    callback = keras_mt.MeanTeacherCallback(weight, ema_decay=0.5, verbose=False)
    before = values(model.student.weights)
    data = tf.data.Dataset.from_tensors(rows).repeat(steps)
    history = model.fit(data, verbose=0, callbacks=[callback], shuffle=False).history
    return model, before, history


@keras.saving.register_keras_serializable(package="tests")
class NoCost(keras.losses.Loss):
    def call(self, y_true, y_pred):
        return 0.0 * keras.ops.sum(y_pred, axis=-1)


@pytest.mark.parametrize("method", ["mean_teacher", "pi"])
def test_consistency_alone_moves_the_student(rows, method):
    model, before, _ = trained(rows, loss=NoCost(), method=method)
    moved = [np.abs(a - b.numpy()).max() for a, b in zip(before, model.student.weights, strict=True) if b.trainable]
    assert max(moved) > 1e-4


def test_only_the_average_moves_the_teacher(rows):
    model, before, _ = trained(rows)
    pairs = zip(before, model.student.weights, model.teacher.weights, strict=True)
    for start, student, teacher in pairs:
        if student.trainable:
            np.testing.assert_allclose(teacher.numpy(), 0.5 * start + 0.5 * student.numpy(), rtol=1e-5, atol=1e-6)


def test_only_labeled_rows_of_the_student_move_running_statistics(rows):
    model, _, _ = trained(rows)
    keras.utils.set_random_seed(1)
    mean = network().layers[0](rows[0][:4]).numpy().mean(axis=0)
    for each in (model.student, model.teacher):  # From 0 with a momentum of 1/2.
        np.testing.assert_allclose(each.layers[1].moving_mean.numpy(), 0.5 * mean, rtol=1e-4, atol=1e-5)


def test_each_cost_is_a_mean_over_those_who_take_part(rows):
    _, _, history = trained(rows)
    keras.utils.set_random_seed(1)
    model = keras_mt.MeanTeacher(network(), separate_passes=4)
    (labeled,), _ = model._passes.student(model.student, rows[0], model.batches_seen)
    own = keras.losses.sparse_categorical_crossentropy(rows[1][:4], labeled[:4], from_logits=True)
    np.testing.assert_allclose(history["classification_cost"][0], np.mean(own), rtol=1e-4)
    (target,) = model._passes.target(model.teacher, rows[0], model.batches_seen)
    assert target.shape == (12, 3)
    distance = np.mean(np.square(keras.ops.softmax(labeled[4:]) - keras.ops.softmax(target[4:])))
    np.testing.assert_allclose(history["consistency_cost"][0], distance, rtol=1e-4)


def test_without_noise_and_statistics_separate_passes_are_joint_ones(rows):
    def plain():
        keras.utils.set_random_seed(3)
        return keras.Sequential([keras.Input((5,)), keras.layers.Dense(8, activation="tanh"), keras.layers.Dense(3)])

    results = []
    for separate in (None, 4):
        model = keras_mt.MeanTeacher(
            plain(), separate_passes=separate, reduction="labeled", consistency_on_labeled=False
        )
        model.compile(keras.optimizers.SGD(0.1))
        callback = keras_mt.MeanTeacherCallback(1.0, ema_decay=0.5, verbose=False)
        data = tf.data.Dataset.from_tensors(rows).repeat(3)
        model.fit(data, verbose=0, callbacks=[callback], shuffle=False)
        results.append(values(model.weights))
    assert largest_difference(*results) < 1e-5


def test_two_views_go_to_the_networks_apart(rows):
    keras.utils.set_random_seed(3)
    plain = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)])
    model = keras_mt.MeanTeacher(plain, two_views=True)
    model.compile(keras.optimizers.SGD(0.0))
    x, labels = rows
    expected = np.mean(np.square(keras.ops.softmax(plain(x)) - keras.ops.softmax(plain(2 * x))))
    callback = keras_mt.MeanTeacherCallback(1.0, verbose=False)
    history = model.fit((x, 2 * x), labels, batch_size=12, verbose=0, callbacks=[callback]).history
    np.testing.assert_allclose(history["consistency_cost"][0], expected, rtol=1e-5)
    assert model.evaluate(x[:4], labels[:4], verbose=0, return_dict=True)["teacher_error"] <= 1.0
    assert model.predict(x, verbose=0).shape == (12, 3)


def test_the_settings_survive_saving(rows, tmp_path):
    model, _, _ = trained(rows)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert (again.separate_passes, again.reduction, again.two_views) == (4, "labeled", False)


def separately(y, batch_size=12, **arguments):
    """Trains one output, of a class or of several answers."""
    student = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    model = keras_mt.MeanTeacher(student, separate_passes=4, **arguments)
    model.compile(keras.optimizers.SGD(0.1))
    callback = keras_mt.MeanTeacherCallback(1.0, 0.5, verbose=False)
    x = np.random.default_rng(0).normal(size=(12, 4))
    model.fit(x, np.array(y), batch_size=batch_size, shuffle=False, verbose=0, callbacks=[callback])


IN_ORDER = [0, 1, 2, 1, -1, -1, -1, -1, -1, -1, -1, -1]


@pytest.mark.parametrize(
    ("y", "found"),
    [
        (IN_ORDER[::-1], "labeled rows after them: 4"),
        ([0, -1, 2, 1] * 3, "labeled rows after them: 6"),
        ([0, 1, 2] + [-1] * 9, "labeled rows among the first 4: 3"),
    ],
)
def test_batches_that_do_not_begin_with_the_labeled_rows_alone_are_refused(y, found):
    with pytest.raises(ValueError, match=f"two_stream`, or arrays in this order, batch by batch, with .* {found}"):
        separately(y)


def test_labeled_rows_of_which_no_answer_is_known_batches_without_labels_and_those_of_labels_alone_are_taken():
    answers = np.where(np.arange(12)[:, None] < 3, [[0, 0, 0], [1, -1, 1]] * 6, -1)
    separately(answers, task="multilabel")
    separately([0, 1, 2, 1, -1, -1] + [-1] * 6, batch_size=6)
    separately([0, 1, 2, 1] * 3)


@pytest.mark.parametrize("arguments", [{"separate_passes": 0}, {"reduction": "all"}])
def test_bad_arguments_are_named(arguments):
    with pytest.raises(ValueError, match=f"Received: {next(iter(arguments))}="):
        keras_mt.MeanTeacher(network(), **arguments)
