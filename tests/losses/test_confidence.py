"""Targets that the teacher is sure of."""

import keras
import numpy as np
import pytest
from support.small_students import examples, largest, linear, one_step, per_pixel, pictures, softmax

import keras_mt
from keras_mt.losses import Confident
from keras_mt.mixing import Interpolation


def divergences(target, predicted):
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(target > 0, target * np.log(target / predicted), 0.0).sum(axis=-1)


@pytest.mark.parametrize("loss", ["mse", "kl", 0.5])
def test_a_threshold_of_0_is_mean_teacher_bit_for_bit(loss):
    x, y = examples()
    plain, _ = one_step(linear(), x, y, steps=3, consistency=loss)
    assert largest(plain, one_step(linear(), x, y, steps=3, consistency=Confident(loss, threshold=0.0))[0]) == 0


@pytest.mark.parametrize(("temperature", "hard"), [(1.0, False), (0.5, False), (1.0, True)])
def test_costs_and_their_share_are_those_of_numpy(temperature, hard):
    x, y = examples()
    kernel, bias = linear().get_weights()
    logits = x @ kernel + bias
    logits = np.asarray(logits, "float64")
    sure = softmax(logits).max(axis=1) >= 0.7
    assert 0 < sure.sum() < len(x)
    target = np.eye(3)[logits.argmax(axis=1)] if hard else softmax(logits / temperature)
    values = divergences(target, softmax(logits)) * sure
    confident = Confident("kl", threshold=0.7, temperature=temperature, hard=hard)
    _, logs = one_step(linear(), x, y, consistency=confident)
    np.testing.assert_allclose(logs["consistency_cost"], 2.0 * values.mean(), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(logs["confident_share"], sure.mean(), rtol=1e-6)
    np.testing.assert_allclose(confident(logits, logits), values.mean(), rtol=1e-4, atol=1e-6)


def test_pixels_are_sure_each_by_itself_and_mixed_as_their_targets():
    x, y = pictures()
    kernel, bias = (weight.reshape(-1, 3) for weight in per_pixel().get_weights())
    sure = softmax(x @ kernel + bias).max(axis=-1) >= 0.6
    confident = Confident("mse", threshold=0.6)
    _, logs = one_step(per_pixel(), x, y, consistency=confident)
    np.testing.assert_allclose(logs["confident_share"], sure.mean(), rtol=1e-6)
    _, mixed = one_step(per_pixel(), x, y, consistency=confident, mixing=Interpolation(share=0.25))
    np.testing.assert_allclose(mixed["confident_share"], sure.mean(), rtol=1e-6)


def test_yes_or_no_outputs_are_sure_each_by_itself():
    x, y = examples()
    labels = np.full((12, 3), -1)
    labels[:4] = np.eye(3, dtype=int)[y[:4]]
    kernel, bias = linear().get_weights()
    yes = 1 / (1 + np.exp(-(x @ kernel + bias)))
    sure = np.maximum(yes, 1 - yes) >= 0.8
    _, logs = one_step(linear(), x, labels, task="multilabel", consistency=Confident("mse", 0.8, hard=True))
    np.testing.assert_allclose(logs["confident_share"], sure.mean(), rtol=1e-6)
    np.testing.assert_allclose(logs["consistency_cost"], 2.0 * (((yes > 0.5) - yes) ** 2 * sure).mean(), rtol=1e-4)


@pytest.mark.parametrize(
    "arguments",
    [
        {"consistency_on_labeled": False},
        {"consistency_on_labeled": False, "teacher_sees": "unlabeled"},
        {"separate_passes": 4},
    ],
)
def test_the_share_is_that_of_the_examples_that_have_the_cost(arguments):
    x, y = examples()
    kernel, bias = linear().get_weights()
    sure = softmax(x @ kernel + bias).max(axis=1) >= 0.8
    _, logs = one_step(linear(), x, y, consistency=Confident("mse", 0.8), **arguments)
    assert sure[y < 0].mean() != sure.mean()
    np.testing.assert_allclose(logs["confident_share"], sure[y < 0].mean(), rtol=1e-6)


def test_numbers_have_no_probability_to_be_sure_of():
    with pytest.raises(ValueError, match='needs probabilities, which outputs of the task "regression" have not'):
        keras_mt.MeanTeacher(linear(), task="regression", consistency=Confident("mse"))


@pytest.mark.parametrize("bad", [{"threshold": 1.1}, {"temperature": 0.0}])
def test_numbers_out_of_range_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        Confident(**bad)


def test_a_loss_that_overrides_call_is_called_as_keras_calls_it():
    class Overriding(keras.losses.Loss):
        def __call__(self, y_true, y_pred, sample_weight=None):
            return keras.ops.mean(keras.ops.square(y_true - y_pred), axis=-1)

    logits = np.array([[9.0, 0.0], [0.1, 0.0]], "float32")
    np.testing.assert_allclose(Confident(Overriding(), 0.9).call(logits, logits + 1.0), [1.0, 0.0])


def test_it_is_saved_and_loaded():
    confident = Confident(keras.losses.KLDivergence(), 0.9, 0.5)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(confident))
    assert isinstance(again.loss, keras.losses.KLDivergence)
    assert (again.threshold, again.temperature, again.hard) == (0.9, 0.5, False)
