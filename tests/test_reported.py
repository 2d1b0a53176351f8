"""What is reported is that of what is labeled: metrics, errors, the loss of a data set; and NaN of nothing."""

import threading
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_mt

K = keras.layers
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(10, 4)).astype("float32")
Y = np.array([0, 1, 2, -1, 1, -1, 0, 2, -1, 1])
HERE = Y >= 0
FOUR_FIRST = np.where(np.arange(10) < 4, np.arange(10) % 3, -1)  # As separate passes need them.
CALLBACK = {"consistency_weight": 1.0, "ema_decay": 0.5, "verbose": False}


def wrapped(student=None, compiling=None, **arguments):
    student = student or keras.Sequential([keras.Input((4,)), K.Dense(3)])
    model = keras_mt.MeanTeacher(student, **arguments)
    model.compile(keras.optimizers.SGD(0.0), run_eagerly=True, **(compiling or {}))
    keras_mt.MeanTeacherCallback(**CALLBACK).set_model(model)
    return model


def perturbed(model):
    model.teacher.set_weights([w + RANDOM.normal(size=w.shape) for w in model.teacher.get_weights()])
    return model


def plain_value(metric, y, outputs, weight=None):
    metric.reset_state()
    metric.update_state(y, outputs, sample_weight=weight)
    return keras.tree.map_structure(np.asarray, metric.result())


METRICS = {
    "accuracy": ("accuracy", keras.metrics.SparseCategoricalAccuracy, "accuracy"),
    "list": (["accuracy"], keras.metrics.SparseCategoricalAccuracy, "accuracy"),
    "instance": ([keras.metrics.SparseTopKCategoricalAccuracy(k=2)],
                 lambda: keras.metrics.SparseTopKCategoricalAccuracy(k=2), "sparse_top_k_categorical_accuracy"),
    "cross-entropy": (["crossentropy"], lambda: keras.metrics.SparseCategoricalCrossentropy(from_logits=True),
                      "crossentropy"),
    "string": (["sparse_categorical_accuracy"], keras.metrics.SparseCategoricalAccuracy,
               "sparse_categorical_accuracy"),
    "MeanIoU": ([keras.metrics.MeanIoU(3, sparse_y_pred=False, name="iou")],
                lambda: keras.metrics.MeanIoU(3, sparse_y_pred=False), "iou"),
}  # fmt: skip


@pytest.mark.parametrize("kind", METRICS)
def test_metrics_are_those_of_keras_over_the_labeled(kind):
    given, plain, name = METRICS[kind]
    model = perturbed(wrapped(compiling={"metrics": given}))
    right = plain_value(plain(), Y[HERE], model.student(X[HERE]))
    np.testing.assert_allclose(model.train_on_batch(X, Y, return_dict=True)[name], right, rtol=1e-5)
    right = plain_value(plain(), Y[HERE], model.teacher(X[HERE]))
    np.testing.assert_allclose(model.evaluate(X, Y, batch_size=4, verbose=0, return_dict=True)[name], right, rtol=1e-5)


BINARY_METRICS = {
    "AUC": lambda: keras.metrics.AUC(from_logits=True, name="m"),
    "F1Score": lambda: keras.metrics.F1Score(threshold=0.5, average="macro", name="m"),
    "Precision": lambda: keras.metrics.Precision(thresholds=0.5, name="m"),
}


@pytest.mark.parametrize("execution", ["eager", "graph"])
@pytest.mark.parametrize("kind", BINARY_METRICS)
def test_metrics_of_yes_or_no_outputs_build_their_variables_when_they_see_them(kind, execution):
    y = np.where(HERE[:, None], RANDOM.integers(0, 2, (10, 3)), -1).astype("float32")
    make = BINARY_METRICS[kind]
    model = perturbed(wrapped(compiling={"metrics": [make()]}, task="multilabel"))
    model.run_eagerly = execution == "eager"
    outputs = model.teacher(X[HERE])  # Thresholds are those of probabilities.
    right = plain_value(make(), y[HERE], outputs if kind == "AUC" else keras.ops.sigmoid(outputs))
    got = model.evaluate(X, y, batch_size=4, verbose=0, return_dict=True)["m"]
    np.testing.assert_allclose(got, right, rtol=1e-5)


def two_outputs(q=3):
    inputs = keras.Input((4,))
    return keras.Model(inputs, {"p": K.Dense(3)(inputs), "q": K.Dense(q)(inputs)})


