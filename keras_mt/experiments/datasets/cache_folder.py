"""The folder of `--cache_dir`."""

import os
from pathlib import Path

from keras_mt.errors import ArgumentError


def cache_folder(cache_dir: str | os.PathLike) -> Path:
    """Returns the folder that a cache is kept in, with `~` and `~USER` replaced.

    Raises:
        ArgumentError: If there is no such user, or this one has no home.
    """
    try:
        return Path(cache_dir).expanduser()
    except RuntimeError as error:
        raise ArgumentError(
            "cache_dir", cache_dir, "is below the home folder of a user who has none; name another folder"
        ) from error
