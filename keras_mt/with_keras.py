"""What happens as soon as both this package and Keras are imported, whichever comes first.

Keras finds a class that a saved model names only where its module was imported before (`register_keras_serializable`),
and `import keras_mt` alone imports none of them.
"""

import importlib
import importlib.abc
import importlib.util
import os
import sys

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
_PROGRAMS = ("__main__", "evaluate", "export", "predict", "report", "sweep", "train")
_WITHOUT_KERAS = (*_PROGRAMS, "data", "errors", "experiments", "version", "with_keras")


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
    _check_backend(sys.modules["keras"].config.backend())
    for name in _REGISTERED:
        importlib.import_module(f"keras_mt.{name}")


def _check_backend(backend):
    if backend != "tensorflow":
        raise ImportError(
            f"keras_mt needs Keras' TensorFlow backend. Received: {backend}; set the environment variable "
            "KERAS_BACKEND=tensorflow before Keras is imported"
        )


class _AfterKeras(importlib.abc.MetaPathFinder):
    """Finds Keras as it would be found, and registers when it has been executed.

    Keras may be looked for and not imported: `import tensorflow` does so. It is imported before a module of this
    package that needs it: from within `import keras_mt.losses`, say, what is registered would find half of that.
    """

    def __init__(self):
        self._searching = False

    def find_spec(self, name, path, target=None):
        package, _, rest = name.partition(".")
        if package == "keras_mt" and rest.partition(".")[0] not in _WITHOUT_KERAS and "keras" not in sys.modules:
            importlib.import_module("keras")
            return _spec_of_imported(name) if name in sys.modules else None
        if name != "keras" or self._searching:
            return None
        self._searching = True
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self._searching = False
        if spec is not None:
            execute = spec.loader.exec_module

            def then_register(module):
                _check_backend(os.environ.get("KERAS_BACKEND") or "tensorflow")  # It may not be installed.
                execute(module)
                sys.meta_path.remove(self)
                _register()

            spec.loader.exec_module = then_register
        return spec


def _spec_of_imported(name):
    spec = sys.modules[name].__spec__
    return importlib.util.spec_from_loader(
        name, _Imported(spec), is_package=spec.submodule_search_locations is not None
    )


class _Imported(importlib.abc.Loader):
    """Loads a module that has been imported while it was looked for: leaves it as it is."""

    def __init__(self, spec):
        self._spec = spec

    def create_module(self, spec):
        return sys.modules[spec.name]

    def exec_module(self, module):
        module.__spec__ = self._spec
