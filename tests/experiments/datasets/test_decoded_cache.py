"""A second start reads what the first one decoded, and trusts nothing that was damaged meanwhile."""

import json
import threading
import time

import numpy as np
import pytest

from keras_mt.data.image_memory import empty_images
from keras_mt.errors import ArgumentError
from keras_mt.experiments.datasets import decoded_cache
from keras_mt.experiments.datasets.cache_folder import cache_folder
from keras_mt.experiments.errors import DataError

IMAGES = np.random.default_rng(0).integers(0, 256, (10_000, 4, 4, 3)).astype("uint8")
LABELS = (np.arange(10_000) % 7).astype("int32")


class Source:
    def __init__(self):
        self.times_decoded = 0

    def __call__(self):
        self.times_decoded += 1
        for start in range(0, len(IMAGES), 3000):
            yield IMAGES[start : start + 3000], LABELS[start : start + 3000]


def read(tmp_path, source, fingerprint="file of today", **kwargs):
    return decoded_cache.read_split(tmp_path, "set/train", fingerprint, source, **kwargs)


def test_a_second_start_decodes_nothing(tmp_path):
    source, texts = Source(), []
    for _ in range(2):
        images, labels = read(tmp_path, source, report=texts.append)
        np.testing.assert_array_equal(images, IMAGES)
        np.testing.assert_array_equal(labels, LABELS)
    assert source.times_decoded == 1
    assert texts[0] == "decoding set/train, once"
    assert "10,000 images" in texts[-1]


def test_a_source_that_changed_is_decoded_again(tmp_path):
    source = Source()
    read(tmp_path, source)
    read(tmp_path, source, "file of tomorrow")
    assert source.times_decoded == 2


def test_a_part_is_read_into_the_memory_it_is_for(tmp_path):
    mask = np.arange(10_000) % 3 == 1
    into = empty_images((mask.sum(), 4, 4, 3))
    images, labels = read(tmp_path, Source(), choose=lambda count: mask[:count], into=into)
    assert images is into
    np.testing.assert_array_equal(images, IMAGES[mask])
    np.testing.assert_array_equal(labels, LABELS[mask])


@pytest.mark.parametrize("file", ["images", "labels.npy", "description.json"])
@pytest.mark.parametrize("damage", ["truncated", "garbled", "missing"])
def test_a_damaged_cache_is_replaced(tmp_path, file, damage):
    source, texts = Source(), []
    read(tmp_path, source)
    (path,) = tmp_path.glob(f"decoded-*/{file}")
    content = bytearray(path.read_bytes())
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(content[:-5])
    else:
        content[-3] ^= 0xFF
        path.write_bytes(content)
    images, labels = read(tmp_path, source, report=texts.append)
    np.testing.assert_array_equal(images, IMAGES)
    np.testing.assert_array_equal(labels, LABELS)
    assert source.times_decoded == 2
    assert "is damaged" in texts[0]


def test_the_cache_of_another_split_in_its_place_is_replaced(tmp_path):
    def test_split():
        yield IMAGES[:5], LABELS[:5]

    read(tmp_path, Source())
    (train,) = tmp_path.glob("decoded-*[0-9a-f]")
    decoded_cache.read_split(tmp_path, "set/test", "file of the test split", test_split)
    (test,) = set(tmp_path.glob("decoded-*[0-9a-f]")) - {train}
    train.rename(tmp_path / "other")
    test.rename(train)
    (tmp_path / "other").rename(test)
    images, _ = read(tmp_path, Source())
    np.testing.assert_array_equal(images, IMAGES)
    images, _ = decoded_cache.read_split(tmp_path, "set/test", "file of the test split", test_split)
    np.testing.assert_array_equal(images, IMAGES[:5])


def test_the_cache_of_another_source_in_its_place_is_replaced(tmp_path):
    read(tmp_path, Source())
    (today,) = tmp_path.glob("decoded-*[0-9a-f]")
    decoded_cache.read_split(tmp_path, "set/train", "file of tomorrow", lambda: [(IMAGES[:5], LABELS[:5])])
    (tomorrow,) = set(tmp_path.glob("decoded-*[0-9a-f]")) - {today}
    today.rename(tmp_path / "other")
    tomorrow.rename(today)
    texts = []
    np.testing.assert_array_equal(read(tmp_path, Source(), report=texts.append)[0], IMAGES)
    assert f"{today} is of another source, or of an earlier version that did not say which" in texts[0]


@pytest.mark.parametrize("key", ["name", "shape", "checksum", "source"])
def test_a_description_that_lacks_something_is_replaced(tmp_path, key):
    source = Source()
    read(tmp_path, source)
    (path,) = tmp_path.glob("decoded-*/description.json")
    description = json.loads(path.read_text())
    del description[key]
    path.write_text(json.dumps(description))
    np.testing.assert_array_equal(read(tmp_path, source)[0], IMAGES)
    assert source.times_decoded == 2


@pytest.mark.parametrize(
    "shape", [[10_000, 3, 4, 4], [10_000, 4, 12, 1], [10_000, -4, -4, 3], [0, 4, 4, 3], [10_000, 4, 4, 10**30]]
)
def test_a_description_of_another_shape_is_replaced(tmp_path, shape):
    source, texts = Source(), []
    read(tmp_path, source)
    (path,) = tmp_path.glob("decoded-*/description.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "shape": shape}))
    np.testing.assert_array_equal(read(tmp_path, source, report=texts.append)[0], IMAGES)
    assert "is damaged" in texts[0]
    assert source.times_decoded == 2


def test_what_an_earlier_version_kept_is_replaced_and_that_is_said(tmp_path):
    source, texts = Source(), []
    read(tmp_path, source)
    (path,) = tmp_path.glob("decoded-*/description.json")
    description = json.loads(path.read_text())
    del description["checksum"]
    path.write_text(json.dumps({**description, "crc32": 17}))
    for _ in range(2):
        np.testing.assert_array_equal(read(tmp_path, source, report=texts.append)[0], IMAGES)
    assert source.times_decoded == 2
    assert texts[0] == (
        f"{path.parent} is of an earlier version, without a checksum of its shape; decoding set/train again"
    )


def test_of_two_processes_one_decodes_and_the_other_waits(tmp_path):
    from filelock import FileLock

    source, texts = Source(), []
    read(tmp_path, source)
    (lock,) = tmp_path.glob("*.lock")
    with FileLock(lock):
        thread = threading.Thread(target=lambda: read(tmp_path, source, report=texts.append))
        thread.start()
        while not texts:
            time.sleep(0.01)
    thread.join()
    assert texts == ["waiting for another process that decodes set/train"]
    assert source.times_decoded == 1


def test_a_source_that_breaks_off_leaves_nothing_behind(tmp_path):
    def broken():
        yield IMAGES[:10], LABELS[:10]
        raise DataError("truncated")

    with pytest.raises(DataError, match="truncated"):
        read(tmp_path, broken)
    assert not [path for path in tmp_path.iterdir() if path.suffix != ".lock"]


def test_a_cache_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"`cache_dir=.*file` can't keep"):
        decoded_cache.read_split(tmp_path / "file", "set/train", "", Source())


def test_a_cache_below_the_home_folder_of_nobody_is_refused():
    with pytest.raises(ArgumentError, match="`cache_dir` is below the home folder of a user who has none"):
        cache_folder("~no such user/x")
