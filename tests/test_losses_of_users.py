"""A loss of the user's gets the labeled examples alone, of whatever kind it is; weights weigh the cost of labels."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_mt

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(8, 4)).astype("float32")
Y = np.array([0, 1, 2, -1, 1, -1, -1, -1])
LABELED = Y >= 0
PIXELS = RANDOM.normal(size=(6, 3, 3, 2)).astype("float32")
MAPS = RANDOM.integers(0, 2, (6, 3, 3))
MAPS[2:] = -1
WEIGHT = np.linspace(0.5, 2.0, 8).astype("float32")


def dice(y_true, y_pred):
    """One number for a batch."""
    y, p = tf.one_hot(tf.cast(y_true, "int32"), y_pred.shape[-1]), tf.nn.softmax(y_pred)
    return 1.0 - 2.0 * tf.reduce_sum(y * p) / (tf.reduce_sum(y) + tf.reduce_sum(p))


def dice_of_each(y_true, y_pred):
    """One number an example."""
    y, p = tf.one_hot(tf.cast(y_true, "int32"), y_pred.shape[-1]), tf.nn.softmax(y_pred)
    axes = list(range(1, len(p.shape)))
    return 1.0 - 2.0 * tf.reduce_sum(y * p, axes) / (tf.reduce_sum(y, axes) + tf.reduce_sum(p, axes))


def pairwise(y_true, y_pred):
    """Pulls examples of one class together: a number for a batch, from all pairs in it."""
    same = tf.cast(tf.equal(y_true[:, None], y_true[None]), "float32")
    return tf.reduce_mean(same * tf.reduce_sum(tf.square(y_pred[:, None] - y_pred[None]), -1))


def cross_entropy(y_true, y_pred):
    return keras.losses.sparse_categorical_crossentropy(y_true, y_pred, from_logits=True)


@keras.saving.register_keras_serializable("tests")
class WithCall(keras.losses.Loss):
    """A loss that overrides `__call__`, as those that need the whole batch at once do."""

    def __call__(self, y_true, y_pred, sample_weight=None):
        return dice(y_true, y_pred)

    def call(self, y_true, y_pred):
        raise NotImplementedError


@keras.saving.register_keras_serializable("tests")
class WithWeights(keras.losses.Loss):
    """One that overrides `__call__` and keeps to its weights: a mean over what they weigh."""

    def __call__(self, y_true, y_pred, sample_weight=None):
        costs = cross_entropy(y_true, y_pred)
        weight = tf.ones_like(costs) if sample_weight is None else tf.cast(sample_weight, costs.dtype)
        return tf.reduce_sum(costs * weight) / tf.reduce_sum(weight)


@keras.saving.register_keras_serializable("tests")
class WithoutWeights(WithWeights):
    """One that takes no weights at all."""

    def __call__(self, y_true, y_pred):
        return super().__call__(y_true, y_pred)


class Summed(keras.losses.SparseCategoricalCrossentropy):
    def __init__(self):
        super().__init__(from_logits=True, reduction="sum")


LOSSES = {  # What the value is for the labeled examples alone.
    "string": ("sparse_categorical_crossentropy", lambda y, p: np.mean(cross_entropy(y, p))),
    "function": (cross_entropy, lambda y, p: np.mean(cross_entropy(y, p))),
    "instance": (
        keras.losses.SparseCategoricalCrossentropy(from_logits=True), lambda y, p: np.mean(cross_entropy(y, p))
    ),
    "sum": (Summed(), lambda y, p: np.sum(cross_entropy(y, p))),
    "batch": (dice, dice),
    "pairwise": (pairwise, pairwise),
    "each": (dice_of_each, lambda y, p: np.mean(dice_of_each(y, p))),
    "call": (WithCall(), dice),
}  # fmt: skip


def wrapped(loss, network=None, **arguments):
    network = network or keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    model = keras_mt.MeanTeacher(network, method="supervised", **arguments)
    model.compile(keras.optimizers.SGD(0.0), loss=loss, run_eagerly=True)
    return model


def dense_network():
    return keras.Sequential([keras.Input((3, 3, 2)), keras.layers.Conv2D(2, 1)])


@pytest.mark.parametrize("reduction", ["batch", "labeled"])
@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_sees_the_labeled_examples_alone(name, reduction):
    loss, right = LOSSES[name]
    model = wrapped(loss, reduction=reduction)
    value = float(right(tf.constant(Y[LABELED]), model.student(X[LABELED])))
    share = LABELED.mean() if reduction == "batch" else 1.0
    got = model.train_on_batch(X, Y, return_dict=True)
    np.testing.assert_allclose(got["classification_cost"], value * share, rtol=1e-5)
    assert model.evaluate(X, Y, batch_size=8, verbose=0, return_dict=True)["student_loss"] == pytest.approx(
        value * share, rel=1e-5
    )


@pytest.mark.parametrize("on_labeled", [True, False])
def test_a_consistency_cost_that_is_a_sum_is_the_sum_over_what_takes_part(on_labeled):
    model = keras_mt.MeanTeacher(
        keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)]), teacher_augmentation=lambda x: x + 0.5,
        consistency=keras_mt.losses.MSEConsistency(reduction="sum"), consistency_on_labeled=on_labeled,
    )  # fmt: skip
    model.compile(keras.optimizers.SGD(0.0))
    keras_mt.MeanTeacherCallback(2.0, verbose=False).set_model(model)
    p, q = (tf.nn.softmax(model.student(x)).numpy() for x in (X, X + 0.5))
    right = 2.0 * ((p - q) ** 2).mean(axis=1)[on_labeled | ~LABELED].sum()
    np.testing.assert_allclose(model.train_on_batch(X, Y, return_dict=True)["consistency_cost"], right, rtol=1e-5)


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "pairwise"])
def test_a_loss_sees_the_labeled_images_alone(name):
    loss, right = LOSSES[name]
    model = wrapped(loss, dense_network())
    labeled = MAPS[:, 0, 0] >= 0
    value = float(right(tf.constant(MAPS[labeled]), model.student(PIXELS[labeled])))
    got = model.train_on_batch(PIXELS, MAPS, return_dict=True)
    np.testing.assert_allclose(got["classification_cost"], value * labeled.mean(), rtol=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_the_gradient_of_a_loss_is_that_of_the_labeled_examples(name):
    loss, right = LOSSES[name]
    model = wrapped(loss, reduction="labeled")
    model.compile(keras.optimizers.SGD(1.0), loss=loss, run_eagerly=True)
    kernel = model.student.layers[0].kernel
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(loss(Y[LABELED], model.student(X[LABELED]))) if name == "sum" else None
        if value is None:
            function = cross_entropy if name in ("string", "instance") else dice if name == "call" else loss
            value = tf.reduce_mean(function(tf.constant(Y[LABELED]), model.student(X[LABELED])))
    before = kernel.numpy()
    gradient = tape.gradient(value, kernel.value)
    model.train_on_batch(X, Y)
    np.testing.assert_allclose(before - kernel.numpy(), gradient, atol=1e-5)


@pytest.mark.parametrize("name", ["batch", "each"])
def test_labels_that_are_missing_inside_of_an_image_are_refused_where_no_weight_reaches(name):
    maps = MAPS.copy()
    maps[0, 0, 0] = -1
    with pytest.raises(ValueError, match="LabeledPositions"):
        wrapped(LOSSES[name][0], dense_network()).train_on_batch(PIXELS, maps)


@pytest.mark.parametrize("loss", [WithCall(), WithoutWeights()], ids=["ignored", "not taken"])
def test_a_loss_that_overrides_call_and_keeps_to_no_weights_is_refused_where_there_are_some(loss):
    maps = MAPS.copy()
    maps[0, 0, 0] = -1
    for labels, weight, said in ((maps, None, "LabeledPositions"), (MAPS, WEIGHT[:6], "class_weight")):
        model = wrapped(loss, dense_network())
        with pytest.raises(ValueError, match=f"{type(loss).__name__}.*does not keep to `sample_weight`.*{said}"):
            model.train_on_batch(PIXELS, labels, sample_weight=weight)


def test_a_loss_that_overrides_call_and_keeps_to_no_weights_is_refused_in_a_compiled_step_too():
    maps = MAPS.copy()
    maps[0, 0, 0] = -1
    model = wrapped(WithCall(), dense_network())
    model.compile(keras.optimizers.SGD(0.0), loss=WithCall())
    with pytest.raises(ValueError, match="WithCall.*does not keep to `sample_weight`.*LabeledPositions"):
        model.train_on_batch(PIXELS, maps)


def test_a_loss_that_overrides_call_and_keeps_to_weights_is_trained_where_there_are_some():
    maps = MAPS.copy()
    maps[0, 0, 0] = -1
    for labels, weight in ((maps, None), (MAPS, WEIGHT[:6]), (maps, WEIGHT[:6])):
        model = wrapped(WithWeights(), dense_network(), reduction="labeled")
        costs = cross_entropy(np.maximum(labels[:2], 0), model.student(PIXELS[:2])).numpy()
        each = (labels[:2] >= 0) * (1.0 if weight is None else weight[:2, None, None])
        got = model.train_on_batch(PIXELS, labels, sample_weight=weight, return_dict=True)["classification_cost"]
        np.testing.assert_allclose(got, (costs * each).sum() / each.sum(), rtol=1e-5)


def test_a_consistency_cost_that_overrides_call_is_what_is_called():
    class Consistency(keras.losses.MeanSquaredError):
        def __call__(self, y_true, y_pred, sample_weight=None):
            return 7.0 + 0.0 * tf.reduce_sum(y_pred)

    model = keras_mt.MeanTeacher(dense_network(), consistency=Consistency())
    model.compile(keras.optimizers.SGD(0.0))
    keras_mt.MeanTeacherCallback(1.0, verbose=False).set_model(model)
    assert model.train_on_batch(PIXELS, MAPS, return_dict=True)["consistency_cost"] == pytest.approx(7.0)


@pytest.mark.parametrize("loss", [dice, cross_entropy, Summed(), WithWeights()], ids=["batch", "each", "sum", "call"])
def test_labeled_positions_gives_a_loss_one_list_of_them(loss):
    maps = MAPS.copy()
    maps[0, 0, :2] = -1
    wrapped_loss = keras_mt.losses.LabeledPositions(loss)
    model = wrapped(wrapped_loss, dense_network(), reduction="labeled")
    here = maps >= 0
    outputs = model.student(PIXELS).numpy()[here]
    total = np.sum if isinstance(loss, Summed) else np.mean
    right = dice(maps[here], outputs) if loss is dice else total(cross_entropy(maps[here], outputs))
    got = model.train_on_batch(PIXELS, maps, return_dict=True)["classification_cost"]
    np.testing.assert_allclose(got, right, rtol=1e-5)


def test_keras_losses_of_pixels_are_masked_inside_of_images():
    maps = MAPS.copy()
    maps[0, 0, :2] = -1
    model = wrapped("sparse_categorical_crossentropy", dense_network(), reduction="labeled")
    costs = cross_entropy(np.maximum(maps[:2], 0), model.student(PIXELS[:2])).numpy() * (maps[:2] >= 0)
    got = model.train_on_batch(PIXELS, maps, return_dict=True)["classification_cost"]
    np.testing.assert_allclose(got, costs.mean(), rtol=1e-5)


@pytest.mark.parametrize(
    "loss",
    [None, *(LOSSES[n][0] for n in ("string", "function", "instance"))],
    ids=["own", "string", "function", "instance"],
)
@pytest.mark.parametrize("kind", ["sample", "class", "both"])
def test_weights_weigh_the_cost_of_labels_and_nothing_else(loss, kind):
    class_weight = {0: 3.0, 2: 0.5} if kind != "sample" else None
    sample_weight = WEIGHT if kind != "class" else None
    model = wrapped(loss)
    model.compile(keras.optimizers.SGD(0.0), loss=loss, metrics=["accuracy"], run_eagerly=True)
    costs = cross_entropy(np.maximum(Y, 0), model.student(X)).numpy()
    weight = LABELED * (WEIGHT if sample_weight is not None else 1.0)
    weight = weight * (np.vectorize(lambda c: class_weight.get(c, 1.0))(Y) if class_weight else 1.0)
    options = {"sample_weight": sample_weight, "class_weight": class_weight, "return_dict": True}
    got = model.train_on_batch(X, Y, **options)
    np.testing.assert_allclose(got["classification_cost"], (costs * weight).sum() / len(Y), rtol=1e-5)
    wrong = np.asarray(model.student(X)).argmax(-1)[LABELED] != Y[LABELED]
    assert got["student_error"] == pytest.approx(wrong.mean())
    assert got["accuracy"] == pytest.approx(1 - wrong.mean())


def test_a_loss_that_no_weight_reaches_refuses_weights():
    with pytest.raises(ValueError, match="sample_weight.*one number"):
        wrapped(dice).train_on_batch(X, Y, sample_weight=WEIGHT)


def test_the_consistency_cost_is_not_weighed():
    model = keras_mt.MeanTeacher(keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)]))
    model.teacher.set_weights([w + 1.0 for w in model.teacher.get_weights()[:1]] + [np.array([1.0, 0.0, 0.0])])
    model.compile(keras.optimizers.SGD(0.0), run_eagerly=True)
    keras_mt.MeanTeacherCallback(1.0, ema_decay=1 - 1e-9, verbose=False).set_model(model)
    got = [model.train_on_batch(X, Y, sample_weight=w, return_dict=True)["consistency_cost"] for w in (None, WEIGHT)]
    model.reset_metrics()
    right = np.square(tf.nn.softmax(model.student(X)) - tf.nn.softmax(model.teacher(X))).mean()
    np.testing.assert_allclose(got, right, rtol=1e-4)


WAYS = [
    # Each loss and each of the four ways once in the fast tests.
    pytest.param(loss, jit, steps, id=f"{steps}-{jit}-{name}", marks=() if fast else pytest.mark.slow)
    for loss, name, fast_ways in (
        (None, "own", [(True, 2)]),
        ("sparse_categorical_crossentropy", "string", [(True, 1)]),
        (dice, "batch", [(False, 1), (False, 2)]),
    )
    for jit in (False, True)
    for steps in (1, 2)
    for fast in [(jit, steps) in fast_ways]
]


@pytest.mark.parametrize(("loss", "jit_compile", "steps_per_execution"), WAYS)
def test_each_way_to_run_a_step_gives_the_same_weights_or_is_refused(loss, jit_compile, steps_per_execution):
    weights = []
    for options in ({"run_eagerly": True}, {"jit_compile": jit_compile, "steps_per_execution": steps_per_execution}):
        keras.utils.set_random_seed(0)
        model = keras_mt.MeanTeacher(keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)]))
        model.compile(keras.optimizers.SGD(0.5), loss=loss, **options)
        callback = keras_mt.MeanTeacherCallback(1.0, ema_decay=0.5, verbose=False)
        model.fit(X, Y, batch_size=4, epochs=2, shuffle=False, verbose=0, callbacks=[callback])
        weights.append([*model.student.get_weights(), *model.teacher.get_weights()])
    for right, got in zip(*weights, strict=True):
        np.testing.assert_allclose(got, right, atol=1e-6)


@pytest.mark.parametrize(
    ("loss", "labels", "sentence"),
    [
        ("categorical_crossentropy", Y, r"categorical_crossentropy, needs one-hot labels.*shape \(8,\)"),
        (keras.losses.MeanSquaredError(), Y[:, None], "mean_squared_error, needs one-hot labels"),
        ("sparse_categorical_crossentropy", np.eye(3)[np.abs(Y)], "sparse_categorical_crossentropy, needs integers"),
    ],
)
def test_losses_of_keras_refuse_labels_of_the_other_form(loss, labels, sentence):
    model = keras_mt.MeanTeacher(keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)]), method="supervised")
    model.compile("sgd", loss=loss, run_eagerly=True)
    with pytest.raises(ValueError, match=sentence):
        model.fit(X, labels, batch_size=8, verbose=0)


def test_metrics_of_keras_refuse_labels_of_the_other_form_and_keep_their_names():
    model = keras_mt.MeanTeacher(keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)]), method="supervised")
    model.compile("sgd", metrics=["SparseCategoricalAccuracy"], run_eagerly=True)
    assert "SparseCategoricalAccuracy" in model.fit(X, Y, verbose=0).history
    model.compile("sgd", metrics=["categorical_accuracy"], run_eagerly=True)
    with pytest.raises(ValueError, match="categorical_accuracy, needs one-hot labels"):
        model.fit(X, Y, verbose=0)


def test_a_mean_with_sample_weight_is_divided_by_the_weights():
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="mean_with_sample_weight")
    student = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    model = keras_mt.MeanTeacher(student, method="supervised", reduction="labeled")
    model.compile(keras.optimizers.SGD(0.0), loss=loss, run_eagerly=True)
    right = float(loss(Y[LABELED], student(X[LABELED]), WEIGHT[LABELED]))
    got = model.fit(X, Y, sample_weight=WEIGHT, batch_size=8, verbose=0).history["classification_cost"]
    np.testing.assert_allclose(got, right, rtol=1e-5)
