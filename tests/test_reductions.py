"""What is made of the values of a loss is what was asked for: None, which Keras takes for a sum, is refused."""

import keras
import numpy as np
import pytest
from support.dense_students import X, Y, compiled, fit, network
from support.small_students import examples, linear, one_step, softmax

import keras_mt
from keras_mt.losses import ClassificationCost, Confident, KLConsistency, LabeledPositions, LogitDistance

Entropy = keras.losses.SparseCategoricalCrossentropy
SENTENCE = 'must say what is made of its values: reduction="sum_over_batch_size"'


class Each(keras.losses.Loss):
    """A class of the user's with a value for each example."""

    def call(self, y_true, y_pred):
        return keras.ops.mean(keras.ops.square(y_pred), axis=-1)


class One(Each):
    """One number for a batch: there is nothing to reduce."""

    def call(self, y_true, y_pred):
        return keras.ops.mean(super().call(y_true, y_pred))


class Called(Each):
    """Reduces by itself, or should."""

    def __call__(self, y_true, y_pred, sample_weight=None):
        return super().call(y_true, y_pred)


def two_heads(**arguments):
    inputs = keras.Input((4,))
    student = keras.Model(inputs, [keras.layers.Dense(3)(inputs), keras.layers.Dense(3)(inputs)])
    return compiled(student, two_heads=True, logit_distance_weight=1.0, **arguments)


def with_loss(loss):
    model = keras_mt.MeanTeacher(network(), method="supervised")
    model.compile(keras.optimizers.SGD(0.1), loss=loss)
    return model


@pytest.mark.parametrize("none", [None, "none"])
@pytest.mark.parametrize("make", [ClassificationCost, lambda **k: Entropy(from_logits=True, **k),
                                  lambda **k: LabeledPositions(Entropy(from_logits=True, **k))])  # fmt: skip
def test_a_loss_of_labels_without_a_reduction_is_refused_when_compiled(make, none):
    with pytest.raises(ValueError, match=SENTENCE):
        with_loss(make(reduction=none))


@pytest.mark.parametrize("loss", [Each(reduction=None), LabeledPositions(Entropy(from_logits=True), reduction=None)])
@pytest.mark.parametrize("method", ["fit", "evaluate"])
def test_one_of_the_users_is_refused_once_it_gives_several_values(loss, method):
    model = with_loss(loss)
    before = model.student.get_weights()
    with pytest.raises(ValueError, match=SENTENCE):
        getattr(model, method)(X, Y, verbose=0)
    np.testing.assert_array_equal(before[0], model.student.get_weights()[0])


def test_one_number_for_a_batch_needs_no_reduction():
    plain = network()
    model = keras_mt.MeanTeacher(keras.models.clone_model(plain), method="supervised")
    model.student.set_weights(plain.get_weights())
    for trained in (model, plain):
        trained.compile(keras.optimizers.SGD(0.1), loss=One(reduction=None))
        trained.fit(X, Y, batch_size=12, verbose=0)
    np.testing.assert_allclose(model.student.get_weights()[0], plain.get_weights()[0], rtol=1e-5)


def test_a_loss_that_overrides_call_and_returns_several_values_is_refused():
    with pytest.raises(ValueError, match=r"must return one number for a batch. Received: Called"):
        with_loss(Called()).fit(X, Y, verbose=0)


@pytest.mark.parametrize("reduction", ["sum", "mean_with_sample_weight"])
@pytest.mark.parametrize("of_model", ["batch", "labeled"])
def test_own_losses_are_reduced_as_they_say(reduction, of_model):
    x, y = examples()
    student = linear()
    values = -np.log(softmax(student(x).numpy())[np.arange(12), y])[y >= 0]
    model = keras_mt.MeanTeacher(student, method="supervised", reduction=of_model)
    model.compile(keras.optimizers.SGD(0.0), loss=ClassificationCost(reduction=reduction))
    got = model.train_on_batch(x, y, return_dict=True)["classification_cost"]
    evaluated = model.evaluate(x, y, verbose=0, return_dict=True)["loss"]
    np.testing.assert_allclose([got, evaluated], values.sum() if reduction == "sum" else values.mean(), rtol=1e-5)


@pytest.mark.parametrize("make", [KLConsistency, lambda **k: Confident("mse", **k),
                                  lambda **k: Confident(KLConsistency(**k))])  # fmt: skip
def test_a_consistency_cost_without_a_reduction_is_refused_when_wrapped(make):
    with pytest.raises(ValueError, match=f"consistency cost of the output, .*{SENTENCE}"):
        keras_mt.MeanTeacher(network(), consistency=make(reduction=None))


def test_a_consistency_cost_of_the_users_is_refused_in_the_first_step():
    with pytest.raises(ValueError, match=f"consistency cost of the output, each, {SENTENCE}"):
        fit(compiled(network(), consistency=Each(reduction=None, name="each")))


def test_a_logit_distance_without_a_reduction_is_refused():
    with pytest.raises(ValueError, match=f"logit distance, .*{SENTENCE}"):
        two_heads(logit_distance=LogitDistance(reduction=None))
    with pytest.raises(ValueError, match=f"logit distance, .*{SENTENCE}"):
        fit(two_heads(logit_distance=Each(reduction=None)))


@pytest.mark.parametrize(
    "confident",
    [
        Confident("mse", 0.0, reduction="sum"),
        Confident(keras_mt.losses.MSEConsistency("sum"), 0.0),
        Confident(keras_mt.losses.MSEConsistency(), 0.0, reduction="sum"),
        Confident(keras_mt.losses.MSEConsistency("sum"), 0.0, reduction="sum"),
    ],
)
def test_a_confident_cost_is_reduced_as_it_or_what_is_inside_says(confident):
    x, y = examples()
    student = keras.Sequential([keras.Input((5,)), keras_mt.layers.Dropout(0.5), *linear().layers])
    right = one_step(student, x, y, consistency=keras_mt.losses.MSEConsistency("sum"))[1]["consistency_cost"]
    assert right > 0
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(confident))
    for cost in (confident, again):
        student = keras.Sequential([keras.Input((5,)), keras_mt.layers.Dropout(0.5), *linear().layers])
        got = one_step(student, x, y, consistency=cost)[1]["consistency_cost"]
        np.testing.assert_allclose(got, right, rtol=1e-5)


def test_labeled_positions_are_added_up_if_the_loss_inside_says_so():
    x, y = examples(labeled=12)
    loss, student = Entropy(from_logits=True, reduction="sum"), linear()
    right = float(loss(y, student(x)))
    model = keras_mt.MeanTeacher(student, method="supervised")
    model.compile(keras.optimizers.SGD(0.0), loss=LabeledPositions(loss))
    assert model.train_on_batch(x, y, return_dict=True)["classification_cost"] == pytest.approx(right, rel=1e-5)


@pytest.mark.parametrize("make", [Confident, LabeledPositions])
def test_reductions_that_contradict_are_refused(make):
    with pytest.raises(ValueError, match="given once, or alike for both losses. Received: reduction='sum'"):
        make(KLConsistency("mean_with_sample_weight"), reduction="sum")
