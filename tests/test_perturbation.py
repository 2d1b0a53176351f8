"""Virtual adversarial perturbation and uncertainty, against NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.small_students import examples, largest, linear, noisy, one_step, softmax

import keras_mt
from keras_mt.views import PERTURBATION, noise_of_uncertainty, seed_of_pass


def perturbation_of_numpy(x, target, student, epsilon, xi):
    """For a linear student the gradient of the divergence by r is (softmax((x + ξd) W + b) - p) Wᵀ."""
    kernel, bias = (weight.astype("float64") for weight in student.get_weights())
    direction = tf.random.stateless_normal(x.shape, seed_of_pass(0, tf.constant(0, "int64"), PERTURBATION)).numpy()
    direction = direction / np.linalg.norm(direction, axis=1, keepdims=True)
    gradient = (softmax((x + xi * direction) @ kernel + bias) - target) @ kernel.T
    return epsilon * gradient / np.linalg.norm(gradient, axis=1, keepdims=True)


@pytest.mark.parametrize("method", ["mean_teacher", "vat"])
@pytest.mark.parametrize("on_labeled", [False, True])
def test_the_student_sees_what_numpy_perturbs(method, on_labeled):
    x, y = examples()
    adversary = keras_mt.VirtualAdversarial(epsilon=0.7, xi=0.1, on_labeled=on_labeled)
    kernel, bias = linear().get_weights()
    target = softmax(x.astype("float64") @ kernel + bias)
    _, logs = one_step(linear(), x, y, perturbation=adversary, method=method, consistency="kl")
    change = perturbation_of_numpy(x, target, linear(), 0.7, 0.1)
    change[(y >= 0) & (not on_labeled)] = 0.0
    np.testing.assert_allclose(np.linalg.norm(change[4:], axis=1), 0.7)
    predicted = softmax((x + change) @ kernel + bias)
    divergence = (target * np.log(target / predicted)).sum(axis=1)
    np.testing.assert_allclose(logs["consistency_cost"], 2.0 * divergence.mean(), rtol=1e-3)
    cost = -np.log(predicted[np.arange(4), y[:4]]).sum() / 12
    np.testing.assert_allclose(logs["classification_cost"], cost, rtol=1e-4)


def test_the_adversary_changes_predictions_more_than_chance_does():
    x, y = examples(rows=64, labeled=8)
    adversary = keras_mt.VirtualAdversarial(epsilon=0.5, xi=0.1)
    _, logs = one_step(linear(), x, y, perturbation=adversary, consistency="kl")
    random = np.random.default_rng(0).normal(size=x.shape)
    random *= 0.5 / np.linalg.norm(random, axis=1, keepdims=True) * (y < 0)[:, None]
    kernel, bias = linear().get_weights()
    target, predicted = (softmax(rows @ kernel + bias) for rows in (x, x + random))
    chance = (target * np.log(target / predicted)).sum(axis=1).mean()
    assert logs["consistency_cost"] > 2 * 2.0 * chance


@pytest.mark.parametrize("method", ["mean_teacher", "vat"])
@pytest.mark.parametrize("separate_passes", [None, 4])
def test_consistency_alone_moves_the_student_and_only_the_average_moves_the_teacher(method, separate_passes):
    x, y = examples()
    arguments = {"method": method, "perturbation": keras_mt.VirtualAdversarial(0.5)}
    start = noisy().get_weights()
    model, _ = one_step(noisy(), x, np.full_like(y, -1), separate_passes=separate_passes, **arguments)
    student, teacher = model.student.get_weights(), model.teacher.get_weights()
    trained = [weight.trainable for weight in model.student.weights]
    assert max(np.abs(a - b).max() for a, b, t in zip(student, start, trained, strict=True) if t) > 1e-5
    for old, new, averaged, is_trained in zip(start, student, teacher, trained, strict=True):
        if is_trained:
            np.testing.assert_allclose(averaged, 0.5 * old + 0.5 * new, atol=1e-6)


def test_the_search_for_the_perturbation_leaves_statistics_and_noise_as_they_are():
    """With ε so small that x stays as it is, a step is the plain one: the passes before it have left nothing behind."""
    x, y = examples()
    tiny = keras_mt.VirtualAdversarial(epsilon=1e-30)
    assert largest(one_step(noisy(), x, y)[0], one_step(noisy(), x, y, perturbation=tiny)[0]) == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"method": "vat"}, 'The method "vat" needs the argument `perturbation`'),
        ({"method": "pi", "perturbation": keras_mt.VirtualAdversarial(1.0)}, '"mean_teacher" or "vat"'),
        ({"perturbation": 1.0}, "must be a `keras_mt.VirtualAdversarial`"),
        ({"uncertainty": keras_mt.Uncertainty()}, "needs a teacher whose layers draw noise"),
        ({"uncertainty": keras_mt.Uncertainty(), "method": "pi"}, 'needs the method "mean_teacher"'),
    ],
)
def test_what_cant_be_perturbed_is_refused_when_it_is_built(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        keras_mt.MeanTeacher(linear(), **arguments)


@pytest.mark.parametrize("bad", [{"epsilon": 0.0}, {"epsilon": 1.0, "xi": -1.0}, {"epsilon": 1.0, "iterations": 0}])
def test_numbers_out_of_range_are_refused(bad):
    with pytest.raises(ValueError, match=next(reversed(bad))):
        keras_mt.VirtualAdversarial(**bad)


def test_passes_of_all_replicas_draw_noise_of_their_own():
    """Replica r adds 6 r to the number of a pass."""
    numbers = {noise_of_uncertainty(k) + 6 * replica for k in range(64) for replica in range(128)}
    assert len(numbers) == 64 * 128


@pytest.mark.parametrize(
    ("argument", "value"),
    [("mixing", keras_mt.mixing.Interpolation()), ("perturbation", keras_mt.VirtualAdversarial(1.0))],
)
def test_padding_that_is_known_by_its_values_is_not_changed(argument, value):
    masked = keras.Sequential([keras.Input((6, 4)), keras.layers.Masking(), keras.layers.LSTM(3)])
    with pytest.raises(ValueError, match=f"`{argument}` changes the values by which a `Masking` layer knows padding"):
        keras_mt.MeanTeacher(masked, **{argument: value})
    keras_mt.MeanTeacher(masked, mixing=keras_mt.mixing.CutMix())  # Whole steps are cut, padding with them.


def test_words_have_no_gradient():
    words = keras.Sequential([keras.Input((6,), dtype="int32"), keras.layers.Embedding(10, 4), keras.layers.Dense(3)])
    with pytest.raises(ValueError, match="needs a student with one input of floats"):
        keras_mt.MeanTeacher(words, perturbation=keras_mt.VirtualAdversarial(1.0))


@pytest.mark.parametrize("rampup_steps", [0, 10])
def test_what_counts_as_certain_is_what_numpy_finds(rampup_steps):
    x, y = examples(rows=32, labeled=4)
    uncertainty = keras_mt.Uncertainty(passes=3, rampup_steps=rampup_steps, start=0.6)
    model, logs = one_step(noisy(), x, y, uncertainty=uncertainty)
    again = keras_mt.MeanTeacher(noisy())
    step = tf.constant(0, "int64")
    passes = [again._passes.target(again.teacher, x, step, False, noise_of_uncertainty(k))[0].numpy() for k in range(3)]
    mean = np.mean([softmax(part.astype("float64")) for part in passes], axis=0)
    entropy = -(mean * np.log(mean)).sum(axis=1)
    ramp = np.exp(-5.0) if rampup_steps else 1.0
    certain = entropy < (0.6 + 0.4 * ramp) * np.log(3)
    assert not np.array_equal(passes[0], passes[1])
    np.testing.assert_allclose(logs["certain_share"], certain.mean(), rtol=1e-6)
    assert rampup_steps == 0 or 0 < certain.sum() < len(x)
