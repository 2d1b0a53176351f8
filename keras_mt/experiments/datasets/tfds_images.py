"""Image classification sets of TensorFlow Datasets."""

from collections.abc import Iterator

import numpy as np

from keras_mt.data.pipeline_options import without_tuning
from keras_mt.errors import ArgumentError
from keras_mt.experiments.errors import DataError

_READ_AT_ONCE = 1000


def differs_in_size(name: str, data_dir: str | None) -> bool:
    """Returns whether the images of a data set are not all of one size.

    Raises:
        ArgumentError: If there is no such data set.
    """
    features = _builder(name, data_dir).info.features or {}
    return "image" in features and None in (features["image"].shape or ())


def _builder(name, data_dir):
    import tensorflow_datasets as tfds

    try:
        return tfds.builder(name, data_dir=data_dir)
    except Exception as error:
        words = str(error).rpartition("Dataset ")[2].strip().rstrip(".")
        if "cannot be loaded at version" in words:  # "NAME cannot be loaded at version 9.9.9, only: 3.0.1".
            raise ArgumentError("dataset", name, f"is of no version that there is ({words})") from error
        raise ArgumentError(
            "dataset",
            name,
            f"is no data set that TensorFlow Datasets knows ({_first_line(error)}); 'digits', 'folder' or a name from "
            "tensorflow.org/datasets is allowed",
        ) from error


def open_builder(name: str, data_dir: str | None):
    """Returns the prepared TFDS builder of a data set, downloading and preparing it when that is needed.

    Raises:
        ArgumentError: If there is no such data set, or it is none of images and classes.
        DataError: If it can't be had.
    """
    import tensorflow_datasets as tfds

    builder = _builder(name, data_dir)
    features = builder.info.features
    if not {"image", "label"} <= set(features or {}):
        raise ArgumentError(
            "dataset", name, f"has the features {sorted(features or {})}; 'image' and 'label' are needed"
        )
    image, label = features["image"], features["label"]
    if image.np_dtype != np.uint8 or len(image.shape or ()) != 3 or not isinstance(label, tfds.features.ClassLabel):
        raise ArgumentError(
            "dataset",
            name,
            f"has images of {image.np_dtype.__name__} {image.shape} and labels of kind {type(label).__name__}; uint8 "
            "(height, width, channels) and ClassLabel are needed",
        )
    there = _other_versions(builder, data_dir)
    if there:  # To download another would take hours, and is not what a prepared folder is given for.
        known, _, version = name.partition(":")
        asked = "is asked for" if version else "this version of TensorFlow Datasets reads"
        raise DataError(
            f"`data_dir={data_dir}` holds {known} as {', '.join(there)}, not as {builder.data_path.name}, which "
            f"{asked}; give `dataset={known}:{there[-1]}` to read what is there, or a folder without {known} to "
            "download it"
        )
    try:
        builder.download_and_prepare()
    except Exception as error:
        raise DataError(
            f"`dataset={name}` is not prepared in `data_dir={data_dir or '~/tensorflow_datasets'}` and can't be "
            f"downloaded ({_first_line(error)})"
        ) from error
    return builder


def _other_versions(builder, data_dir):
    """The versions of a data set that a folder holds where it does not hold the one that is asked for."""
    if data_dir is None or builder.data_path.exists() or not builder.data_path.parent.is_dir():
        return []
    return sorted(path.name for path in builder.data_path.parent.iterdir() if path.is_dir() and path.name[:1].isdigit())


def _first_line(error):
    if type(error).__name__ == "DataLossError":  # TensorFlow's words are of bytes and checksums.
        return "a file was cut off or changed"
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def origin(builder) -> str:
    """Returns name, version and image format of a data set: copies as JPEG are not what the papers trained on."""
    import tensorflow_datasets as tfds

    raw = builder.as_dataset(split="train[:1]", decoders={"image": tfds.decode.SkipDecoding()})
    start = next(iter(raw))["image"].numpy()[:2]
    kind = {b"\xff\xd8": "JPEG", b"\x89P": "PNG"}.get(start, "other")
    return f"TFDS {builder.info.full_name}, {kind} images"


def fingerprint(builder, split: str) -> str:
    """Returns what the decoded images of a split depend on: its files, their sizes and dates.

    Raises:
        ArgumentError: If the split is unknown.
        DataError: If its files are missing.
    """
    import tensorflow as tf

    name = builder.info.name
    if split not in builder.info.splits:
        raise ArgumentError("dataset", name, f"has no split {split!r}; there are {sorted(builder.info.splits)}")
    try:
        files = [(str(path), tf.io.gfile.stat(str(path))) for path in builder.info.splits[split].filepaths]
    except tf.errors.OpError as error:
        raise DataError(f"`dataset={name}`: split {split!r} is incomplete ({_first_line(error)})") from error
    return repr([(path, stat.length, stat.mtime_nsec) for path, stat in files])


def read_images(builder, split: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields a split block by block, in the order of its files.

    Args:
        builder: What `open_builder` returned.
        split: Name of the split.

    Yields:
        Images uint8 `[n, height, width, channels]` and labels int32 `[n]`.

    Raises:
        DataError: If the split is damaged, or its images differ in size.
    """
    name = builder.info.name
    size, count = builder.info.splits[split].num_examples, 0
    try:
        examples = builder.as_dataset(split=split, shuffle_files=False)
        for batch in without_tuning(examples.batch(_READ_AT_ONCE).prefetch(2)):
            count += len(batch["label"])
            yield batch["image"].numpy(), batch["label"].numpy().astype("int32")
    except Exception as error:
        raise DataError(
            f"`dataset={name}`: split {split!r} in {builder.data_dir} can't be read as images of one size "
            f"({_first_line(error)})"
        ) from error
    if count != size:
        raise DataError(f"`dataset={name}`: split {split!r} in {builder.data_dir} holds {count} of {size} examples")
