"""Mixing: what the student sees and what it is pulled to, against NumPy; and that nothing else changes."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.small_students import examples, largest, linear, noisy, one_step, per_pixel, pictures, softmax

import keras_mt
from keras_mt.mixing import CutMix, Interpolation

MIXINGS = {
    "interpolation": Interpolation,
    "interpolation of labels": lambda **k: Interpolation(labels=True, **k),
    "cut": CutMix,
    "cut labels": lambda **k: CutMix(labels=True, **k),
}


def drawn(mixing, x, labeled, step=0, seed=0):
    mixture = mixing.draw(tf.constant(x), tf.constant(labeled), seed, tf.constant(step, "int64"))
    boxes = None if mixture.boxes is None else mixture.boxes.numpy()
    return mixture.partners.numpy(), float(mixture.share), boxes


@functools.cache
def two_steps_without_mixing(consistency_on_labeled):
    return one_step(per_pixel(), *pictures(), steps=2, consistency_on_labeled=consistency_on_labeled)[0]


@pytest.mark.parametrize("kind", MIXINGS)
@pytest.mark.parametrize("consistency_on_labeled", [True, False])
def test_a_share_of_1_is_mean_teacher_bit_for_bit(kind, consistency_on_labeled):
    arguments = {"mixing": MIXINGS[kind](share=1.0), "consistency_on_labeled": consistency_on_labeled}
    mixed, _ = one_step(per_pixel(), *pictures(), steps=2, **arguments)
    assert largest(two_steps_without_mixing(consistency_on_labeled), mixed) == 0


@pytest.mark.parametrize("labels", [False, True])
def test_the_target_and_the_costs_of_interpolation_are_those_of_numpy(labels):
    x, y = examples()
    mixing = Interpolation(labels=labels)
    model, logs = one_step(linear(), x, y, mixing=mixing)
    partners, share, _ = drawn(mixing, x, y >= 0)
    unlabeled = y < 0
    moved = np.ones_like(unlabeled) if labels else unlabeled
    own = np.where(moved, share, 1.0)[:, None]
    kernel, bias = linear().get_weights()
    mixed = own * x + (1 - own) * x[partners]
    probabilities = softmax(x @ kernel + bias)
    target = own * probabilities + (1 - own) * probabilities[partners]
    predicted = softmax(mixed @ kernel + bias)
    np.testing.assert_allclose(logs["consistency_cost"], 2.0 * ((predicted - target) ** 2).mean(), rtol=1e-4)
    log = np.log(predicted)
    rows = np.flatnonzero(~unlabeled)
    cost = -sum(own[i, 0] * log[i, y[i]] + (1 - own[i, 0]) * log[i, y[partners[i]]] for i in rows) / len(x)
    np.testing.assert_allclose(logs["classification_cost"], cost, rtol=1e-4)
    # The step: the gradient of these costs by the kernel.
    slope = np.zeros_like(predicted)
    for i in rows:
        one_hot = own[i] * np.eye(3)[y[i]] + (1 - own[i]) * np.eye(3)[y[partners[i]]]
        slope[i] += (predicted[i] - one_hot) / len(x)
    of_probabilities = 2.0 * 2.0 * (predicted - target) / predicted.size
    slope += predicted * (of_probabilities - (of_probabilities * predicted).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(model.student.get_weights()[0], kernel - 0.1 * mixed.T @ slope, atol=1e-5)


@pytest.mark.parametrize("labels", [False, True])
def test_cut_pixels_have_the_target_and_the_label_of_what_is_seen_there(labels):
    x, y = pictures()
    mixing = CutMix(share=0.5, labels=labels)
    _, logs = one_step(per_pixel(), x, y, mixing=mixing)
    labeled = (y >= 0).any(axis=(1, 2))
    partners, share, boxes = drawn(mixing, x, labeled)
    assert 0.3 < share < 0.7
    assert set(np.unique(boxes)) == {0.0, 1.0}
    assert (boxes[labeled] == 1.0).all() or labels
    kernel, bias = (weight.reshape(-1, 3) for weight in per_pixel().get_weights())
    predicted = softmax((boxes * x + (1 - boxes) * x[partners]) @ kernel + bias)
    probabilities = softmax(x @ kernel + bias)
    target = boxes * probabilities + (1 - boxes) * probabilities[partners]
    np.testing.assert_allclose(logs["consistency_cost"], 2.0 * ((predicted - target) ** 2).mean(), rtol=1e-4)
    seen = np.where(boxes[..., 0] == 1.0, y, y[partners])
    picked = np.take_along_axis(np.log(predicted), np.maximum(seen, 0)[..., None], axis=-1)[..., 0]
    np.testing.assert_allclose(logs["classification_cost"], -(picked * (seen >= 0)).sum() / y.size, rtol=1e-4)


def test_the_share_does_not_depend_on_who_is_whose_partner():
    """One key for both would make the share the score by which the first row is sorted."""
    labeled = np.zeros(2, bool)
    x = np.zeros((2, 3), "float32")
    draws = [drawn(Interpolation(), x, labeled, step) for step in range(400)]
    swapped = np.array([partners[0] == 1 for partners, _, _ in draws])
    shares = np.array([share for _, share, _ in draws])
    assert abs(np.corrcoef(swapped, shares)[0, 1]) < 0.15  # Three standard errors; of one key it is 0.58.


def test_a_class_of_a_cut_picture_has_the_mixture_by_its_share():
    x, _ = pictures()
    y = np.array([0, 1, -1, -1, -1, -1])
    student = keras.Sequential([keras.Input((8, 8, 2)), keras.layers.Flatten(), keras.layers.Dense(3)])
    kernel, bias = student.get_weights()
    mixing = CutMix()
    _, logs = one_step(student, x, y, mixing=mixing)
    partners, share, boxes = drawn(mixing, x, y >= 0)
    np.testing.assert_allclose(boxes[2:].mean(axis=(1, 2, 3)), share, atol=1e-6)
    predicted = softmax((boxes * x + (1 - boxes) * x[partners]).reshape(6, -1) @ kernel + bias)
    probabilities = softmax(x.reshape(6, -1) @ kernel + bias)
    own = np.where(y < 0, share, 1.0)[:, None]
    target = own * probabilities + (1 - own) * probabilities[partners]
    np.testing.assert_allclose(logs["consistency_cost"], 2.0 * ((predicted - target) ** 2).mean(), rtol=1e-4)


def test_partners_are_permutations_of_unlabeled_and_of_labeled_rows_and_change_with_the_step():
    labeled = np.array([True, False, False, True, False, False, True, False])
    x = np.zeros((8, 2), "float32")
    seen = set()
    for step in range(20):
        partners, share, _ = drawn(Interpolation(labels=True), x, labeled, step)
        for rows in (np.flatnonzero(labeled), np.flatnonzero(~labeled)):
            assert sorted(partners[rows]) == sorted(rows)
        assert 0.0 <= share <= 1.0
        partners_of_unlabeled, _, _ = drawn(Interpolation(), x, labeled, step)
        assert (partners_of_unlabeled[labeled] == np.flatnonzero(labeled)).all()
        seen.add(tuple(partners))
    assert len(seen) > 10


@pytest.mark.parametrize("alpha", [0.1, 0.5, 1.0, 4.0])
def test_shares_are_drawn_from_the_beta_distribution(alpha):
    """Mean 1/2 and variance 1 / (4 (2 alpha + 1)), over 2,000 steps."""
    mixing = Interpolation(alpha)
    share = tf.function(lambda step: mixing._share(keras_mt.views.seed_of_step(0, step, 0)))
    shares = np.array([float(share(tf.constant(step, "int64"))) for step in range(2000)])
    assert abs(shares.mean() - 0.5) < 4 * shares.std() / np.sqrt(2000)
    np.testing.assert_allclose(shares.var(), 1 / (4 * (2 * alpha + 1)), rtol=0.1)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        *(pytest.param(arguments, marks=pytest.mark.slow) for arguments in ({"separate_passes": 4}, {"method": "pi"})),
    ],
)
def test_a_saved_and_loaded_model_goes_on_to_the_same_bits(tmp_path, arguments):
    x, y = examples()

    def fitted(model, epochs):
        callback = keras_mt.MeanTeacherCallback(2.0, ema_decay=0.5, verbose=False)
        model.fit(x, y, batch_size=12, shuffle=False, epochs=epochs, verbose=0, callbacks=[callback])
        return model

    def new():
        model = keras_mt.MeanTeacher(noisy(), mixing=Interpolation(labels=True), **arguments)
        model.compile(keras.optimizers.SGD(0.1, momentum=0.9))
        return model

    fitted(new(), 2).save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.mixing.get_config() == Interpolation(labels=True).get_config()
    assert largest(fitted(again, 1), fitted(new(), 3)) == 0


@pytest.mark.parametrize("mixing", [Interpolation(labels=True), CutMix(labels=True)], ids=["interpolation", "cut"])
def test_two_replicas_equal_one_with_their_partners(mixing):
    """One device with both replicas' rows, where each row has the partner that it has on its replica."""
    x, y = pictures(rows=8, labeled=8)
    y[[2, 3, 6, 7]] = -1  # Rows 0 to 3 are the first replica's, 4 to 7 the second's.
    labeled = (y >= 0).any(axis=(1, 2))

    class Both(type(mixing)):
        def draw(self, x, labeled, seed, step):
            parts = [super(Both, self).draw(x[k : k + 4], labeled[k : k + 4], seed, step) for k in (0, 4)]
            joined = {
                "partners": tf.concat([parts[0].partners, parts[1].partners + 4], axis=0),
                "moved": tf.concat([part.moved for part in parts], axis=0),
            }
            if parts[0].boxes is not None:
                joined["boxes"] = tf.concat([part.boxes for part in parts], axis=0)
            return type(parts[0])(share=parts[0].share, **{"boxes": None, **joined})

    whole, logs = one_step(per_pixel(), x, y, mixing=Both(labels=True))
    sums = []
    for k in (0, 4):  # Each half on its own: its cost is the mean over four rows.
        half, of_half = one_step(per_pixel(), x[k : k + 4], y[k : k + 4], mixing=mixing)
        sums.append([of_half["loss"], *half.student.get_weights()])
    assert labeled.sum() == 4
    np.testing.assert_allclose(logs["loss"], np.mean([s[0] for s in sums]), rtol=1e-5)
    for mean, weight in zip(zip(*(s[1:] for s in sums), strict=True), whole.student.get_weights(), strict=True):
        np.testing.assert_allclose(weight, np.mean(mean, axis=0), atol=1e-6)


