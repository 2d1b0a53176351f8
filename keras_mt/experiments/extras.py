"""Packages that the programs need and the library does not: the extras of pyproject.toml."""

import importlib.util

from keras_mt.experiments.errors import UsageError

# What is imported, by the extra that installs it.
EXTRAS = {
    "experiments": (
        "PIL", "absl", "filelock", "importlib_resources", "matplotlib", "pandas", "scipy", "sklearn", "tensorboard",
        "tensorflow_datasets", "tqdm",
    ),
    "onnx": ("onnx", "tf2onnx"),
}  # fmt: skip


def require(extra: str) -> None:
    """Checks that what an extra installs is there, without importing it.

    Args:
        extra: `"experiments"` or `"onnx"`.

    Raises:
        UsageError: If something is missing; it says how to install it.
    """
    missing = [name for name in EXTRAS[extra] if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(
            f"this needs packages that are not installed ({', '.join(missing)}): pip install 'keras-mt[{extra}]'"
        )
