"""A folder of pictures: a folder for each class, optionally one of unlabeled pictures and one to test on."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_mt.errors import ArgumentError
from keras_mt.experiments.datasets.byte_ranges import ByteRanges
from keras_mt.experiments.datasets.class_names import class_name
from keras_mt.experiments.datasets.picture_files import (
    SUFFIXES,
    is_left_behind,
    looks_like_picture,
    say_skipped,
    sorted_out,
)
from keras_mt.experiments.errors import DataError

_UNLABELED = "unlabeled"
EVALUATION = ("test", "validation", "val")


class ImageFolder:
    """Reads `CLASS/`, or `train/CLASS/`, beside `unlabeled/` and `test/CLASS/` (or `validation/`, `val/`).

    Args:
        data_dir: The folder.

    Raises:
        ArgumentError: If there are not at least two folders of classes.
        DataError: If a folder can't be read.
    """

    def __init__(self, data_dir: str | None):
        self.root = existing_folder(data_dir)
        self.training = self.root / "train" if (self.root / "train").is_dir() else self.root
        reserved = (_UNLABELED, *EVALUATION)
        check_spelling(self.root, ("train", *reserved))
        check_spelling(self.training, reserved)
        folders = [path for path in _folders_in(self.training) if path.name not in reserved]
        self._folders = {class_name(path.name, "data_dir", data_dir): path.name for path in folders}
        self.class_names = tuple(sorted(self._folders))
        if len(self.class_names) < 2:
            raise ArgumentError(
                "data_dir",
                data_dir,
                f"has {len(self.class_names)} folders of classes in {self.training}; at least two are needed",
            )
        self._check_layout(reserved)
        self.origin = "a folder of pictures"

    def _check_layout(self, reserved):
        """Refuses folders that would be left out, or be a class, and look as if they were meant otherwise."""
        if self.training != self.root:
            for path in _folders_in(self.root):
                if path.name not in ("train", *reserved) and sorted_out(path)[0]:
                    raise ArgumentError(
                        "data_dir", self.root, f"has pictures in {path.name!r} beside 'train'; move that folder into it"
                    )
        for name in self._folders.values():
            within = {path.name for path in _folders_in(self.training / name)} & set(self._folders.values())
            if len(within) > 1:
                raise ArgumentError(
                    "data_dir",
                    self.root,
                    f"has folders of the classes {', '.join(sorted(within))} in {name!r}, which would be a class; "
                    f"pictures to test on belong into {' or '.join(map(repr, EVALUATION))}",
                )

    def read(self, split: str) -> tuple[ByteRanges, np.ndarray]:
        """Returns the pictures of `"train"` (unlabeled ones last, labeled -1) or `"test"` and their labels int32.

        Raises:
            ArgumentError: If the split or a class to train on has none, or those of the test split have other classes.
        """
        if split == "train":
            unlabeled = [self.training / _UNLABELED] + ([self.root / _UNLABELED] * (self.training != self.root))
            return self._read(self.training, [path for path in unlabeled if path.is_dir()])
        for name in EVALUATION:
            folder = self.root / name
            if folder.is_dir():
                self._check_classes(folder)
                return self._read(folder, [])
        raise ArgumentError(
            "data_dir",
            self.root,
            f"has none of the folders {', '.join(EVALUATION)}; add one, or give `phase=validation`",
        )

    def _check_classes(self, folder):
        unknown = sorted({path.name for path in _folders_in(folder)} - set(self._folders.values()))
        if unknown:
            raise ArgumentError(
                "data_dir",
                self.root,
                f"has a folder {unknown[0]!r} in {folder} that is none of the classes {', '.join(self.class_names)}",
            )

    def _read(self, folder, unlabeled):
        files, labels = [], []
        skipped = [
            path
            for path in folder.iterdir()
            if looks_like_picture(path) or (path.is_dir() and is_left_behind(path.name))
        ]
        for label, name in enumerate(self.class_names):
            found, left = sorted_out(folder / self._folders[name])
            skipped += left
            if not found and folder == self.training:
                raise ArgumentError("data_dir", self.root, f"has no pictures of class {name!r} in {folder / name}")
            files += found
            labels += [label] * len(found)
        if not files:
            raise ArgumentError(
                "data_dir", self.root, f"has no pictures ({', '.join(SUFFIXES)}) in {folder} in folders of its classes"
            )
        for other in unlabeled:
            found, left = sorted_out(other)
            files += found
            labels += [-1] * len(found)
            skipped += left
        say_skipped(folder, sorted(skipped))
        sizes = np.array([path.stat().st_size for path in files], "int64")
        if not sizes.all():
            raise DataError(f"{files[int(np.argmin(sizes))]} is empty")
        ranges = ByteRanges(
            tuple(map(str, files)),
            np.arange(len(files), dtype="int32"),
            np.zeros(len(files), "int64"),
            sizes,
            np.array([os.path.relpath(path, folder) for path in files]),
            in_examples=False,
        )
        return ranges, np.array(labels, "int32")


def _folders_in(folder):
    paths = [path for path in folder.iterdir() if not is_left_behind(path.name)]
    for path in paths:
        if path.is_symlink() and not path.exists() and not looks_like_picture(path):
            raise ArgumentError("data_dir", folder, f"has a link {path.name!r} to what is not there")
    return [path for path in paths if path.is_dir()]


def check_spelling(folder: Path, reserved: Sequence[str]) -> None:
    """Checks that no folder's name is a reserved one but for capitals: `Unlabeled` would be a class.

    Raises:
        ArgumentError: If one is, naming it.
    """
    for path in sorted(folder.iterdir()):
        if path.name not in reserved and path.name.lower() in reserved and path.is_dir():
            raise ArgumentError(
                "data_dir", folder, f"has a folder {path.name!r}; rename it: to {path.name.lower()!r} if that is meant"
            )


def existing_folder(data_dir: str | None) -> Path:
    """Returns `data_dir`, if it is a folder.

    Raises:
        ArgumentError: If not.
    """
    if data_dir is None:
        raise ArgumentError("dataset", "folder", "needs `data_dir`, a folder with a folder of pictures for each class")
    if not Path(data_dir).is_dir():
        raise ArgumentError("data_dir", data_dir, "is no folder; `dataset=folder` needs one")
    return Path(data_dir)
