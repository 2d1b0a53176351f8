"""What a student's own class overrides is called, or warned of by name."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_mt

X = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
Y = np.array([0, 1, 2, -1, 1, -1, -1, -1])
HERE = Y >= 0
SEEN = []


@keras.saving.register_keras_serializable("tests_own_methods")
class OwnLoss(keras.Model):
    """Adds to the usual loss, as a label smoothing or a margin of one's own would."""

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        SEEN.append((x.shape[0], y.shape[0], y_pred.shape[0]))
        cost = keras.losses.sparse_categorical_crossentropy(y, y_pred, from_logits=True)
        return 2.0 * tf.reduce_mean(cost) + 0.5


def student_of(kind):
    inputs = keras.Input((4,))
    return kind(inputs, keras.layers.Dense(3)(inputs))


def cost(network, factor=2.0):
    return np.mean(keras.losses.sparse_categorical_crossentropy(Y[HERE], network(X[HERE]), from_logits=True)) * factor


@pytest.mark.parametrize("reduction", ["batch", "labeled"])
def test_the_students_own_compute_loss_gets_the_labeled_examples(reduction):
    SEEN.clear()
    model = keras_mt.MeanTeacher(student_of(OwnLoss), method="supervised", reduction=reduction)
    model.compile(keras.optimizers.SGD(0.0), run_eagerly=True)
    got = model.train_on_batch(X, Y, return_dict=True)["classification_cost"]
    share = HERE.mean() if reduction == "batch" else 1.0
    np.testing.assert_allclose(got, (cost(model.student) + 0.5) * share, rtol=1e-5)
    assert SEEN[-1] == (4, 4, 4)


@pytest.mark.parametrize("name", ["train_step", "test_step", "predict_step"])
def test_own_steps_are_warned_of_by_name(name):
    kind = type("OwnStep", (keras.Model,), {name: lambda self, data: getattr(super(type(self), self), name)(data)})
    with pytest.warns(UserWarning, match=f"`{name}`.*is not called"):
        keras_mt.MeanTeacher(student_of(kind))


def test_a_student_without_methods_of_its_own_is_quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        keras_mt.MeanTeacher(student_of(keras.Model))


@pytest.mark.parametrize("compiling", [{"gradient_accumulation_steps": 2}, {"clipnorm": 0.1}, {"use_ema": True}])
def test_options_of_the_optimizer_give_what_they_give_without_a_teacher(compiling):
    """Fully labeled and supervised, the student is that of plain Keras."""
    y, weights = np.arange(8) % 3, []
    for wrap in (True, False):
        keras.utils.set_random_seed(0)
        network = student_of(keras.Model)
        model = keras_mt.MeanTeacher(network, method="supervised") if wrap else network
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.SGD(0.5, **compiling), loss=loss, run_eagerly=True)
        model.fit(X, y, batch_size=4, epochs=2, shuffle=False, verbose=0)
        weights.append(network.get_weights())
    for got, right in zip(*weights, strict=True):
        np.testing.assert_allclose(got, right, atol=1e-6)


@keras.saving.register_keras_serializable("tests_own_methods")
class PassesOn(keras.Model):
    """As people override it who print or count something; written before Keras gave it `training`."""

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None):
        return super().compute_loss(x, y, y_pred, sample_weight)


@keras.saving.register_keras_serializable("tests_own_methods")
class TellsTraining(keras.Model):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        SEEN.append(training)
        return super().compute_loss(x, y, y_pred, sample_weight, training)


def penalized(kind):
    inputs = keras.Input((4,))
    dense = keras.layers.Dense(3, kernel_initializer="ones", kernel_regularizer="l2", activity_regularizer="l2")
    return kind(inputs, dense(inputs))


