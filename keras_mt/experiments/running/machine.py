"""What computed a result: versions, and the kind of processor and oneDNN, which decide how sums are rounded."""

import platform

import keras
import tensorflow as tf

from keras_mt.experiments.running import onednn
from keras_mt.experiments.running.processor import processor
from keras_mt.version import __version__


def versions() -> dict[str, str]:
    """Returns the versions of what computed a result."""
    return {
        "keras_mt": __version__,
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "python": platform.python_version(),
    }


def machine() -> dict[str, str]:
    """Returns the processor, the largest vector instructions that it has, and whether TensorFlow uses oneDNN."""
    return {**processor(), "oneDNN": {"true": "on", "false": "off"}[onednn.as_loaded()]}
