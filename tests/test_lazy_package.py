"""`import keras_mt` imports nothing that takes time, and yet saved models are found."""

import os
import subprocess
import sys

import pytest
from support.networks import small_convnet
from support.programs import ROOT

import keras_mt


def python(code, **environment):
    environment = {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3", **environment}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment, timeout=300
    )


def test_every_public_name_is_there():
    for name in keras_mt.__all__:
        assert getattr(keras_mt, name) is not None
    assert set(keras_mt.__all__) <= set(dir(keras_mt))
    with pytest.raises(AttributeError, match="no attribute 'no_such_name'"):
        _ = keras_mt.no_such_name


def test_importing_it_imports_neither_tensorflow_nor_keras():
    process = python(
        "import sys, keras_mt; print([name for name in ('tensorflow', 'keras', 'numpy') if name in sys.modules]); "
        "keras_mt.data.two_stream; from keras_mt import MeanTeacher, layers; print('done')"
    )
    assert process.stdout.splitlines() == ["[]", "done"], process.stderr


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    model = keras_mt.MeanTeacher(small_convnet())
    model.compile(keras_mt.optimizers.ScheduledAdam(keras_mt.schedules.RampUpDown(0.1, 5)))
    path = tmp_path_factory.mktemp("saved") / "model.keras"
    model.save(path)
    return path


@pytest.mark.parametrize(
    "imports",
    [
        "import keras_mt, keras",
        pytest.param("import keras, keras_mt", marks=pytest.mark.slow),
        pytest.param("import tensorflow as tf, keras_mt; keras = tf.keras", marks=pytest.mark.slow),
        pytest.param("import keras_mt, tensorflow, keras", marks=pytest.mark.slow),
        pytest.param("import keras_mt.mean_teacher, keras", marks=pytest.mark.slow),
        "import keras_mt.losses, keras",
        pytest.param("import keras_mt.layers, keras", marks=pytest.mark.slow),
    ],
)
def test_a_saved_model_is_loaded_whatever_was_imported_first(saved, imports):
    process = python(f"{imports}; print(type(keras.models.load_model({str(saved)!r})).__name__)")
    assert process.stdout.split()[-1:] == ["MeanTeacher"], process.stderr


FIRST = ("perturbation", "mixing", "losses", "layers", "callback", "mean_teacher", "schedules", "tasks", "uncertainty")


@pytest.mark.parametrize(
    "first", [pytest.param(name, marks=() if name == FIRST[0] else pytest.mark.slow) for name in FIRST]
)
def test_any_module_may_be_imported_first_and_its_classes_are_there_once(first):
    process = python(f"""
import keras_mt.{first}, sys
module = sys.modules["keras_mt.{first}"]
import keras, keras_mt.callback, keras_mt.mean_teacher, keras_mt.mixing, keras_mt.perturbation
assert sys.modules["keras_mt.{first}"] is module is keras_mt.{first}
for name, known in vars(module).items():
    if isinstance(known, type) and known.__module__.startswith("keras_mt."):
        assert getattr(sys.modules[known.__module__], name, known) is known, name
student = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
keras_mt.MeanTeacher(student, method="vat", perturbation=keras_mt.VirtualAdversarial(1.0))
mixing = keras_mt.mixing.Interpolation()
keras_mt.MeanTeacher(student, mixing=mixing, consistency_on_labeled=False, consistency=keras_mt.losses.Confident("mse"))
assert not [finder for finder in sys.meta_path if "keras_mt" in type(finder).__module__]
print("done")
""")
    assert process.stdout.split()[-1:] == ["done"], process.stderr


@pytest.mark.parametrize("code", ["import keras_mt; keras_mt.MeanTeacher", "import keras_mt, keras"])
def test_another_backend_is_refused_in_a_sentence(code):
    process = python(code, KERAS_BACKEND="jax")
    last = process.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: keras_mt needs Keras' TensorFlow backend. Received: jax")


@pytest.mark.parametrize("code", ["import keras, keras_mt", "import keras_mt, keras"])
def test_another_backend_of_keras_own_file_is_refused_when_both_are_imported(tmp_path, code):
    # Stands for a Keras whose configuration file names another backend, which is not installed here.
    (tmp_path / "keras.py").write_text("class config:\n    backend = staticmethod(lambda: 'torch')\n")
    process = python(code, PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}")
    last = process.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: keras_mt needs Keras' TensorFlow backend. Received: torch")
