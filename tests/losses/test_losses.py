import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mt import losses


@pytest.fixture
def logits(golden):
    values = golden("costs")
    return values["student_logits"], values["teacher_logits"], values["labels"], values


def gradient(loss, y_true, y_pred, weights=None):
    y_pred = tf.Variable(y_pred)
    with tf.GradientTape() as tape:
        value = loss(tf.constant(y_true), y_pred, weights)
    return value.numpy(), tape.gradient(value, y_pred).numpy()


def test_classification_equals_the_golden_values(logits):
    student, _, labels, golden = logits
    mean, slope = gradient(losses.ClassificationCost(), labels, student)
    np.testing.assert_allclose(mean, golden["classification/mean"], rtol=1e-6)
    np.testing.assert_allclose(slope, golden["classification/gradient"], atol=1e-6)
    each = losses.ClassificationCost(reduction=None)(labels, student)
    np.testing.assert_allclose(each, golden["classification/per_example"], atol=1e-6, rtol=1e-6)


def test_error_equals_the_golden_values(logits):
    student, _, labels, golden = logits
    shown, labeled = losses.mask_unlabeled(tf.constant(labels))
    errors = losses.classification_errors(shown, student).numpy()[labeled.numpy() == 1]
    np.testing.assert_array_equal(errors, golden["error/per_labeled_example"])
    np.testing.assert_allclose(errors.mean(), golden["error/mean"], rtol=1e-6)


@pytest.mark.parametrize("trust", [0.0, 0.01, 0.1, 0.5, 0.9, 0.99, 1.0])
@pytest.mark.parametrize("who", ["all", "unlabeled_only"])
def test_consistency_family_equals_the_golden_values(logits, trust, who):
    student, teacher, labels, golden = logits
    weights = None if who == "all" else (labels == -1).astype("float32")
    loss = losses.get_consistency(trust)
    prefix = f"consistency/trust_{trust}/{who}"
    mean, slope = gradient(loss, teacher, student, weights)
    tolerance = {"rtol": 1e-3, "atol": 1e-6} if 0 < trust < 0.5 else {"rtol": 1e-6, "atol": 1e-6}
    np.testing.assert_allclose(mean, golden[f"{prefix}/mean"], **tolerance)
    np.testing.assert_allclose(slope, golden[f"{prefix}/gradient"], **tolerance)
    each = loss.call(tf.constant(teacher), tf.constant(student)).numpy() * (1.0 if weights is None else weights)
    np.testing.assert_allclose(each, golden[f"{prefix}/per_example"], **tolerance)


@pytest.mark.parametrize("trust", [1e-12, 1e-6, 1e-3])
def test_the_family_keeps_its_digits_at_small_trust(logits, trust):
    student, teacher, *_ = logits
    p, q = (np.exp(a.astype("float64")) for a in (student, teacher))
    p, q = p / p.sum(1, keepdims=True), q / q.sum(1, keepdims=True)
    p_mixed, q_mixed = (trust * a + (1 - trust) / 10 for a in (p, q))
    # The second-order expansion of the divergence, exact to O(trust).
    expected = 2 * 0.9 / 100 * (0.5 * (p - q) ** 2 / p_mixed).sum(1)
    assert np.all(q_mixed > 0)
    computed = losses.TrustConsistency(trust).call(tf.constant(teacher), tf.constant(student)).numpy()
    np.testing.assert_allclose(computed, expected, rtol=max(1e-5, 10 * trust))


@pytest.mark.parametrize("identifier", ["mse", "kl", 0.3])
def test_consistency_gradient_equals_a_finite_difference(logits, identifier):
    student, teacher, *_ = logits
    loss = losses.get_consistency(identifier)
    _, slope = gradient(loss, teacher, student)
    random = np.random.default_rng(0)
    direction = random.normal(size=student.shape).astype("float32")
    step = 1e-2
    ahead, behind = (float(loss(teacher, student + sign * step * direction)) for sign in (1, -1))
    np.testing.assert_allclose((ahead - behind) / (2 * step), (slope * direction).sum(), rtol=2e-3)


def test_equal_predictions_cost_nothing(logits):
    student, *_ = logits
    for identifier in ("mse", "kl", 0.01, 0.5, 1.0):
        mean, slope = gradient(losses.get_consistency(identifier), student, student)
        assert abs(mean) < 1e-7
        assert np.abs(slope).max() < 1e-7


def test_extreme_logits_give_finite_costs_and_gradients():
    student = np.array([[200.0, -200.0, 0.0]], "float32")
    teacher = student[:, ::-1].copy()
    for identifier in ("mse", "kl", 1e-6, 0.01, 0.5, 0.99, 1.0):
        mean, slope = gradient(losses.get_consistency(identifier), teacher, student)
        assert np.isfinite(mean)
        assert np.isfinite(slope).all()


def test_one_hot_labels_cost_what_class_numbers_do(logits):
    student, _, labels, _ = logits
    one_hot = np.where(labels[:, None] == -1, -1, np.arange(10) == np.maximum(labels, 0)[:, None]).astype("float32")
    expected = float(losses.ClassificationCost()(labels, student))
    np.testing.assert_allclose(float(losses.ClassificationCost()(one_hot, student)), expected, rtol=1e-6)


def test_logit_distance_is_the_sum_or_mean_of_squares():
    first, second = np.zeros((2, 4), "float32"), np.full((2, 4), 3.0, "float32")
    assert float(losses.LogitDistance()(first, second)) == 36.0
    assert float(losses.LogitDistance("mean")(first, second)) == 9.0


@pytest.mark.parametrize("loss", [losses.TrustConsistency(0.3), losses.MSEConsistency(), losses.LogitDistance("mean")])
def test_costs_survive_serialization(loss):
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert again.get_config() == loss.get_config()


@pytest.mark.parametrize("bad", [-0.1, 1.1, "cosine", None, True])
def test_an_unknown_consistency_is_refused(bad):
    with pytest.raises(ValueError, match="Received"):
        losses.get_consistency(bad)
