import numpy as np
import pytest
from scipy.io import savemat
from support.svhn_files import prepare_tfds, write_mat_files

from keras_mt.errors import ArgumentError
from keras_mt.experiments.datasets.in_memory import load_in_memory
from keras_mt.experiments.errors import DataError


def test_mat_files_are_read_in_their_order_and_label_10_is_digit_0(tmp_path):
    content = write_mat_files(tmp_path)
    data = load_in_memory("svhn_cropped", str(tmp_path), cache_dir=tmp_path / "cache", num_labels=20)
    np.testing.assert_array_equal(data.images, content["train"][0])
    np.testing.assert_array_equal(data.labels, content["train"][1] % 10)
    np.testing.assert_array_equal(data.evaluation_images, content["test"][0])


@pytest.mark.parametrize("source", ["mat", "tfds"])
def test_extra_images_are_added_without_their_labels(tmp_path, monkeypatch, source):
    content = write_mat_files(tmp_path)
    data_dir = tmp_path
    if source == "tfds":
        data_dir = tmp_path / "tfds"
        prepare_tfds(tmp_path, data_dir, monkeypatch)
    data = load_in_memory(
        "svhn_cropped", str(data_dir), cache_dir=tmp_path / "cache", num_labels=20, num_extra_unlabeled=30, data_seed=1
    )
    assert data.images.shape == (90, 32, 32, 3)
    assert (data.labels[60:] == -1).all()
    assert data.labeled.max() < 60
    extra = {image.tobytes() for image in content["extra"][0]}
    added = {image.tobytes() for image in data.images[60:]}
    assert len(added) == 30
    assert added <= extra
    train = {(image.tobytes(), int(label) % 10) for image, label in zip(*content["train"], strict=True)}
    assert {(i.tobytes(), int(k)) for i, k in zip(data.images[:60], data.labels[:60], strict=True)} == train


def test_damaged_missing_or_wrong_mat_files_are_named(tmp_path):
    write_mat_files(tmp_path)
    extra, test, train = (tmp_path / f"{split}_32x32.mat" for split in ("extra", "test", "train"))
    with pytest.raises(ArgumentError, match="num_extra_unlabeled=51"):
        load_in_memory("svhn_cropped", str(tmp_path), cache_dir=tmp_path / "cache", num_extra_unlabeled=51)
    extra.write_bytes(extra.read_bytes()[:5000])
    with pytest.raises(DataError, match=r"extra_32x32\.mat can't be read"):
        load_in_memory("svhn_cropped", str(tmp_path), cache_dir=tmp_path / "cache", num_extra_unlabeled=5)
    test.unlink()
    with pytest.raises(DataError, match=r"test_32x32\.mat is missing"):
        load_in_memory("svhn_cropped", str(tmp_path), cache_dir=tmp_path / "cache")
    savemat(train, {"X": np.zeros((28, 32, 3, 5), "uint8"), "y": np.ones((5, 1))})
    with pytest.raises(DataError, match=r"train_32x32\.mat holds X of uint8 \(28, 32, 3, 5\)"):
        load_in_memory("svhn_cropped", str(tmp_path), cache_dir=tmp_path / "cache")
    savemat(train, {"X": np.zeros((32, 32, 3, 5), "uint8"), "y": np.array(list("12345"))})
    with pytest.raises(DataError, match="holds labels of <U1; integers 1 to 10 are allowed"):
        load_in_memory("svhn_cropped", str(tmp_path), cache_dir=tmp_path / "cache")
    savemat(train, {"X": np.zeros((32, 32, 3, 5), "uint8"), "y": np.full((5, 1), 11)})
    with pytest.raises(DataError, match="labels from 11 to 11"):
        load_in_memory("svhn_cropped", str(tmp_path), cache_dir=tmp_path / "cache")
