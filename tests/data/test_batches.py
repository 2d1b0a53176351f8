import hashlib

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_mt
from keras_mt.data import Sampling, batches, evaluation_batches, training_batches, training_indices


def numbered_batches(labeled_per_batch, seed=4, first_step=0, count=40):
    """Batches of 7 from 20 examples, of which image i holds the number i and 6 are labeled."""
    images = np.arange(20, dtype="uint8")[:, None, None, None]
    sampling = Sampling(batch_size=7, labeled_per_batch=labeled_per_batch, seed=seed)
    dataset = training_batches(
        images, np.arange(20) % 5, np.array([1, 4, 6, 9, 12, 18]), sampling, first_step=first_step
    )
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


# Made by commit af30a85 (before `Sampling`), whose runs and checkpoints must go on: SHA-256 of 30 batches from step 37.
GOLDEN = {
    (2, "all"): "4ecee366796ddd66",
    (2, "unlabeled"): "715de7d064ab6875",
    ("vary", "all"): "c30cd8a55cd033a6",
    ("all", "all"): "153db6dd023279e3",
}


@pytest.mark.parametrize(("labeled_per_batch", "unlabeled_stream"), GOLDEN)
def test_the_batches_of_a_seed_stay_what_they_were(labeled_per_batch, unlabeled_stream):
    images = np.random.default_rng(0).integers(0, 256, (60, 4, 4, 3)).astype("uint8")
    labels = np.where(np.arange(60) < 50, np.arange(60) % 5, -1)
    sampling = Sampling(12, labeled_per_batch, 9, unlabeled_stream)
    digest = hashlib.sha256()
    dataset = training_batches(images, labels, np.arange(0, 50, 5), sampling, first_step=37, with_examples=True)
    for batch in dataset.take(30):
        for values in tf.nest.flatten(batch):
            digest.update(values.numpy().tobytes() + values.dtype.name.encode())
    assert digest.hexdigest()[:16] == GOLDEN[labeled_per_batch, unlabeled_stream]


def test_memory_mapped_images_give_the_same_batches(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (20, 4, 4, 3)).astype("uint8")
    labels = np.arange(20) % 5
    for name, array in (("images", images), ("labels", labels)):
        np.save(tmp_path / f"{name}.npy", array)
    mapped = [np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in ("images", "labels")]
    arguments = (np.arange(5), Sampling(8, 2, seed=0))
    for made, expected in zip(
        [*training_batches(*mapped, *arguments).take(9), *evaluation_batches(*mapped, 7)],
        [*training_batches(images, labels, *arguments).take(9), *evaluation_batches(images, labels, 7)],
        strict=True,
    ):
        np.testing.assert_array_equal(made[0], expected[0])
        np.testing.assert_array_equal(made[1], expected[1])


def test_a_network_trained_on_memory_mapped_images_is_the_same(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (40, 4, 4, 1)).astype("uint8")
    np.save(tmp_path / "images.npy", images)
    weights = []
    for array in (images, np.load(tmp_path / "images.npy", mmap_mode="r")):
        keras.utils.set_random_seed(0)
        layers = [keras.layers.Rescaling(1 / 255), keras.layers.Flatten(), keras.layers.Dense(4)]
        model = keras_mt.MeanTeacher(keras.Sequential([keras.Input((4, 4, 1)), *layers]))
        model.compile(keras.optimizers.SGD(0.1))
        dataset = training_batches(array, np.arange(40) % 4, np.arange(12), Sampling(16, 4, seed=1))
        callback = keras_mt.MeanTeacherCallback(1.0, verbose=False)
        model.fit(dataset, steps_per_epoch=10, verbose=0, callbacks=[callback])
        weights.append(model.teacher.get_weights())
    for first, second in zip(*weights, strict=True):
        np.testing.assert_array_equal(first, second)
    assert np.load(tmp_path / "images.npy").tobytes() == images.tobytes()


def test_a_batch_of_more_rows_than_examples_is_refused_at_once():
    with pytest.raises(ValueError, match="must be at most the number of training examples, 20. .*batch_size=100000000"):
        training_indices(np.zeros(20, int), np.arange(3), Sampling(100_000_000, 1, seed=0))


def test_a_stream_of_unlabeled_examples_needs_some():
    with pytest.raises(ValueError, match="`unlabeled_stream` needs examples without a label"):
        training_indices(np.zeros(20, int), np.arange(20), Sampling(8, 2, 0, "unlabeled"))


def test_fewer_examples_than_replicas_cannot_be_evaluated():
    with pytest.raises(ValueError, match="must be at most the number of examples to evaluate on, 3. .*num_replicas=4"):
        batches.evaluation_rows(3, 4, (0,), 100)