@pytest.mark.parametrize("kind", [PassesOn, OwnLoss])
def test_what_layers_add_counts_as_it_does_in_keras_beside_an_own_compute_loss(kind):
    model = keras_mt.MeanTeacher(penalized(kind), method="supervised")
    model.compile(keras.optimizers.SGD(0.0), loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    adds = kind is PassesOn  # The other one never asks for it, and so has no penalties under Keras either.
    student = model.student
    right = cost(student, 1.0 if adds else 2.0) + (0.0 if adds else 0.5)
    student(X)
    penalties = float(sum(student.losses)) if adds else 0.0
    got = model.fit(X, Y, batch_size=8, shuffle=False, verbose=0).history["loss"][0]
    np.testing.assert_allclose(got, right * HERE.mean() + penalties, rtol=1e-5)
    for weight in model.teacher.weights:
        weight.assign(tf.zeros_like(weight))
    evaluated = model.evaluate(X[HERE], Y[HERE], batch_size=8, verbose=0, return_dict=True)
    student(X[HERE])
    penalties = float(sum(student.losses)) if adds else 0.0
    np.testing.assert_allclose(evaluated["student_loss"], right + penalties, rtol=1e-5)
    np.testing.assert_allclose(evaluated["loss"], np.log(3.0) if adds else 2 * np.log(3.0) + 0.5, rtol=1e-5)


def adding(penalty):
    """A class whose `compute_loss` adds something of `self.losses` to the cross-entropy."""

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        costs = keras.losses.sparse_categorical_crossentropy(y, y_pred, from_logits=True)
        return tf.reduce_mean(costs) + penalty(self.losses)

    return type("Adding", (keras.Model,), {"compute_loss": compute_loss})


@pytest.mark.parametrize(
    "penalty",
    [tf.add_n, lambda losses: sum(losses) if losses else 100.0, lambda losses: 0.0 if losses else 100.0],
    ids=["all", "if there are some", "none"],
)
def test_an_own_compute_loss_that_reads_the_losses_of_layers_trains_as_under_keras(penalty):
    y, results = np.arange(8) % 3, []
    for wrap in (True, False):
        network = penalized(adding(penalty))
        network.set_weights([np.linspace(-1.0, 1.0, w.size).reshape(w.shape) for w in network.get_weights()])
        model = keras_mt.MeanTeacher(network, method="supervised") if wrap else network
        model.compile(keras.optimizers.SGD(0.5))
        losses = model.fit(X, y, batch_size=4, epochs=2, shuffle=False, verbose=0).history["loss"]
        results.append([*losses, *network.get_weights()])
    for got, right in zip(*results, strict=True):
        np.testing.assert_allclose(got, right, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("penalty", "factor"), [(lambda losses: 0.1 * sum(losses), "0.1"), (lambda losses: losses[0], "0")]
)
def test_an_own_compute_loss_that_adds_a_part_of_the_losses_of_layers_is_refused(penalty, factor):
    model = keras_mt.MeanTeacher(penalized(adding(penalty)), method="supervised")
    model.compile(keras.optimizers.SGD(0.5))
    before = model.student.get_weights()
    with pytest.raises(ValueError, match=rf"must add all of `self.losses`.*Received: a loss times {factor}$"):
        model.fit(X, Y, verbose=0)
    np.testing.assert_array_equal(model.student.get_weights()[0], before[0])


def test_an_own_compute_loss_is_told_whether_it_is_training():
    SEEN.clear()
    model = keras_mt.MeanTeacher(student_of(TellsTraining), method="supervised")
    model.compile(keras.optimizers.SGD(0.0))
    model.fit(X, Y, verbose=0)
    assert set(SEEN) == {True}
    SEEN.clear()
    model.evaluate(X, Y, verbose=0)
    assert set(SEEN) == {False}


def test_an_own_compute_loss_takes_the_loss_that_compile_was_given_last():
    student = student_of(PassesOn)
    student.compile(loss=lambda y, outputs: 3.0 + 0.0 * outputs[:, 0])
    model = keras_mt.MeanTeacher(student, method="supervised", reduction="labeled")
    for loss, right in ((None, 3.0), (lambda y, outputs: 4.0 + 0.0 * outputs[:, 0], 4.0), ("mae", None)):
        model.compile(keras.optimizers.SGD(0.0), loss=loss)
        if right:
            np.testing.assert_allclose(model.fit(X, Y, verbose=0).history["classification_cost"], right)


def test_an_own_compute_loss_takes_yes_or_no_outputs_that_have_all_their_labels():
    y = np.random.default_rng(0).integers(0, 2, (8, 3))
    y[5:] = -1
    model = keras_mt.MeanTeacher(student_of(PassesOn), task="multilabel", method="supervised", reduction="labeled")
    model.compile(keras.optimizers.SGD(0.0), loss=keras.losses.BinaryCrossentropy(from_logits=True))
    right = keras.losses.binary_crossentropy(y[:5], model.student(X[:5]), from_logits=True)
    np.testing.assert_allclose(model.fit(X, y, verbose=0).history["classification_cost"], np.mean(right), rtol=1e-5)
    y[0, 1] = -1
    with pytest.raises(ValueError, match="one weight for all columns"):
        model.fit(X, y, verbose=0)


def test_an_own_compute_loss_leaves_padding_out_as_in_keras():
    tokens = np.array([[3, 1, 2, 0, 0, 0], [5, 4, 0, 0, 0, 0], [1, 2, 3, 4, 5, 0], [2, 2, 2, 2, 0, 0]])
    y = np.arange(24).reshape(4, 6) % 3
    inputs = keras.Input((6,), dtype="int32")
    hidden = keras.layers.LSTM(5, return_sequences=True)(keras.layers.Embedding(6, 4, mask_zero=True)(inputs))
    student = PassesOn(inputs, keras.layers.Dense(3)(hidden))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    student.compile(keras.optimizers.SGD(0.0), loss=loss)
    right = student.evaluate(tokens, y, verbose=0)
    model = keras_mt.MeanTeacher(student, method="supervised")
    model.compile(keras.optimizers.SGD(0.0), loss=loss)
    np.testing.assert_allclose(model.fit(tokens, y, verbose=0).history["classification_cost"], right, rtol=1e-5)


def test_an_own_compute_loss_beside_sparse_inputs_is_refused():
    inputs = keras.Input((4,), sparse=True, name="words")
    model = keras_mt.MeanTeacher(PassesOn(inputs, keras.layers.Dense(3)(inputs)))
    with pytest.raises(ValueError, match="`compute_loss`.*dense inputs.*sparse input 'words'"):
        model.compile("sgd")


class Tracks(keras.Model):
    """Has metrics of its own, one of the name of another log."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.ours, self.loss_tracker = keras.metrics.Mean(name="ours"), keras.metrics.Mean(name="loss")

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        value = tf.reduce_mean(keras.losses.sparse_categorical_crossentropy(y, y_pred, from_logits=True))
        self.ours.update_state(3.0 * value)
        self.loss_tracker.update_state(value)
        return value

    @property
    def metrics(self):
        return [self.loss_tracker, self.ours]


@keras.saving.register_keras_serializable("tests_own_methods")
class Watched(keras.layers.Dense):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.mean = keras.metrics.Mean(name="watched")

    def call(self, x):
        outputs = super().call(x)
        self.mean.update_state(outputs[:, 0])
        return outputs


def test_the_students_own_metrics_are_logged_in_training_epoch_by_epoch():
    inputs = keras.Input((4,))
    model = keras_mt.MeanTeacher(Tracks(inputs, Watched(3)(inputs)), method="supervised")
    model.compile(keras.optimizers.SGD(0.5))
    model.teacher.set_weights([w + 1.0 for w in model.teacher.get_weights()])
    seen = []

    def before(epoch, logs):
        kernel, bias = model.student.get_weights()  # A call would be measured as well.
        seen.append((cost(lambda rows: rows @ kernel + bias, 1.0), np.mean((X @ kernel + bias)[:, 0])))

    callback = keras.callbacks.LambdaCallback(on_epoch_begin=before)
    history = model.fit(
        X, Y, batch_size=8, epochs=2, verbose=0, shuffle=False, validation_data=(X, Y), callbacks=[callback]
    ).history
    costs, means = np.transpose(seen)
    np.testing.assert_allclose(history["ours"], 3 * costs, rtol=1e-5)
    np.testing.assert_allclose(history["loss_1"], costs, rtol=1e-5)
    np.testing.assert_allclose(history["watched"], means, rtol=1e-4)
    np.testing.assert_allclose(history["loss"], costs / 2, rtol=1e-5)


def test_metrics_that_only_an_own_step_would_update_are_not_logged():
    class OwnStep(Tracks):
        def train_step(self, data):
            return super().train_step(data)

    with pytest.warns(UserWarning, match="`train_step`"):
        model = keras_mt.MeanTeacher(student_of(OwnStep), method="supervised")
    model.compile("sgd")
    assert not {"ours", "loss_1"} & set(model.train_on_batch(X, Y, return_dict=True))
