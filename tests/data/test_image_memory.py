import gc

import numpy as np
import pytest

from keras_mt.data.image_memory import empty_images, shared_tensor

IMAGES = np.random.default_rng(0).integers(0, 256, (20, 4, 4, 3)).astype("uint8")


def memory_of(tensor):
    return np.from_dlpack(tensor).ctypes.data


def test_a_tensor_shares_the_memory_of_its_images():
    images = empty_images((8, 4, 4, 3))
    images[:] = 1
    tensor = shared_tensor(images)
    images[3] = 7
    assert tensor[3].numpy().max() == 7
    np.testing.assert_array_equal(shared_tensor(images[1::2]), images[1::2])  # Not in order: copied.


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64", "float32", "float64"])
@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_a_memory_mapped_array_is_not_copied(tmp_path, dtype, mode):
    np.save(tmp_path / "images.npy", IMAGES.astype(dtype))
    mapped = np.load(tmp_path / "images.npy", mmap_mode=mode)
    tensor = shared_tensor(mapped)
    assert memory_of(tensor) == mapped.ctypes.data
    del mapped
    gc.collect()  # The tensor alone keeps the file mapped.
    np.testing.assert_array_equal(tensor, IMAGES.astype(dtype))


def test_a_read_only_array_is_not_copied():
    images = empty_images(IMAGES.shape)
    images[:] = IMAGES
    images.flags.writeable = False
    assert memory_of(shared_tensor(images)) == images.ctypes.data
    np.testing.assert_array_equal(shared_tensor(images), IMAGES)
    assert not images.flags.writeable


@pytest.mark.parametrize("kind", ["unaligned", "reversed", "other byte order", "boolean", "empty"])
def test_what_cannot_be_shared_is_copied(tmp_path, kind):
    array = {
        "unaligned": lambda: np.memmap(tmp_path / "raw", "uint8", "r", offset=3, shape=(5, 4)),
        "reversed": lambda: IMAGES[::-1],
        "other byte order": lambda: IMAGES.astype(">i4"),
        "boolean": lambda: IMAGES > 100,
        "empty": lambda: IMAGES[:0],
    }
    (tmp_path / "raw").write_bytes(bytes(range(100)))
    array = array[kind]()
    np.testing.assert_array_equal(shared_tensor(array), array)