def test_a_metric_object_for_several_outputs_is_one_of_each_output_alone():
    model = wrapped(two_outputs(), {"metrics": [keras.metrics.SparseCategoricalAccuracy(name="a")]})
    got = model.fit(X, {"p": Y, "q": Y}, verbose=0).history
    assert [name for name in got if name.endswith("a")] == ["p_a", "q_a"]
    np.testing.assert_allclose([got["p_a"], got["q_a"]], [1 - np.array(got[f"{o}_student_error"]) for o in "pq"])


class AmongFirst(keras.metrics.Metric):
    """Has an argument that no config tells."""

    def __init__(self, k=1, name="first"):
        super().__init__(name=name)
        self.k, self.mean = k, keras.metrics.Mean()

    def update_state(self, y, outputs, sample_weight=None):
        self.mean.update_state(keras.metrics.sparse_top_k_categorical_accuracy(y, outputs, self.k), sample_weight)

    def result(self):
        return self.mean.result()


@pytest.mark.parametrize("whole", [True, False])
def test_a_metric_object_without_a_config_keeps_its_arguments_for_several_outputs(whole):
    metric = AmongFirst(k=2)
    model = perturbed(wrapped(two_outputs(), {"metrics": metric if whole else {"p": [metric]}}))
    labels = {"p": np.where(HERE, Y[::-1], -1), "q": Y}
    for _ in range(2):
        got = model.evaluate(X, labels, batch_size=4, verbose=0, return_dict=True)
        for output in "pq" if whole else "p":
            here = labels[output] >= 0
            outputs = model.teacher(X[here])[output]
            right = np.mean(keras.metrics.sparse_top_k_categorical_accuracy(labels[output][here], outputs, k=2))
            np.testing.assert_allclose(got[f"{output}_first"], right, rtol=1e-5)
        model.compile("sgd", metrics=metric if whole else {"p": [metric]})


def test_a_metric_object_of_outputs_of_different_sizes_is_taken_by_another_model_too():
    metric = keras.metrics.F1Score(threshold=0.5, average="macro", name="f")
    labels = {"p": RANDOM.integers(0, 2, (10, 3)), "q": RANDOM.integers(0, 2, (10, 2))}
    for model in [perturbed(wrapped(two_outputs(2), {"metrics": [metric]}, task="multilabel")) for _ in range(2)] * 2:
        got = model.evaluate(X, labels, batch_size=4, verbose=0, return_dict=True)
        for output, y in labels.items():
            plain = keras.metrics.F1Score(threshold=0.5, average="macro")
            right = plain_value(plain, y, keras.ops.sigmoid(model.teacher(X)[output]))
            np.testing.assert_allclose(got[f"{output}_f"], right, rtol=1e-5)


def test_a_metric_object_that_cannot_be_copied_is_refused_for_several_outputs():
    metric = AmongFirst()
    metric.lock = threading.Lock()
    with pytest.raises(ValueError, match="'first' can't be copied for each of 2 places: give each of them an object"):
        wrapped(two_outputs(), {"metrics": [metric]})
    wrapped(two_outputs(), {"metrics": {"p": metric}})


def of_keras(student, loss, **compiling):
    student.compile(keras.optimizers.SGD(0.0), loss, **compiling)
    return student


def in_both(history, other):
    """What plain Keras logs, by the names that it has there, and what is logged here by the same names."""
    names = [name for name in other if "loss" not in name]
    return {name: history[name] for name in names}, {name: other[name] for name in names}


@pytest.mark.parametrize("several", [False, True])
def test_metrics_of_one_name_have_the_names_and_values_that_keras_gives_them(several):
    def given():
        return {"metrics": ["accuracy", precision(0), precision(1), precision(2)],
                "weighted_metrics": ["accuracy", "accuracy", precision(0)]}  # fmt: skip

    def precision(column):
        return keras.metrics.Precision(class_id=column, name="p")

    def compiling():
        return {name: {"p": metrics} if several else metrics for name, metrics in given().items()}

    y = np.eye(3)[RANDOM.integers(0, 3, 10)]
    labels = {"p": y, "q": y} if several else y
    loss = keras.losses.CategoricalCrossentropy()
    student = two_outputs() if several else keras.Sequential([keras.Input((4,)), K.Dense(3)])
    if several:
        student = keras.Model(student.input, keras.tree.map_structure(keras.ops.softmax, student.output))
    else:
        student.add(K.Softmax())
    twin = keras.models.clone_model(student)
    twin.set_weights(student.get_weights())
    model = wrapped(student, compiling(), from_logits=False, method="supervised")
    fitting = {"sample_weight": np.linspace(0.2, 2.0, 10), "validation_data": (X, labels), "verbose": 0}
    if several:
        fitting["sample_weight"] = dict.fromkeys("pq", fitting["sample_weight"])
    history = model.fit(X, labels, **fitting).history
    right = of_keras(twin, {"p": loss, "q": loss} if several else loss, **compiling()).fit(X, labels, **fitting).history
    got, right = in_both(history, right)
    assert len(right) == 14
    for name, values in right.items():
        np.testing.assert_allclose(got[name], values, rtol=1e-5, err_msg=name)