@pytest.mark.parametrize("reduction", ["batch", "labeled"])
def test_padding_of_cut_sequences_is_that_of_the_mixed_ones(reduction):
    """A position has its own label or its partner's, wherever the padding of either was before."""
    random, lengths = np.random.default_rng(0), np.array([2, 8, 3, 7, 5, 8, 2, 6, 4, 8])
    x = random.normal(size=(10, 8, 2)).astype("float32") * (np.arange(8) < lengths[:, None])[..., None]
    y = random.integers(-1, 3, (10, 8))
    y[6:] = -1
    inputs = keras.Input((8, 2))
    student = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Masking()(inputs)))
    kernel, bias = student.get_weights()
    mixing = CutMix(labels=True, share=0.5)
    _, logs = one_step(
        student, x, y, mixing=mixing, reduction=reduction, consistency_on_labeled=False, learning_rate=0.0,
        teacher_augmentation=lambda v: v + 0.5,
    )  # fmt: skip
    seen = (y >= 0) & (np.arange(8) < lengths[:, None])
    partners, _, boxes = drawn(mixing, x, seen.any(axis=1))
    own = boxes[..., 0] == 1.0
    mixed, labels = np.where(own[..., None], x, x[partners]), np.where(own, y, y[partners])
    real, labeled = (mixed != 0).any(axis=-1), labels >= 0
    assert ((labels >= 0) & real).sum() != ((y >= 0) & real).sum()
    predicted, target = softmax(mixed @ kernel + bias), softmax((x + 0.5) @ kernel + bias)
    target = np.where(own[..., None], target, target[partners])
    costs = -np.log(np.take_along_axis(predicted, np.maximum(labels, 0)[..., None], -1))[..., 0]
    squares = ((predicted - target) ** 2).mean(axis=-1)
    for name, values, counted in (
        ("classification_cost", costs, labeled & real), ("consistency_cost", 2.0 * squares, ~labeled & real),
    ):  # fmt: skip
        count = real.sum() if reduction == "batch" else counted.sum()
        np.testing.assert_allclose(logs[name], values[counted].sum() / count, rtol=1e-4, err_msg=name)


