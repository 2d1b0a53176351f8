import hashlib
import types

import numpy as np
import pytest
import tensorflow as tf

from keras_mt.data import batches, digits, label_split, whitening
from keras_mt.experiments.datasets.dataset import load_dataset
from keras_mt.experiments.errors import DataError
from keras_mt.layers import GlobalContrastNormalization, ZCAWhitening


@pytest.mark.parametrize("count", [250, 500, 1000])
@pytest.mark.parametrize("seed", [2000, 2001, 2002])
def test_label_splits_of_the_test_phase_are_the_authors(golden, count, seed):
    values = golden("label_splits")
    labels = values["labels"]
    everything = np.ones(len(labels), bool)
    chosen = label_split.choose_labeled(labels, everything, count, 10, np.random.RandomState(seed))
    np.testing.assert_array_equal(chosen, values[f"test_phase/labels_{count}/seed_{seed}/labeled_index"])


@pytest.mark.parametrize("seed", [1000, 1001])
def test_label_splits_of_the_validation_phase_are_the_authors(golden, seed):
    values = golden("label_splits")
    labels = values["labels"]
    random = np.random.RandomState(seed)
    held_out = label_split.hold_out_validation(len(labels), 7325, random)
    np.testing.assert_array_equal(np.flatnonzero(held_out), values[f"validation_phase/seed_{seed}/validation_index"])
    chosen = label_split.choose_labeled(labels, ~held_out, 250, 10, random)
    np.testing.assert_array_equal(chosen, values[f"validation_phase/labels_250/seed_{seed}/labeled_index"])


def test_contrast_normalization_and_zca_equal_the_golden_values(golden):
    values = golden("zca")
    images = values["images"]
    mean, matrix = whitening.fit_zca(images)
    normalized = GlobalContrastNormalization()(images)
    np.testing.assert_allclose(np.reshape(normalized, (400, -1)), values["contrast_normalized"], atol=1e-3)
    layer = ZCAWhitening()
    layer.build((None, 8, 8, 3))
    layer.set_weights([mean, matrix])
    np.testing.assert_allclose(np.reshape(layer(normalized), (400, -1)), values["whitened"], atol=1e-3)


def test_zca_is_fitted_once_and_a_damaged_cache_is_replaced(tmp_path, monkeypatch):
    images = np.random.default_rng(0).integers(0, 255, (30, 4, 4, 1)).astype("uint8")
    mean, matrix = whitening.cached_zca(images, tmp_path)
    monkeypatch.setattr(whitening, "fit_zca", lambda images: pytest.fail("fitted again"))
    np.testing.assert_array_equal(whitening.cached_zca(images, tmp_path)[1], matrix)
    monkeypatch.undo()
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:100])
    np.testing.assert_array_equal(whitening.cached_zca(images, tmp_path)[1], matrix)
    np.testing.assert_array_equal(whitening.cached_zca(images, tmp_path)[0], mean)


def numbered_batches(labeled_per_batch, seed=4, first_step=0, count=40):
    """Batches of 7 from 20 examples, of which image i holds the number i and 6 are labeled."""
    images = np.arange(20, dtype="uint8")[:, None, None, None]
    dataset = batches.training_batches(
        images, np.arange(20) % 5, np.array([1, 4, 6, 9, 12, 18]), batch_size=7,
        labeled_per_batch=labeled_per_batch, seed=seed, first_step=first_step,
    )  # fmt: skip
    taken = list(dataset.take(count).as_numpy_iterator())
    return np.stack([x.ravel() for x, _ in taken]), np.stack([y for _, y in taken])


@pytest.mark.parametrize("labeled_per_batch", [2, "vary", "all"])
def test_the_batch_of_a_step_is_a_function_of_seed_and_step(labeled_per_batch):
    images, labels = numbered_batches(labeled_per_batch)
    later_images, later_labels = numbered_batches(labeled_per_batch, first_step=23, count=17)
    np.testing.assert_array_equal(later_images, images[23:])
    np.testing.assert_array_equal(later_labels, labels[23:])
    assert (numbered_batches(labeled_per_batch, seed=5)[0] != images).any()


