"""Mean Teacher for Keras: semi-supervised learning with an averaged teacher (Tarvainen & Valpola 2017).

Public names are imported when they are first used: the programs answer a mistyped flag before TensorFlow is imported.
"""

import importlib
from typing import TYPE_CHECKING

from keras_mt import with_keras
from keras_mt.version import __version__ as __version__

if TYPE_CHECKING:
    from keras_mt import architectures as architectures
    from keras_mt import data as data
    from keras_mt import distribution as distribution
    from keras_mt import layers as layers
    from keras_mt import losses as losses
    from keras_mt import mixing as mixing
    from keras_mt import optimizers as optimizers
    from keras_mt import schedules as schedules
    from keras_mt.callback import MeanTeacherCallback as MeanTeacherCallback
    from keras_mt.mean_teacher import MeanTeacher as MeanTeacher
    from keras_mt.perturbation import VirtualAdversarial as VirtualAdversarial
    from keras_mt.uncertainty import Uncertainty as Uncertainty

_MODULES = ("architectures", "data", "distribution", "layers", "losses", "mixing", "optimizers", "schedules")
_CLASSES = {
    "MeanTeacher": "mean_teacher",
    "MeanTeacherCallback": "callback",
    "Uncertainty": "uncertainty",
    "VirtualAdversarial": "perturbation",
}

__all__ = [
    "MeanTeacher",
    "MeanTeacherCallback",
    "Uncertainty",
    "VirtualAdversarial",
    "__version__",
    "architectures",
    "data",
    "distribution",
    "layers",
    "losses",
    "mixing",
    "optimizers",
    "schedules",
]

with_keras.register()


def __getattr__(name: str):
    if name in _MODULES:
        return importlib.import_module(f"keras_mt.{name}")
    if name in _CLASSES:
        globals()[name] = value = getattr(importlib.import_module(f"keras_mt.{_CLASSES[name]}"), name)
        return value
    raise AttributeError(f"module 'keras_mt' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
