import numpy as np
import pytest

from keras_mt.data import whitening
from keras_mt.experiments.datasets.zca_cache import cached_zca
from keras_mt.experiments.errors import DataError

IMAGES = np.random.default_rng(0).integers(0, 255, (30, 4, 4, 1)).astype("uint8")


def test_zca_is_fitted_once_and_a_damaged_cache_is_replaced(tmp_path, monkeypatch):
    mean, matrix = cached_zca(IMAGES, tmp_path)
    monkeypatch.setattr(whitening, "fit_zca", lambda images: pytest.fail("fitted again"))
    np.testing.assert_array_equal(cached_zca(IMAGES, tmp_path)[1], matrix)
    monkeypatch.undo()
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:100])
    np.testing.assert_array_equal(cached_zca(IMAGES, tmp_path)[1], matrix)
    np.testing.assert_array_equal(cached_zca(IMAGES, tmp_path)[0], mean)


def test_the_whitening_of_other_images_in_its_place_and_one_without_its_source_are_computed_anew(tmp_path):
    others = IMAGES[::-1, ::-1]
    own, of_others = (cached_zca(images, tmp_path)[1] for images in (IMAGES, others))
    assert not np.allclose(own, of_others)
    first, second = tmp_path.iterdir()
    first.rename(tmp_path / "other")
    second.rename(first)
    (tmp_path / "other").rename(second)
    for images, matrix in ((IMAGES, own), (others, of_others)):
        np.testing.assert_array_equal(cached_zca(images, tmp_path)[1], matrix)
    for path in (first, second):  # As earlier versions kept them.
        np.savez(path, mean=np.zeros(16, "float32"), matrix=np.eye(16, dtype="float32"))
    np.testing.assert_array_equal(cached_zca(IMAGES, tmp_path)[1], own)


def test_a_cache_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="`cache_dir=.*file` can't keep"):
        cached_zca(IMAGES, tmp_path / "file")
