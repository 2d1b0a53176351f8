"""Images that NumPy and TensorFlow share: half a million of them are held once."""

import ctypes

import numpy as np
import tensorflow as tf

_ALIGNMENT = 64  # What TensorFlow asks of memory that it does not allocate.


def empty_images(shape: tuple[int, ...]) -> np.ndarray:
    """Returns an uninitialized uint8 array `shape` that `shared_tensor` needs not copy."""
    size = int(np.prod(shape))
    memory = np.empty(size + _ALIGNMENT, "uint8")
    start = -memory.ctypes.data % _ALIGNMENT
    return memory[start : start + size].reshape(shape)


def shared_tensor(array: np.ndarray) -> tf.Tensor:
    """Returns a CPU tensor of an array: the very same memory if it is aligned and in order, else one copy.

    `tf.convert_to_tensor` always copies, and for a moment holds the numbers three times (measured on TensorFlow 2.21).

    Args:
        array: Numbers of any shape, in memory or mapped from a file; it may be read-only.
    """
    with tf.device("cpu"):
        if not array.size or array.dtype.kind not in "iuf" or not array.dtype.isnative:
            return tf.convert_to_tensor(array)
        if not array.flags.c_contiguous or array.ctypes.data % _ALIGNMENT:
            memory = empty_images((array.nbytes,)).view(array.dtype).reshape(array.shape)
            memory[...] = array
            array = memory
        return tf.experimental.dlpack.from_dlpack(_writeable(array).__dlpack__())


def _writeable(array):
    """The same memory as an array that is not marked read-only, which DLPack refuses. Nothing here writes to it."""
    if array.flags.writeable:
        return array
    memory = (ctypes.c_byte * array.nbytes).from_address(array.ctypes.data)
    memory.owner = array  # Keeps the file mapped as long as the tensor lives.
    return np.frombuffer(memory, array.dtype).reshape(array.shape)