def test_outputs_of_their_own_kinds_are_mixed_together():
    inputs = keras.Input((6, 4))
    student = keras.Model(
        inputs,
        {
            "frames": keras.layers.Dense(3)(inputs),
            "clip": keras.layers.Dense(2)(keras.layers.Flatten()(inputs)),
            "level": keras.layers.Dense(1)(keras.layers.Flatten()(inputs)),
        },
    )
    x = np.random.default_rng(0).normal(size=(8, 6, 4)).astype("float32")
    y = {"frames": np.full((8, 6, 3), -1), "clip": np.full((8,), -1), "level": np.full((8, 1), np.nan, "float32")}
    y["clip"][:2], y["level"][0], y["frames"][3] = [0, 1], 0.5, 1
    tasks = {"frames": "multilabel", "clip": "multiclass", "level": "regression"}
    for mixing in (Interpolation(labels=True), CutMix(labels=True)):
        model, logs = one_step(student, x, y, task=tasks, mixing=mixing)
        assert np.isfinite(logs["loss"])
        assert logs["consistency_cost"] > 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"mixing": Interpolation(), "method": "temporal_ensembling", "num_examples": 12}, "Temporal ensembling remem"),
        ({"mixing": Interpolation(), "method": "supervised"}, "mixes nothing"),
        ({"mixing": CutMix()}, "can cut images"),
        ({"mixing": keras.layers.MixUp()}, "must be `keras_mt.mixing.Interpolation` or"),
        ({"student_augmentation": lambda x: 0.5 * (x + tf.reverse(x, [0]))}, None),
    ],
)
def test_what_cant_be_mixed_is_refused_when_it_is_built(arguments, sentence):
    if sentence is None:  # Images are looked into.
        with pytest.raises(ValueError, match="must not mix examples.*`mixing`"):
            keras_mt.MeanTeacher(per_pixel(), **arguments)
        return
    with pytest.raises(ValueError, match=sentence):
        keras_mt.MeanTeacher(linear(), **arguments)


