"""What is padding has no label and no cost: Keras' masks count in errors, costs and `labeled_per_batch`."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_mt

K = keras.layers
RANDOM = np.random.default_rng(0)
TOKENS = np.array(
    [[1, 2, 3, 0, 0], [4, 5, 0, 0, 0], [3, 3, 1, 2, 5], [1, 0, 0, 0, 0], [2, 4, 0, 0, 0], [5, 1, 2, 3, 0]]
)
REAL = TOKENS != 0
TAGS = np.where(REAL, TOKENS % 3, 0)  # A tagger that pads with 0: without masks padding would be class 0.
TAGS[3:] = -1


def tagger(kind):
    if kind == "Embedding":
        return keras.Sequential([keras.Input((5,)), K.Embedding(6, 4, mask_zero=True), K.Dense(3)]), TOKENS
    x = np.where(REAL[..., None], RANDOM.normal(size=(6, 5, 4)), 0.0).astype("float32")
    return keras.Sequential([keras.Input((5, 4)), K.Masking(), K.Dense(3)]), x


@pytest.mark.parametrize("reduction", ["batch", "labeled"])
@pytest.mark.parametrize("passes", [None, 3], ids=["joint", "separate"])
@pytest.mark.parametrize("kind", ["Embedding", "Masking"])
def test_padding_has_no_label_and_no_cost(kind, passes, reduction):
    student, x = tagger(kind)
    model = keras_mt.MeanTeacher(student, separate_passes=passes, reduction=reduction)
    model.teacher.set_weights([w + RANDOM.normal(size=w.shape) for w in model.teacher.get_weights()])
    model.compile(keras.optimizers.SGD(0.0), run_eagerly=True)
    keras_mt.MeanTeacherCallback(1.0, verbose=False).set_model(model)
    outputs, targets = (np.asarray(n(x)) for n in (model.student, model.teacher))
    evaluated = model.evaluate(x, TAGS, batch_size=4, verbose=0, return_dict=True)
    got = model.train_on_batch(x, TAGS, return_dict=True)

    labeled = REAL & (TAGS >= 0)
    costs = -np.take_along_axis(tf.nn.log_softmax(outputs).numpy(), np.maximum(TAGS, 0)[..., None], -1)[..., 0]
    divisor = REAL.sum() if reduction == "batch" else labeled.sum()
    np.testing.assert_allclose(got["classification_cost"], (costs * labeled).sum() / divisor, rtol=1e-5)
    distances = np.square(tf.nn.softmax(outputs) - tf.nn.softmax(targets)).mean(-1)
    part = REAL & (np.arange(6) >= 3)[:, None] if passes else REAL
    divisor = part.sum() if reduction == "labeled" else REAL.sum()
    np.testing.assert_allclose(got["consistency_cost"], (distances * part).sum() / divisor, rtol=1e-5)
    wrong = (outputs.argmax(-1) != TAGS)[labeled].mean()
    np.testing.assert_allclose([got["student_error"], evaluated["student_error"]], wrong, rtol=1e-5)
    assert evaluated["teacher_error"] == pytest.approx((targets.argmax(-1) != TAGS)[labeled].mean())
    assert got["labeled_per_batch"] == 3


@pytest.mark.parametrize("kind", ["Embedding", "Masking"])
@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum", "mean_with_sample_weight"])
def test_a_loss_of_keras_leaves_padding_out_as_in_keras(kind, reduction):
    student, x = tagger(kind)
    x, tags = x.copy(), np.where(REAL, TOKENS % 3, 0)
    x[1] = 0  # An example that is padding alone.
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction=reduction)
    right = float(loss(tags, student(x)))
    model = keras_mt.MeanTeacher(student, method="supervised", reduction="labeled")
    model.compile(keras.optimizers.SGD(0.0), loss=loss, run_eagerly=True)
    got = model.train_on_batch(x, tags, return_dict=True)["classification_cost"]
    np.testing.assert_allclose(got, right, rtol=1e-5)
    if reduction != "sum":
        model = keras_mt.MeanTeacher(student, method="supervised")
        model.compile(keras.optimizers.SGD(0.0), loss=loss)
        got = model.evaluate(x, tags, batch_size=6, verbose=0, return_dict=True)["student_loss"]
        np.testing.assert_allclose(got, right, rtol=1e-5)


def test_columns_of_padding_are_left_out_of_a_loss_of_keras():
    student = keras.Sequential([keras.Input((5,)), K.Embedding(6, 4, mask_zero=True), K.Dense(2)])
    y = RANDOM.integers(0, 2, (6, 5, 2))
    right = float(keras.losses.BinaryCrossentropy(from_logits=True)(y, student(TOKENS)))
    model = keras_mt.MeanTeacher(student, task="multilabel", method="supervised")
    model.compile(keras.optimizers.SGD(0.0), loss="binary_crossentropy", run_eagerly=True)
    got = model.train_on_batch(TOKENS, y, return_dict=True)["classification_cost"]
    np.testing.assert_allclose(got, right, rtol=1e-5)


@pytest.mark.parametrize("execution", ["eager", "graph", "fit"])
def test_masks_count_however_a_step_is_run(execution):
    student, x = tagger("Embedding")
    model = keras_mt.MeanTeacher(student, method="supervised")
    model.compile(keras.optimizers.SGD(0.0), metrics=["accuracy"], run_eagerly=execution == "eager")
    labeled = REAL & (TAGS >= 0)
    right = (np.asarray(student(x)).argmax(-1) == TAGS)[labeled].mean()
    if execution == "fit":
        result = {k: v[0] for k, v in model.fit(x, TAGS, batch_size=6, verbose=0).history.items()}
    else:
        result = model.train_on_batch(x, TAGS, return_dict=True)
    np.testing.assert_allclose([result["accuracy"], 1 - result["student_error"]], right, rtol=1e-5)


@pytest.mark.parametrize("rank", [2, 3, 4, 5])
def test_labeled_per_batch_counts_examples_not_positions(rank):
    shape = (2,) * (rank - 2)
    student = keras.Sequential([keras.Input((*shape, 3)), K.Dense(3)])
    y = np.zeros((4, *shape), int)
    y[2:] = -1
    model = keras_mt.MeanTeacher(student, method="supervised")
    model.compile("sgd", run_eagerly=True)
    got = model.train_on_batch(np.ones((4, *shape, 3), "float32"), y, return_dict=True)
    assert got["labeled_per_batch"] == 2


@pytest.mark.parametrize("how", ["train_on_batch", "fit", "dataset"])
def test_separate_passes_with_too_few_rows_are_refused_in_a_sentence(how):
    student, x = tagger("Embedding")
    model = keras_mt.MeanTeacher(student, separate_passes=4, method="supervised")
    model.compile("sgd")
    calls = {
        "train_on_batch": lambda: model.train_on_batch(x[:4], TAGS[:4]),
        "fit": lambda: model.fit(x, TAGS, batch_size=3, verbose=0),
        "dataset": lambda: model.fit(tf.data.Dataset.from_tensor_slices((x, TAGS)).batch(4), verbose=0),
    }
    with pytest.raises(ValueError, match="`separate_passes`=4 must be below.*batch"):
        calls[how]()


def test_schedules_are_compared_by_class_and_config():
    student, _ = tagger("Embedding")
    model = keras_mt.MeanTeacher(student)
    model.compile("sgd")
    given = {"rampup_steps": 4, "verbose": False}
    keras_mt.MeanTeacherCallback(1.0, **given).set_model(model)
    model.train_function = kept = object()
    keras_mt.MeanTeacherCallback(1.0, **given).set_model(model)
    assert model.train_function is kept
    keras_mt.MeanTeacherCallback(1.0, rampup="linear", **given).set_model(model)  # The same config, another class.
    assert model.train_function is None


def test_a_float16_step_that_was_skipped_does_not_enter_the_memory_of_predictions():
    inputs = keras.Input((4,))
    student = keras.Model(inputs, K.Dense(3, dtype="mixed_float16")(inputs))
    model = keras_mt.MeanTeacher(student, method="temporal_ensembling", num_examples=6)
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1), initial_scale=1.0)
    model.compile(optimizer, run_eagerly=True)
    keras_mt.MeanTeacherCallback(1.0, verbose=False).set_model(model)
    x, y, index = RANDOM.normal(size=(6, 4)).astype("float32"), np.arange(6) % 3, np.arange(6)
    model.train_on_batch((x, index), y)
    (memory,) = model.prediction_ensembles
    kept = memory.averages.numpy(), memory.visits.numpy()
    assert kept[1].tolist() == [1] * 6
    optimizer.dynamic_scale.assign(1e30)
    model.train_on_batch((x * 2, index), y)
    assert int(optimizer.iterations) == 1
    np.testing.assert_array_equal(memory.averages, kept[0])
    np.testing.assert_array_equal(memory.visits, kept[1])


@pytest.mark.parametrize("passes", [None, 3], ids=["joint", "separate"])
@pytest.mark.parametrize("kind", ["Embedding", "Masking"])
def test_padding_counts_neither_in_class_balance_nor_in_shares_of_targets(kind, passes):
    student, x = tagger(kind)
    confident = keras_mt.losses.Confident("mse", threshold=0.4)
    model = keras_mt.MeanTeacher(student, consistency=confident, class_balance=0.1, separate_passes=passes)
    model.teacher.set_weights([w + RANDOM.normal(size=w.shape) for w in model.teacher.get_weights()])
    model.compile(keras.optimizers.SGD(0.0), run_eagerly=True)
    keras_mt.MeanTeacherCallback(1.0, verbose=False).set_model(model)
    predictions, targets = (tf.nn.softmax(n(x)).numpy() for n in (model.student, model.teacher))
    got = model.train_on_batch(x, TAGS, return_dict=True)

    sure, unlabeled = targets.max(-1) >= 0.4, REAL & (np.arange(6) >= 3)[:, None]
    counted = unlabeled if passes else REAL
    assert got["confident_share"] == pytest.approx(sure[counted].mean(), rel=1e-5)
    cost = (np.square(predictions - targets).mean(-1) * sure)[counted].sum() / REAL.sum()
    balance = -np.log(predictions[unlabeled].mean(axis=0)).sum() * sure[unlabeled].mean()
    assert got["consistency_cost"] == pytest.approx(cost + 0.1 * balance, rel=1e-5)


def test_padding_is_not_certain():
    student = keras.Sequential([keras.Input((5,)), K.Embedding(6, 4, mask_zero=True), K.Dropout(1e-7), K.Dense(3)])
    random = np.random.default_rng(0)
    student.set_weights([random.normal(size=w.shape) for w in student.weights])
    p = tf.nn.softmax(student(TOKENS)).numpy()
    entropy = -(p * np.log(p)).sum(-1) / np.log(3)
    of_tokens = np.unique(entropy.round(4))
    widest = np.argmax(np.diff(of_tokens))
    start = of_tokens[widest : widest + 2].mean()
    certain = entropy < start
    assert np.diff(of_tokens).max() > 0.1
    assert certain[REAL].mean() != certain.mean()
    model = keras_mt.MeanTeacher(student, uncertainty=keras_mt.Uncertainty(2, start=start, rampup_steps=10**6))
    model.compile(keras.optimizers.SGD(0.0), run_eagerly=True)
    keras_mt.MeanTeacherCallback(1.0, verbose=False).set_model(model)
    got = model.train_on_batch(TOKENS, TAGS, return_dict=True)
    assert got["certain_share"] == pytest.approx(certain[REAL].mean(), rel=1e-5)