def test_a_function_of_the_user_s_that_is_called_accuracy_is_called():
    def accuracy(y_true, y_pred):
        return tf.cast(y_true, "float32") + tf.reduce_max(y_pred, axis=-1)

    model = wrapped(compiling={"metrics": [accuracy]})
    right = np.mean(accuracy(Y[HERE], model.student(X[HERE])))
    assert model.train_on_batch(X, Y, return_dict=True)["accuracy"] == pytest.approx(right, rel=1e-5)


def test_a_metric_with_the_name_of_a_log_of_the_library_takes_another():
    model = wrapped(compiling={"metrics": [keras.metrics.SparseCategoricalAccuracy(name="student_error")]})
    got = model.train_on_batch(X, Y, return_dict=True)
    assert got["student_error_1"] == pytest.approx(1 - got["student_error"])


def test_weighted_metrics_are_weighed_and_others_are_not():
    weight = np.linspace(0.2, 3.0, 10).astype("float32")
    model = perturbed(wrapped(compiling={"metrics": ["accuracy"], "weighted_metrics": ["crossentropy"]}))
    got = model.evaluate(X, Y, sample_weight=weight, batch_size=4, verbose=0, return_dict=True)
    outputs = model.teacher(X[HERE])
    accuracy = plain_value(keras.metrics.SparseCategoricalAccuracy(), Y[HERE], outputs)
    cost = plain_value(keras.metrics.SparseCategoricalCrossentropy(from_logits=True), Y[HERE], outputs, weight[HERE])
    np.testing.assert_allclose([got["accuracy"], got["crossentropy"]], [accuracy, cost], rtol=1e-5)
    assert got["teacher_error"] == pytest.approx(1 - accuracy)


@pytest.mark.parametrize("task", ["multiclass", "multilabel", "regression"])
def test_nothing_labeled_is_nan_with_one_warning(task):
    y = np.full(10, -1) if task == "multiclass" else np.full((10, 3), np.nan if task == "regression" else -1.0)
    metrics = ["mae"] if task == "regression" else ["accuracy", keras.metrics.MeanMetricWrapper(lambda a, b: a, "own")]
    model = wrapped(compiling={"metrics": metrics}, task=task)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        got = [model.evaluate(X, y, batch_size=4, verbose=0, return_dict=True) for _ in range(2)]
    assert [w for w in heard if "No labeled example" in str(w.message)][1:] == []
    assert any("NaN" in str(w.message) for w in heard)
    for result in got:
        assert all(np.isnan(value) for value in result.values()), result


def test_an_epoch_of_training_without_a_label_is_told_before_validation_resets_its_metrics():
    model = wrapped()
    batches = tf.data.Dataset.from_tensor_slices((X, np.full(10, -1))).batch(5)
    callback = keras_mt.MeanTeacherCallback(1.0, 0.5, verbose=False)
    with pytest.warns(UserWarning, match="No labeled example in an epoch of training for the output"):
        model.fit(batches, verbose=0, shuffle=False, callbacks=[callback], validation_data=(X[HERE], Y[HERE]))


def penalized():
    return keras.Sequential([
        keras.Input((4,)),
        K.Dense(4, kernel_regularizer=keras.regularizers.L2(0.1), activity_regularizer=keras.regularizers.L2(0.01)),
        K.Dense(3, bias_regularizer="l1"),
    ])  # fmt: skip


OPTIONS = {
    "joint": {},
    "separate": {"separate_passes": 4},
    "pi": {"method": "pi"},
    "pi separate": {"method": "pi", "separate_passes": 4},
    "supervised": {"method": "supervised"},
}


