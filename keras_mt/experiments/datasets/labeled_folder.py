"""A folder of pictures whose classes are in a CSV file."""

import csv
import io
import os
from pathlib import Path

import numpy as np

from keras_mt.errors import ArgumentError
from keras_mt.experiments.datasets.byte_ranges import ByteRanges
from keras_mt.experiments.datasets.class_names import class_name
from keras_mt.experiments.datasets.image_folder import EVALUATION, check_spelling, existing_folder
from keras_mt.experiments.datasets.picture_files import SUFFIXES, pictures_in
from keras_mt.experiments.errors import DataError
from keras_mt.experiments.reading import DamagedFileError, in_words, native, read_text

_HEADERS = ("class", "label")


class LabeledFolder:
    """Pictures anywhere below a folder; those of `test/` (or `validation/`, `val/`) are to be evaluated on.

    Args:
        data_dir: The folder.
        labels_csv: Lines `PICTURE,CLASS`, the picture as a path below the folder, and a header if one likes. Pictures
            that it does not name are unlabeled.

    Raises:
        ArgumentError: If the file can't be read, names an unknown picture or one twice, or fewer than two classes.
    """

    def __init__(self, data_dir: str | None, labels_csv: str):
        self.root = existing_folder(data_dir)
        check_spelling(self.root, EVALUATION)
        self.origin = "a folder of pictures with a list of labels"
        self._paths = {os.path.relpath(path, self.root): path for path in pictures_in(self.root)}
        self._class_of = self._read_classes(labels_csv)
        self.class_names = tuple(sorted(set(self._class_of.values())))
        if len(self.class_names) < 2:
            raise ArgumentError(
                "labels_file", labels_csv, f"has {len(self.class_names)} classes; at least two are needed"
            )

    def _read_classes(self, path):
        try:
            rows = list(csv.reader(io.StringIO(read_text(Path(path)))))
        except DamagedFileError as error:
            raise ArgumentError("labels_file", path, str(error).removeprefix(f"{path} ")) from error
        except csv.Error as error:
            raise ArgumentError("labels_file", path, f"can't be read (no CSV: {error})") from error

        def refuse(number, reason):
            raise ArgumentError("labels_file", path, f", line {number}: {reason}")

        class_of = {}
        for number, row in enumerate(rows, 1):
            if not row or (number == 1 and len(row) > 1 and row[1].strip().lower() in _HEADERS):
                continue
            if len(row) < 2 or not row[1].strip():
                refuse(number, f"{in_words(','.join(row))} has no class; PICTURE,CLASS is needed")
            name = native(os.path.normpath(row[0].strip()))
            if name not in self._paths:
                refuse(number, f"{in_words(name)} is no picture ({', '.join(SUFFIXES)}) below {self.root}")
            if name in class_of:
                refuse(number, f"{in_words(name)} is named twice")
            class_of[name] = class_name(native(row[1].strip()), "labels_file", path)
        return class_of

    def read(self, split: str) -> tuple[ByteRanges, np.ndarray]:
        """Returns the pictures of `"train"` (those without a label -1) or `"test"`, and their labels int32.

        Raises:
            ArgumentError: If the split has none.
        """
        of_test = [name for name in self._paths if Path(name).parts[0] in EVALUATION]
        if split == "train":
            names = sorted(set(self._paths) - set(of_test))
        else:
            names = sorted(set(of_test) & set(self._class_of))
        if not names:
            where = "" if split == "train" else f" with a class below {', '.join(EVALUATION)}; give `phase=validation`"
            raise ArgumentError("data_dir", self.root, f"has no pictures for the {split} split{where}")
        files = [self._paths[name] for name in names]
        sizes = np.array([path.stat().st_size for path in files], "int64")
        if not sizes.all():
            raise DataError(f"{files[int(np.argmin(sizes))]} is empty")
        index = {name: number for number, name in enumerate(self.class_names)}
        labels = np.array([index[self._class_of[name]] if name in self._class_of else -1 for name in names], "int32")
        places = np.arange(len(files), dtype="int32")
        starts = np.zeros(len(files), "int64")
        return ByteRanges(tuple(map(str, files)), places, starts, sizes, np.array(names), in_examples=False), labels
