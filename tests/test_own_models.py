"""Networks, labels and callbacks as a Keras user has them: nothing here is the paper's."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_mt
from keras_mt.callback import automatic_weights
from keras_mt.data import two_stream

CALLBACK = {"consistency_weight": 5.0, "rampup_steps": 2, "ema_decay": 0.9, "verbose": False}


def wrapped(student, **arguments):
    model = keras_mt.MeanTeacher(student, **arguments)
    model.compile(keras.optimizers.SGD(0.01))
    return model


def trained(model, x, y, steps=2, **arguments):
    """Fits for some steps and returns the history; the teacher must have moved, and all costs are numbers."""
    before = [w.numpy().copy() for w in model.teacher.trainable_weights]
    callback = keras_mt.MeanTeacherCallback(**CALLBACK)
    arguments = {"batch_size": len(y), "epochs": steps} | arguments
    history = model.fit(x, y, callbacks=[callback], verbose=0, **arguments).history
    assert all(np.isfinite(values).all() for values in history.values())
    assert any((w.numpy() != old).any() for w, old in zip(model.teacher.trainable_weights, before, strict=True))
    return history


def dense(outputs=4, inputs=6, **last):
    return keras.Sequential(
        [keras.Input((inputs,)), keras.layers.Dense(8, "tanh"), keras.layers.Dense(outputs, **last)]
    )


APPLICATIONS = {
    "MobileNetV3Small": {"alpha": 0.35, "minimalistic": True, "include_preprocessing": False},
    "EfficientNetB0": {},
    "ResNet50": {},
}


@pytest.mark.parametrize(
    "name",
    ["MobileNetV3Small", *(pytest.param(name, marks=pytest.mark.slow) for name in ("EfficientNetB0", "ResNet50"))],
)
def test_networks_of_keras_applications_are_students(name):
    network = getattr(keras.applications, name)(
        weights=None, input_shape=(32, 32, 3), classes=3, classifier_activation=None, **APPLICATIONS[name]
    )
    x = np.random.default_rng(0).normal(size=(4, 32, 32, 3)).astype("float32")
    model = wrapped(network)
    trained(model, x, np.array([0, 1, -1, -1]), steps=1)
    # Its batch normalization moved in both: the teacher's statistics are its own.
    for twin in (model.student, model.teacher):
        assert any((w.numpy() != 0).any() for w in twin.non_trainable_weights if w.path.endswith("moving_mean"))
    assert model.predict(x, verbose=0).shape == (4, 3)


def test_a_student_with_several_inputs():
    first, second = keras.Input((6,), name="first"), keras.Input((3,), name="second")
    hidden = keras.layers.Dense(8, "tanh")(keras.layers.Concatenate()([first, second]))
    model = wrapped(keras.Model({"first": first, "second": second}, keras.layers.Dense(4)(hidden)))
    random = np.random.default_rng(0)
    x = {"first": random.normal(size=(8, 6)).astype("float32"), "second": random.normal(size=(8, 3)).astype("float32")}
    trained(model, x, np.array([0, 1, 2, 3, -1, -1, -1, -1]))
    assert model.predict(x, verbose=0).shape == (8, 4)


@pytest.fixture
def points():
    random = np.random.default_rng(0)
    return random.normal(size=(8, 6)).astype("float32"), np.array([0, 1, 2, 3, -1, -1, -1, -1])


def test_an_augmentation_layer_gives_each_side_a_view_of_its_own(points):
    x, y = points
    seen = []

    @keras.saving.register_keras_serializable(package="tests")
    class Spy(keras.layers.GaussianNoise):
        def call(self, inputs, training=False):
            outputs = super().call(inputs, training=training)
            tf.py_function(lambda rows: seen.append(rows.numpy()), [outputs], [])
            return outputs

    model = wrapped(dense(), augmentation=Spy(0.5))
    trained(model, x, y, steps=1)
    student, teacher = seen
    assert np.abs(student - x).max() > 0.1
    assert np.abs(teacher - x).max() > 0.1
    assert np.abs(student - teacher).max() > 0.1
    np.testing.assert_allclose(model.predict(x, verbose=0), model.teacher.predict(x, verbose=0), atol=1e-6)
    assert len(seen) == 2  # Neither evaluates nor predicts with it.
    again = wrapped(dense(), augmentation=Spy(0.5))
    trained(again, x, y, steps=1)
    np.testing.assert_array_equal(seen[2], student)  # A function of (seed, step, view).
    copy = keras_mt.MeanTeacher.from_config(model.get_config())
    assert isinstance(copy.augmentation, Spy)


def test_an_augmentation_function_may_take_a_seed(points):
    x, y = points

    def shift(rows, seed):
        return rows + tf.random.stateless_normal(tf.shape(rows), seed)

    first, second = (wrapped(dense(), augmentation=shift) for _ in range(2))
    second.student.set_weights(first.student.get_weights())
    second.reset_teacher()
    trained(first, x, y)
    trained(second, x, y)
    for one, other in zip(first.student.get_weights(), second.student.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_two_ready_views_come_from_the_users_own_pipeline(points):
    x, y = points
    model = wrapped(dense(), two_views=True, method="mean_teacher")
    same = trained(model, (x, x), y, steps=1)["consistency_cost"][0]
    other = trained(wrapped(dense(), two_views=True), (x, x + 3.0), y, steps=1)["consistency_cost"][0]
    assert same < 1e-6 < other


@pytest.mark.parametrize("as_dataset", [False, True])
def test_class_weights_weigh_labeled_examples_and_leave_unlabeled_ones(points, as_dataset):
    x, y = points
    costs = []
    for weights in (None, {0: 1.0, 1: 0.0, 2: 0.0, 3: 0.0}):
        keras.utils.set_random_seed(1)
        model = wrapped(dense())
        data = (tf.data.Dataset.from_tensor_slices((x, y)).batch(8), None) if as_dataset else (x, y)
        callback = keras_mt.MeanTeacherCallback(**CALLBACK)
        fit = {} if as_dataset else {"batch_size": 8}
        costs.append(model.fit(*data, class_weight=weights, callbacks=[callback], verbose=0, **fit).history)
    logits = wrapped_logits(x)
    expected = -tf.nn.log_softmax(logits).numpy()[np.arange(4), y[:4]]
    np.testing.assert_allclose(costs[0]["classification_cost"][0], expected.sum() / 8, rtol=1e-5)
    np.testing.assert_allclose(costs[1]["classification_cost"][0], expected[0] / 8, rtol=1e-5)


def wrapped_logits(x):
    keras.utils.set_random_seed(1)
    return wrapped(dense()).student(x)


def test_one_hot_labels_and_sample_weights_are_what_sparse_ones_are(points):
    x, y = points
    one_hot = np.where(y[:, None] < 0, -1.0, np.arange(4) == y[:, None]).astype("float32")
    weight = np.array([1.0, 2.0, 0.5, 0.0, 1.0, 1.0, 1.0, 1.0])
    costs = []
    for labels in (y, one_hot):
        keras.utils.set_random_seed(1)
        costs.append(trained(wrapped(dense()), x, labels, sample_weight=weight)["classification_cost"])
    np.testing.assert_allclose(*costs, rtol=1e-6)


def test_callbacks_of_keras_do_what_their_users_expect(points, tmp_path):
    x, y = points
    labels = np.abs(y) % 4
    model = keras_mt.MeanTeacher(dense())
    model.compile(keras.optimizers.SGD(1.0), metrics=["accuracy"])
    callbacks = [
        keras_mt.MeanTeacherCallback(**CALLBACK),
        keras.callbacks.EarlyStopping("val_teacher_error", mode="min", patience=3, restore_best_weights=True),
        keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", "val_teacher_error", mode="min", save_best_only=True),
        keras.callbacks.ReduceLROnPlateau("val_teacher_error", mode="min", patience=1, factor=0.5),
        keras.callbacks.TensorBoard(tmp_path / "logs"),
        keras.callbacks.CSVLogger(tmp_path / "log.csv"),
        keras.callbacks.TerminateOnNaN(),
    ]
    history = model.fit(
        x, y, epochs=60, batch_size=8, verbose=0, validation_data=(x, labels), callbacks=callbacks
    ).history
    best = min(history["val_teacher_error"])
    assert len(history["loss"]) < 60
    assert float(model.optimizer.learning_rate) < 1.0
    assert model.evaluate(x, labels, verbose=0, return_dict=True)["teacher_error"] == pytest.approx(best)
    saved = keras.models.load_model(tmp_path / "best.keras")
    assert saved.evaluate(x, labels, verbose=0, return_dict=True)["teacher_error"] == pytest.approx(best)
    assert list((tmp_path / "logs").rglob("*tfevents*"))
    assert "val_teacher_error" in (tmp_path / "log.csv").read_text().splitlines()[0]


@pytest.mark.parametrize(
    "compiling",
    [
        {"optimizer": keras.optimizers.SGD(0.1, clipnorm=1e-3)},
        {"optimizer": keras.optimizers.SGD(0.1, gradient_accumulation_steps=2)},
        {"optimizer": keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1))},
        {"optimizer": "adam", "steps_per_execution": 2},
        {"optimizer": "adam", "run_eagerly": True},
    ],
    ids=["clipnorm", "accumulation", "loss_scale", "steps_per_execution", "eager"],
)
def test_optimizers_and_executions_of_keras(points, compiling):
    x, y = points
    model = keras_mt.MeanTeacher(dense())
    options = {**compiling, "optimizer": keras.optimizers.get(compiling["optimizer"])}
    if not isinstance(compiling["optimizer"], str):
        options["optimizer"] = type(compiling["optimizer"]).from_config(compiling["optimizer"].get_config())
    model.compile(**options)
    before = model.student.get_weights()
    history = trained(model, x, y, steps=2, batch_size=4)
    assert len(history["loss"]) == 2
    if getattr(options["optimizer"], "clipnorm", None):
        moved = [np.abs(w - old).max() for w, old in zip(model.student.get_weights(), before, strict=True)]
        assert max(moved) <= 4 * 0.1 * 1e-3 * 1.01


def test_a_weight_is_found_from_classes_cost_and_labeled_share(points):
    x, y = points
    callback = keras_mt.MeanTeacherCallback("auto", verbose=False)
    wrapped(dense()).fit(x, y, callbacks=[callback], verbose=0)
    assert callback.maximum == pytest.approx(16 * 0.5)  # C² times the labeled share.
    data = tf.data.Dataset.from_tensor_slices((x, np.where(np.arange(8) < 2, 0, -1))).batch(4)
    callback = keras_mt.MeanTeacherCallback("auto", verbose=False, rampup_steps=3)
    model = wrapped(dense())
    model.fit(data, callbacks=[callback], verbose=0)
    assert callback.maximum == pytest.approx(16 * 0.25)


@pytest.mark.parametrize(
    ("labeled", "paper"), [(0.01, 1.0), (0.08, 8.0), (0.5, 50.0), (1.0, 100.0)], ids=["svhn", "cifar10", "quick", "all"]
)
def test_the_automatic_weight_is_the_papers_for_ten_classes(labeled, paper):
    assert automatic_weights(keras_mt.MeanTeacher(dense(10)), [labeled]) == [pytest.approx(paper)]


def test_a_weight_that_is_far_off_is_warned_of(points):
    x, y = points
    with pytest.warns(UserWarning, match="consistency_weight=1000 is more than 10 times above what is usual.*gives 8"):
        wrapped(dense()).fit(x, y, callbacks=[keras_mt.MeanTeacherCallback(1000.0, verbose=False)], verbose=0)


def test_auto_counts_the_batches_of_a_generator_and_trains_on_all_of_them(points):
    x, y = points

    def batches():
        for first in range(0, 40, 4):
            yield x[first : first + 4], y[first : first + 4]

    callback = keras_mt.MeanTeacherCallback("auto", verbose=False)
    model = wrapped(dense())
    model.fit(batches(), callbacks=[callback], verbose=0)
    assert callback.maximum == pytest.approx(model.num_outputs() ** 2 * np.mean(y[:40] >= 0))
    plain = dense()  # Keras itself takes the first batch of a generator twice.
    plain.compile("sgd", "mse")
    plain.fit(((x, np.zeros((len(x), 4))) for x, _ in batches()), verbose=0)
    assert int(model.optimizer.iterations) == int(plain.optimizer.iterations)


def test_a_supervised_start_keeps_the_weight_at_zero_and_ramps_up_from_there(points):
    x, y = points
    callback = keras_mt.MeanTeacherCallback(8.0, rampup_steps=2, consistency_start_step=3, verbose=False)
    history = wrapped(dense()).fit(x, y, epochs=7, batch_size=8, callbacks=[callback], verbose=0).history
    expected = [0, 0, 0, 8 * np.exp(-5), 8 * np.exp(-5 / 4), 8, 8]
    np.testing.assert_allclose(history["consistency_weight"], expected, rtol=1e-6)


def test_two_streams_put_labeled_examples_first_and_repeat_apart():
    labeled = tf.data.Dataset.from_tensor_slices((np.arange(6, dtype="float32"), np.arange(6) % 3))
    unlabeled = tf.data.Dataset.from_tensor_slices(np.arange(100, 140, dtype="float32"))
    seen = []
    for x, y in two_stream(labeled, unlabeled, labeled_per_batch=2, batch_size=6, seed=1).take(10):
        assert (y.numpy()[2:] == -1).all()
        assert (y.numpy()[:2] == x.numpy()[:2] % 3).all()
        assert (x.numpy()[2:] >= 100).all()
        seen.append(x.numpy())
    rows = np.array(seen)
    assert sorted(rows[:3, :2].ravel()) == list(range(6))  # A pass over each stream, in another order.
    assert sorted(rows[:, 2:].ravel()) == list(range(100, 140))
    again = [x.numpy() for x, _ in two_stream(labeled, unlabeled, 2, 6, seed=1).take(10)]
    np.testing.assert_array_equal(again, rows)
    with pytest.raises(ValueError, match="labeled_per_batch=6"):
        two_stream(labeled, unlabeled, 6, 6)
