"""Image classification sets of TensorFlow Datasets, held once in memory as uint8."""

import numpy as np

from keras_mt.data.errors import DataError, DataRequestError

_READ_AT_ONCE = 1000


def open_builder(name: str, data_dir: str | None):
    """Returns the prepared TFDS builder of a data set, downloading and preparing it when that is needed.

    Raises:
        DataError: If there is no such data set, or it can't be had.
    """
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except Exception as error:
        raise DataRequestError(
            f"--dataset={name}: TensorFlow Datasets knows no such data set ({_first_line(error)}); 'digits' or a name "
            "from tensorflow.org/datasets is allowed"
        ) from error
    features = builder.info.features
    if not {"image", "label"} <= set(features or {}):
        raise DataRequestError(
            f"--dataset={name} has the features {sorted(features or {})}; 'image' and 'label' are needed"
        )
    try:
        builder.download_and_prepare()
    except Exception as error:
        raise DataError(
            f"--dataset={name} is not prepared in --data_dir={data_dir or '~/tensorflow_datasets'} and can't be "
            f"downloaded ({_first_line(error)})"
        ) from error
    return builder


def _first_line(error):
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def read_split(builder, split: str, chosen: np.ndarray | None = None, into: np.ndarray | None = None):
    """Reads a split, or the chosen part of it.

    Args:
        builder: What `open_builder` returned.
        split: Name of the split.
        chosen: Mask over the examples of the split of those that are kept; all by default.
        into: uint8 `[n, height, width, channels]` to write the images to; a new array by default.

    Returns:
        Images uint8 `[n, height, width, channels]` and labels int32 `[n]`.

    Raises:
        DataError: If the split is unknown or damaged, or its images differ in size.
    """
    name = builder.info.name
    if split not in builder.info.splits:
        raise DataRequestError(f"--dataset={name} has no split {split!r}; there are {sorted(builder.info.splits)}")
    size = builder.info.splits[split].num_examples
    kept = np.ones(size, bool) if chosen is None else chosen
    labels = np.full(int(kept.sum()), -1, "int32")
    position = written = 0
    try:
        for batch in builder.as_dataset(split=split, shuffle_files=False).batch(_READ_AT_ONCE).prefetch(2):
            images, mask = batch["image"].numpy(), kept[position : position + len(batch["image"])]
            if into is None:
                into = np.empty((len(labels), *images.shape[1:]), "uint8")
            count = int(mask.sum())
            into[written : written + count] = images[mask]
            labels[written : written + count] = batch["label"].numpy()[mask]
            position, written = position + len(images), written + count
    except Exception as error:
        raise DataError(
            f"--dataset={name}: split {split!r} in {builder.data_dir} can't be read as images of one size "
            f"({_first_line(error)})"
        ) from error
    if position != size:
        raise DataError(f"--dataset={name}: split {split!r} in {builder.data_dir} holds {position} of {size} examples")
    return into, labels
