"""What happens as soon as both this package and Keras are imported, whichever comes first.

Keras finds a class that a saved model names only where its module was imported before (`register_keras_serializable`),
and `import keras_mt` alone imports none of them.
"""

import importlib
import importlib.abc
import os
import sys
import threading

_REGISTERED = (
    "layers",
    "losses",
    "mean_teacher",
    "mixing",
    "optimizers",
    "perturbation",
    "schedules",
    "temporal_ensembling",
    "uncertainty",
)


def register() -> None:
    """Registers this package's classes with Keras: now if it is imported, else when it will have been.

    Raises:
        ImportError: If Keras is imported, with another backend than TensorFlow.
    """
    if "keras" in sys.modules:
        _register()
    else:
        sys.meta_path.insert(0, _AfterKeras())


def _register():
    _check_backend(importlib.import_module("keras").config.backend())
    for name in _REGISTERED:
        importlib.import_module(f"keras_mt.{name}")


def _check_backend(backend):
    if backend != "tensorflow":
        raise ImportError(
            f"keras_mt needs Keras' TensorFlow backend. Received: {backend}; set the environment variable "
            "KERAS_BACKEND=tensorflow before Keras is imported"
        )


class _AfterKeras(importlib.abc.MetaPathFinder):
    """Finds Keras and this package's modules as they would be found, and registers when Keras has been executed.

    Keras may be looked for and not imported: `import tensorflow` does so. Where a module of this package imports it,
    what is registered waits for the end of that module, of which it would find half.
    """

    def __init__(self):
        self._thread = threading.local()

    def find_spec(self, name, path, target=None):
        if name != "keras" and not name.startswith("keras_mt."):
            return None
        others = [finder for finder in sys.meta_path if finder is not self and hasattr(finder, "find_spec")]
        found = (finder.find_spec(name, path, target) for finder in others)
        spec = next((spec for spec in found if spec is not None), None)
        if spec is None:
            return None
        execute = spec.loader.exec_module

        def then_register(module):
            if name == "keras":  # Another backend may not be installed.
                _check_backend(os.environ.get("KERAS_BACKEND") or "tensorflow")
            outermost = not getattr(self._thread, "inside", False)
            self._thread.inside = True
            try:
                execute(module)
            finally:
                if outermost:
                    self._thread.inside = False
            if outermost and "keras" in sys.modules:
                _register()
                if self in sys.meta_path:
                    sys.meta_path.remove(self)

        spec.loader.exec_module = then_register
        return spec
