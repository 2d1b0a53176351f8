"""Decoded images on disk: a second start reads them as fast as the disk gives them."""

import contextlib
import hashlib
import json
import math
import shutil
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from keras_mt.data.image_memory import empty_images
from keras_mt.experiments.datasets.cache_folder import cache_folder
from keras_mt.experiments.errors import DataError
from keras_mt.experiments.reading import COUNT, TEXT, DamagedFileError, Kind, optional, read_json

Blocks = Iterable[tuple[np.ndarray, np.ndarray]]
_READ_AT_ONCE = 4096


_SHAPE = Kind(
    "4 whole numbers of at least 1",
    lambda value: isinstance(value, list) and list(map(type, value)) == [int] * 4 and min(value) > 0,
)
_FIELDS = {"name": TEXT, "shape": _SHAPE, "checksum": optional(COUNT), "source": optional(TEXT)}


class _DamagedError(Exception):
    def __init__(self, finding="is damaged"):
        super().__init__(finding)


def read_split(
    cache_dir: str | Path,
    name: str,
    fingerprint: str,
    decode: Callable[[], Blocks],
    *,
    choose: Callable[[int], np.ndarray] | None = None,
    into: np.ndarray | None = None,
    report: Callable[[str], None] = lambda text: None,
) -> tuple[np.ndarray, np.ndarray]:
    """Reads a split from the cache, after decoding it into the cache if it is not there.

    Args:
        cache_dir: Folder of the cache.
        name: What the split is called, for messages.
        fingerprint: What the decoded images depend on: the source's path, size and date.
        decode: Returns blocks of images uint8 `[n, height, width, channels]` and labels int32 `[n]`.
        choose: Maps the number of examples to a mask of those that are kept; all by default.
        into: uint8 `[kept, height, width, channels]` to write the images to; a new array by default.
        report: Is told what takes time.

    Returns:
        Images uint8 `[kept, height, width, channels]` and labels int32 `[kept]`, in the source's order.

    Raises:
        ArgumentError: If there is no such folder as `cache_dir` can be.
        DataError: If the cache can't be written.
    """
    cache = cache_folder(cache_dir)
    source = hashlib.sha256(fingerprint.encode()).hexdigest()
    folder = cache / f"decoded-{source[:32]}"
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with _lock(Path(f"{folder}.lock"), name, report):
            if folder.exists():
                try:
                    return _read(folder, name, source, choose, into)
                except _DamagedError as error:
                    report(f"{folder} {error}; decoding {name} again")
                    shutil.rmtree(folder)
            _write(folder, name, source, decode(), report)
    except OSError as error:
        raise DataError(
            f"`cache_dir={cache_dir}` can't keep the decoded images of {name} ({error.strerror or error}); name a "
            "folder that is writable and has room"
        ) from error
    try:
        return _read(folder, name, source, choose, into)
    except _DamagedError as error:
        raise DataError(f"`cache_dir={cache_dir}`: {folder} can't be read back; is the disk sound?") from error


@contextlib.contextmanager
def _lock(path, name, report):
    """Of several runs that start at once, one decodes and the others wait."""
    from filelock import FileLock, Timeout

    lock = FileLock(path)
    try:
        lock.acquire(timeout=1)
    except Timeout:
        report(f"waiting for another process that decodes {name}")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _write(folder, name, source, blocks, report):
    unfinished = folder.with_name(folder.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    report(f"decoding {name}, once")
    checksum, labels, count, shape = 0, [], 0, ()
    try:
        with open(unfinished / "images", "wb") as file:
            for images, block_labels in blocks:
                file.write(images.data)
                checksum = zlib.crc32(images.data, checksum)
                labels.append(block_labels)
                count, shape = count + len(images), images.shape[1:]
                report(f"decoding {name}: {count:,} images\r")
        labels = np.concatenate(labels)
        np.save(unfinished / "labels.npy", labels)
        shape = [count, *shape]
        checksum = _with_labels(checksum, labels, name, shape)
        description = {"name": name, "source": source, "shape": shape, "checksum": checksum}
        (unfinished / "description.json").write_text(json.dumps(description), encoding="utf-8")
        unfinished.rename(folder)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    report(f"decoded {name}: {count:,} images, kept in {folder}")


def _with_labels(checksum, labels, name, shape):
    """The checksum of everything from that of the images: the same bytes are images of other shapes as well."""
    return zlib.crc32(repr((name, list(shape))).encode(), zlib.crc32(labels.data, checksum))


def _read(folder, name, source, choose, into):
    """Reads block after block, so that only what is kept is ever held."""
    try:
        description = read_json(folder / "description.json", _FIELDS)
        count, *shape = description["shape"]
        if description["name"] != name:
            raise ValueError(description["name"])  # The folder of another split.
        labels = np.load(folder / "labels.npy", allow_pickle=False)
        if labels.shape != (count,) or labels.dtype != np.int32:
            raise ValueError(labels.shape)
        bytes_expected = (folder / "images").stat().st_size == count * math.prod(shape)
    except (DamagedFileError, OSError, ValueError, EOFError) as error:
        raise _DamagedError from error
    if not bytes_expected:
        raise _DamagedError
    if "checksum" not in description:
        raise _DamagedError("is of an earlier version, without a checksum of its shape")
    if description.get("source") != source:
        raise _DamagedError("is of another source, or of an earlier version that did not say which")
    kept = np.ones(count, bool) if choose is None else choose(count)
    if into is None:
        into = empty_images((int(kept.sum()), *shape))
    block = np.empty((_READ_AT_ONCE, *shape), "uint8")
    checksum = written = 0
    with open(folder / "images", "rb") as file:
        for start in range(0, count, _READ_AT_ONCE):
            images = block[: min(_READ_AT_ONCE, count - start)]
            file.readinto(images.data)
            checksum = zlib.crc32(images.data, checksum)
            images = images[kept[start : start + len(images)]]
            into[written : written + len(images)] = images
            written += len(images)
    if _with_labels(checksum, labels, name, [count, *shape]) != description["checksum"]:
        raise _DamagedError
    return into, labels[kept]
