"""Whether a run computes with oneDNN, which has to be decided before TensorFlow is imported.

TensorFlow turns it on by itself only for processors with AVX-512 VNNI and the like. Steps are 1.1 to 2.2 times as fast
with it on others, but for networks of a thirtieth of the published width (docs/performance.md). It adds in another
order: the last bits differ, so that a run goes on with what it began with.
"""

import os
import sys

from keras_mt.experiments.errors import UsageError
from keras_mt.experiments.running.processor import instructions

VARIABLE = "TF_ENABLE_ONEDNN_OPTS"
_VALUES = {"1": "true", "true": "true", "0": "false", "false": "false"}


def chosen(flag: str, recorded: str | None = None) -> str:
    """Returns what a run computes with.

    Args:
        flag: Of --onednn: `"auto"`, `"true"` or `"false"`.
        recorded: What its flagfile says, if the run was begun before: `"auto"` where nothing was decided.

    Returns:
        `"true"`, `"false"`, or `"auto"` where it is left to TensorFlow.

    Raises:
        UsageError: If the environment, or a TensorFlow that is loaded already, is otherwise.
    """
    wanted = flag if recorded is None else recorded
    given = as_loaded() or of_environment()
    if given is None:
        return _rule() if recorded is None and flag == "auto" else wanted
    if wanted not in ("auto", given):
        where = "TensorFlow is loaded with oneDNN" if as_loaded() else f"the environment sets {VARIABLE}"
        what = f"--onednn={wanted}" if recorded is None else f"the run was begun with --onednn={wanted}"
        raise UsageError(f"{what}, but {where}={given}")
    return wanted if recorded is not None else given


def environment(choice: str) -> dict[str, str]:
    """Returns what to set in the environment before TensorFlow is imported. What the user set there stays.

    Args:
        choice: What `chosen` returned.
    """
    if choice == "auto" or of_environment() is not None or as_loaded() is not None:
        return {}
    return {VARIABLE: "1" if choice == "true" else "0"}


def of_environment() -> str | None:
    """Returns what the user's environment variable says, `"true"` or `"false"`, or None if it is not set.

    Raises:
        UsageError: If it says something else, which TensorFlow would ignore.
    """
    value = os.environ.get(VARIABLE, "")
    if value and value.lower() not in _VALUES:
        raise UsageError(f"{VARIABLE}={value} in the environment must be 0 or 1")
    return _VALUES.get(value.lower())


def as_loaded() -> str | None:
    """Returns what a TensorFlow that is imported computes with, `"true"` or `"false"`, or None if it is not."""
    if "tensorflow" not in sys.modules:
        return None
    # A private name: nothing public says it.
    from tensorflow.python.util import _pywrap_util_port

    return "true" if _pywrap_util_port.IsMklEnabled() else "false"


def _rule():
    """On where it was measured, on x86 with AVX2; TensorFlow's default elsewhere."""
    return "true" if "avx2" in instructions() else "auto"
