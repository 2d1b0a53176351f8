import types

import numpy as np
import pytest

from keras_mt.errors import ArgumentError
from keras_mt.experiments.datasets.in_memory import load_in_memory
from keras_mt.experiments.errors import DataError


def test_an_unknown_data_set_is_named(tmp_path):
    with pytest.raises(ArgumentError, match="`dataset` is no data set .*dataset=no_such_set"):
        load_in_memory("no_such_set", str(tmp_path))


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
    with pytest.raises(ArgumentError, match="`dataset` has .*needed.*dataset=odd"):
        load_in_memory("odd")


def test_a_failed_download_is_one_sentence(tmp_path, monkeypatch):
    import tensorflow_datasets as tfds

    def offline(self, urls):
        raise ConnectionError("no route to host\nand more")

    monkeypatch.setattr(tfds.download.DownloadManager, "download", offline)
    with pytest.raises(DataError, match=r"`dataset=svhn_cropped` is not prepared in `data_dir=.*no route to host\)"):
        load_in_memory("svhn_cropped", str(tmp_path))
