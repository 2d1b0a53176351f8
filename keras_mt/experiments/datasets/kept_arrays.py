"""Arrays on disk that were computed once, kept with what they were computed from."""

import os
import tempfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

_SOURCE = "source"


def load_arrays(path: Path, names: Iterable[str], source: str) -> dict[str, np.ndarray] | None:
    """Returns arrays that `save_arrays` kept.

    Args:
        path: The file.
        names: Their names.
        source: What they are to be computed from, as it was told to `save_arrays`.

    Returns:
        The arrays by name; None if the file is missing or damaged, lacks one of them, or was computed from something
        else: files may have been exchanged. Their shapes and values are not looked at.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in names} if str(file[_SOURCE]) == source else None
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):  # TypeError: one array alone.
        return None


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray], source: str) -> None:
    """Keeps arrays, atomically also with two runs at once.

    Raises:
        OSError: If the file can't be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".npz", delete=False) as file:
        np.savez(file, **arrays, **{_SOURCE: np.array(source)})
    os.replace(file.name, path)