def test_words_are_not_interpolated_and_coarser_grids_are_not_cut():
    words = keras.Sequential([keras.Input((6,), dtype="int32"), keras.layers.Embedding(10, 4), keras.layers.Dense(3)])
    with pytest.raises(ValueError, match="can't interpolate whole numbers"):
        keras_mt.MeanTeacher(words, mixing=Interpolation())
    coarse = keras.Sequential([keras.Input((8, 8, 2)), keras.layers.Conv2D(3, 3)])
    with pytest.raises(ValueError, match="grid that divides them"):
        keras_mt.MeanTeacher(coarse, mixing=CutMix())
    half = keras.Sequential([keras.Input((8, 8, 2)), keras.layers.Conv2D(3, 2, strides=2)])
    with pytest.raises(ValueError, match="can't cut labels"):
        keras_mt.MeanTeacher(half, mixing=CutMix(labels=True))
    x, _ = pictures()
    y = np.full((6, 4, 4), -1)
    y[:2] = 1
    assert np.isfinite(one_step(half, x, y, mixing=CutMix())[1]["loss"])


@pytest.mark.parametrize("bad", [{"alpha": 0.0}, {"alpha": float("nan")}, {"share": 1.5}])
def test_numbers_out_of_range_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        Interpolation(**bad)


@pytest.mark.parametrize(
    "arguments", [{"mixing": Interpolation()}, {"mixing": CutMix()}, {"perturbation": keras_mt.VirtualAdversarial(9.0)}]
)
def test_whole_numbers_of_pictures_are_mixed_and_perturbed_as_floats_are(arguments):
    x, y = pictures()
    x = np.round(2.0 + x).clip(0, 4).astype("uint8")
    whole, logs = one_step(per_pixel(), x, y, steps=2, **arguments)
    floats, same_logs = one_step(per_pixel(), x.astype("float32"), y, steps=2, **arguments)
    assert largest(whole, floats) == 0
    assert logs["consistency_cost"] == same_logs["consistency_cost"] > 0