@pytest.mark.parametrize("option", OPTIONS)
def test_penalties_count_once_and_activity_losses_once_a_pass(option):
    student = penalized()
    student.layers[1].bias.assign([1.0, -2.0, 0.5])
    model = wrapped(student, **OPTIONS[option])
    y = FOUR_FIRST if "separate" in option else Y
    got = model.train_on_batch(X, y, return_dict=True)
    hidden, last = student.layers
    penalty = 0.1 * np.square(hidden.kernel).sum() + 0.01 * np.abs(last.bias).sum()

    def activity(rows):  # Keras divides by the rows of a pass.
        return 0.01 * np.square(hidden(rows)).sum() / len(rows)

    passes = [X[:4], X[4:]] if "separate" in option else [X]
    passes += [X[4:] if "separate" in option else X] if "pi" in option else []
    log_p = tf.nn.log_softmax(student(X)).numpy()
    cost = -(log_p[np.arange(10), np.maximum(y, 0)] * (y >= 0)).sum() / 10
    right = cost + penalty + sum(activity(rows) for rows in passes)
    np.testing.assert_allclose(got["loss"] - got.get("consistency_cost", 0.0), right, rtol=1e-5)


@keras.saving.register_keras_serializable("tests_reported")
class Adding(K.Layer):
    def call(self, x):
        self.add_loss(keras.ops.sum(x[:0]) + 0.25)
        return x


def test_add_loss_is_kept():
    student = keras.Sequential([keras.Input((4,)), Adding(), K.Dense(3)])
    model = wrapped(student, method="supervised")
    bare = wrapped(keras.Sequential([keras.Input((4,)), student.layers[1]]), method="supervised")
    got = [m.train_on_batch(X, Y, return_dict=True)["loss"] for m in (model, bare)]
    assert got[0] - got[1] == pytest.approx(0.25, rel=1e-4)


@pytest.mark.parametrize("reduction", ["batch", "labeled"])
@pytest.mark.parametrize("make", [lambda: None, penalized], ids=["plain", "penalized"])
def test_the_loss_of_a_data_set_does_not_depend_on_the_batch_size(reduction, make):
    student = make()
    if student is not None:  # An activity loss is a mean over the batch: of equal rows it tells nothing.
        student.layers[0].activity_regularizer = None
    model = perturbed(wrapped(student, compiling={"metrics": ["accuracy"]}, reduction=reduction))
    results = [model.evaluate(X, Y, batch_size=size, verbose=0, return_dict=True) for size in (1, 3, 4, 10)]
    for result in results[1:]:
        assert result == pytest.approx(results[0], rel=1e-5)


MONITORS = [
    "val_teacher_error", "val_student_error", "val_loss", "val_accuracy", "val_crossentropy", "val_student_loss",
    "val_teacher_loss", "teacher_student_distance",
]  # fmt: skip


@pytest.mark.parametrize("monitor", MONITORS)
def test_callbacks_know_what_is_better(monitor, tmp_path):
    second = 0.9 if monitor == "val_teacher_loss" else None  # Without it `val_loss` is the teacher's.
    model = wrapped(compiling={"metrics": ["accuracy", "crossentropy"]}, second_ema_decay=second)
    model.optimizer.learning_rate = 0.1
    callbacks = [
        keras_mt.MeanTeacherCallback(**CALLBACK),
        keras.callbacks.EarlyStopping(monitor, patience=1),
        keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", monitor, save_best_only=True),
        keras.callbacks.ReduceLROnPlateau(monitor, patience=1),
    ]
    model.fit(X, Y, validation_data=(X, Y), epochs=2, verbose=0, callbacks=callbacks)
    stopping, checkpoint = callbacks[1:3]
    better = "greater" if monitor == "val_accuracy" else "less"
    assert stopping.monitor_op.__name__ == checkpoint.monitor_op.__name__ == better
    assert (tmp_path / "best.keras").exists()


def test_callbacks_know_what_is_better_of_several_outputs_and_guess_nothing_of_counts():
    model, labels = wrapped(two_outputs()), {"p": Y, "q": Y}
    fitting = {"validation_data": (X, labels), "verbose": 0}
    for monitor in ("val_p_loss", "val_q_student_loss", "p_teacher_error"):
        stopping = keras.callbacks.EarlyStopping(monitor)
        model.fit(X, labels, callbacks=[stopping], **fitting)
        assert stopping.monitor_op.__name__ == "less"
    with pytest.raises(ValueError, match="Keras isn't able to automatically determine"):
        model.fit(X, labels, callbacks=[keras.callbacks.EarlyStopping("p_labeled_per_batch")], **fitting)