def test_each_pass_shows_each_example_once_across_batch_borders_in_a_new_order():
    images, _ = numbered_batches(2)
    for stream, examples in ((images[:, :2], [1, 4, 6, 9, 12, 18]), (images[:, 2:], range(20))):
        passes = stream.ravel()[: len(stream.ravel()) // len(examples) * len(examples)].reshape(-1, len(examples))
        assert all(sorted(one) == list(examples) for one in passes)
        assert len({tuple(one) for one in passes}) > 0.8 * len(passes)


def test_two_streams_show_labels_of_the_labeled_stream_only():
    images, labels = numbered_batches(2)
    np.testing.assert_array_equal(labels[:, :2], images[:, :2] % 5)
    assert (labels[:, 2:] == -1).all()
    assert set(images[:, 2:].ravel()) == set(range(20))  # Labeled examples come in the unlabeled stream, too.


def test_vary_shows_the_labels_that_examples_happen_to_have():
    images, labels = numbered_batches("vary")
    known = np.isin(images, [1, 4, 6, 9, 12, 18])
    np.testing.assert_array_equal(labels, np.where(known, images.astype(int) % 5, -1))


def test_all_shows_labeled_examples_only():
    images, labels = numbered_batches("all")
    assert set(images.ravel()) == {1, 4, 6, 9, 12, 18}
    np.testing.assert_array_equal(labels, images % 5)


def test_every_order_of_a_small_stream_can_occur():
    examples = tf.range(3, dtype="int64")
    orders = {tuple(batches._draw(examples, 3, seed, 0, tf.constant(0, "int64")).numpy()) for seed in range(200)}
    assert len(orders) == 6


def test_digits_are_real_uint8_images_with_a_fixed_test_split():
    (train, train_labels), (test, test_labels) = digits.load_digits(16)
    assert train.shape == (1198, 16, 16, 1)
    assert test.shape == (599, 16, 16, 1)
    assert train.dtype == np.uint8
    assert np.bincount(test_labels).min() > 50
    assert hashlib.sha256(test.tobytes() + train_labels.tobytes()).hexdigest()[:16] == "be09f7cb415ec682"


def test_the_validation_phase_never_touches_the_test_images():
    data = load_dataset("digits", num_labels=50, phase="validation", data_seed=3)
    (train, _), _ = digits.load_digits(16)
    assert len(data.images) + len(data.evaluation_images) == len(train)
    assert len(data.evaluation_images) == 119
    everything = {image.tobytes() for image in train}
    assert {image.tobytes() for image in data.evaluation_images} <= everything
    assert (np.bincount(data.labels[data.labeled]) == 5).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_labels": 55}, "num_labels=55"),
        ({"num_labels": 5000}, "num_labels=5000"),
        ({"num_labels": 1190}, "num_labels=1190"),
        ({"num_extra_unlabeled": 5}, "num_extra_unlabeled=5"),
        ({"phase": "validation", "num_validation": 1198}, "num_validation=1198"),
    ],
)
def test_what_the_data_do_not_have_is_named(arguments, message):
    with pytest.raises(DataError, match=message):
        load_dataset("digits", **arguments)


def test_cifar10_from_tfds(shared_tfds, tmp_path):
    data = load_dataset("cifar10", shared_tfds, cache_dir=tmp_path, num_labels=4000)
    assert data.images.shape == (50_000, 32, 32, 3)
    assert data.evaluation_images.shape == (10_000, 32, 32, 3)
    assert (np.bincount(data.labels[data.labeled]) == 400).all()
    assert data.class_names[0] == "airplane"


def test_gray_mnist_from_tfds(shared_tfds, tmp_path):
    data = load_dataset("mnist", shared_tfds, cache_dir=tmp_path, num_labels=100)
    assert data.images.shape == (8000, 28, 28, 1)
    assert len(data.evaluation_images) == 2000


def test_an_unknown_data_set_is_named(tmp_path):
    with pytest.raises(DataError, match="--dataset=no_such_set"):
        load_dataset("no_such_set", str(tmp_path))


@pytest.mark.parametrize("wrong", ["float images", "labels that are numbers", "no labels"])
def test_a_data_set_that_is_no_image_classification_is_named(monkeypatch, wrong):
    import tensorflow_datasets as tfds

    features = {"image": tfds.features.Image(shape=(8, 8, 3)), "label": tfds.features.ClassLabel(num_classes=3)}
    features |= {
        "float images": {"image": tfds.features.Tensor(shape=(8, 8, 3), dtype=np.float32)},
        "labels that are numbers": {"label": tfds.features.Scalar(dtype=np.float32)},
        "no labels": {"label": None},
    }[wrong]
    features = tfds.features.FeaturesDict({name: feature for name, feature in features.items() if feature})
    builder = types.SimpleNamespace(info=types.SimpleNamespace(features=features))
    monkeypatch.setattr(tfds, "builder", lambda name, data_dir: builder)
    with pytest.raises(DataError, match="--dataset=odd has .*needed"):
        load_dataset("odd")


def test_a_failed_download_is_one_sentence(tmp_path, monkeypatch):
    import tensorflow_datasets as tfds

    def offline(self, urls):
        raise ConnectionError("no route to host\nand more")

    monkeypatch.setattr(tfds.download.DownloadManager, "download", offline)
    with pytest.raises(DataError, match=r"--dataset=svhn_cropped is not prepared in --data_dir=.*no route to host\)"):
        load_dataset("svhn_cropped", str(tmp_path))
