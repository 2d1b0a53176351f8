"""A list of the labeled images: a line each, the name of the image and, if one likes, of its class."""

from pathlib import Path

import numpy as np

from keras_mt.errors import ArgumentError
from keras_mt.experiments.reading import DamagedFileError, in_words, native, read_text


def read_labels_file(path: str, names: np.ndarray, labels: np.ndarray, class_names: tuple[str, ...]) -> np.ndarray:
    """Returns the sorted indices of the images that a file names.

    Args:
        path: The file. A line is `NAME` or `NAME CLASS`; `NAME` is a path below the folder of training images, or a
            file name that only one of them has. Empty lines and those that begin with # are skipped.
        names: Names of the images, `[images]`.
        labels: Their classes.
        class_names: Name of each class.

    Raises:
        ArgumentError: If the file can't be read, names an unknown image or one twice, or contradicts its class.
    """

    def refuse(number, reason):
        raise ArgumentError("labels_file", path, f", line {number}: {reason}")

    try:
        lines = native(read_text(Path(path))).splitlines()
    except DamagedFileError as error:
        raise ArgumentError("labels_file", path, str(error).removeprefix(f"{path} ")) from error
    index_of = {}
    for index, name in enumerate(names):
        index_of[name] = index
        short = name.rsplit("/", 1)[-1]
        index_of[short] = index if index_of.get(short, index) == index else None
    chosen = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, class_name = _parts(line.strip(), index_of)
        index = index_of.get(name)
        if index is None:
            refuse(
                number,
                f"{in_words(name)} is {'the name of several images' if name in index_of else 'no training image'}",
            )
        if index in chosen:
            refuse(number, f"{in_words(name)} is already named in line {chosen[index]}")
        if labels[index] < 0:
            refuse(number, f"{in_words(name)} has no class")
        if class_name and class_name != native(class_names[labels[index]]):
            refuse(number, f"{in_words(name)} is of class {class_names[labels[index]]!r}, not {in_words(class_name)}")
        chosen[index] = number
    if not chosen:
        raise ArgumentError("labels_file", path, "names no image")
    return np.array(sorted(chosen))


def _parts(line, known):
    """The name of an image and its class, both of which may hold spaces: the longest name that is known."""
    cuts = [len(line), *(place for place in range(len(line) - 1, 0, -1) if line[place].isspace())]
    for cut in cuts:
        if line[:cut].rstrip() in known:
            return line[:cut].rstrip(), line[cut:].strip()
    return (line.split()[0], "") if len(line.split()) < 3 else (line, "")
