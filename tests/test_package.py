"""What is installed: the library with TensorFlow, Keras and NumPy alone, and the extras of the programs."""

import importlib.metadata
import importlib.util
import os
import re
import subprocess
import sys
import tomllib
import venv
import zipfile

import numpy as np
import pytest
from packaging.requirements import Requirement
from sklearn.datasets import load_digits
from support.programs import ROOT

from keras_mt.experiments.errors import UsageError
from keras_mt.experiments.extras import EXTRAS, require

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
_EXTRAS = PROJECT["optional-dependencies"]
_WITHOUT_EXTRAS = """
import importlib, pkgutil, sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {missing}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Missing())
import keras_mt
for module in pkgutil.walk_packages(keras_mt.__path__, "keras_mt."):
    if module.name.count(".") > 1 and not module.name.startswith("keras_mt.experiments"):
        importlib.import_module(module.name)
"""


def of_extras(*names):
    return [Requirement(text) for name in names for text in _EXTRAS[name] if not text.startswith("keras-mt")]


def test_the_library_needs_keras_numpy_and_tensorflow_alone():
    assert [Requirement(text).name for text in PROJECT["dependencies"]] == ["keras", "numpy", "tensorflow"]
    # absl comes with Keras.
    missing = sorted({name for names in EXTRAS.values() for name in names} - {"absl"})
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "2"}
    command = [sys.executable, "-c", _WITHOUT_EXTRAS.format(missing=missing)]
    process = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert process.returncode == 0, process.stderr


def test_make_installs_everything_that_the_package_and_its_extras_name():
    pinned = dict(
        line.split("==") for line in (ROOT / "requirements.txt").read_text().splitlines() if not line.startswith("#")
    )
    for requirement in [*map(Requirement, PROJECT["dependencies"]), *of_extras(*_EXTRAS)]:
        assert requirement.specifier.contains(pinned[requirement.name]), requirement
    named = {requirement.name for requirement in of_extras(*_EXTRAS)} | {"keras", "numpy", "tensorflow"}
    assert set(pinned) == named


@pytest.mark.parametrize("extra", EXTRAS)
def test_what_an_extra_installs_is_what_the_programs_check(extra):
    packages = importlib.metadata.packages_distributions()
    checked = {name.lower().replace("_", "-") for module in EXTRAS[extra] for name in packages[module]}
    assert checked == {requirement.name.replace("_", "-") for requirement in of_extras(extra)}


def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch):
    require("experiments")
    monkeypatch.setitem(EXTRAS, "experiments", ("absl", "no_such_package"))
    with pytest.raises(UsageError, match=re.escape("(no_such_package): pip install 'keras-mt[experiments]'")):
        require("experiments")


def test_what_a_package_index_shows_has_no_link_or_picture_that_leads_nowhere_there():
    path = importlib.util.spec_from_file_location("setup_of_package", ROOT / "setup.py")
    setup = importlib.util.module_from_spec(path)
    path.loader.exec_module(setup)
    readme = (ROOT / "README.md").read_text()
    shown = setup.long_description(readme)
    links = re.findall(r"\]\(([^)]*)\)|(?:src|srcset)=\"([^\"]*)\"", shown)
    assert links
    assert all(first.startswith("https://") for first, _ in links)
    assert "*One training step: noise twice" in shown
    assert "your own data" in shown
    assert re.findall(r"```.*?```", shown, re.DOTALL) == re.findall(r"```.*?```", readme, re.DOTALL)


@pytest.mark.slow
def test_the_wheel_runs_the_readmes_example_beside_tensorflow_alone(tmp_path):
    def run(*command, status=0):
        # From a folder and with a path in which this checkout is not.
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        process = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=1200, check=False
        )
        assert process.returncode == status, process.stderr
        return process

    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT))
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as files:
        (metadata,) = (name for name in files.namelist() if name.endswith("/METADATA"))
        assert "# keras_mt: Mean Teacher for Keras 3" in files.read(metadata).decode()
    venv.create(tmp_path / "venv", with_pip=True)
    python = str(tmp_path / "venv" / "bin" / "python")
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(wheel))
    print(run(python, "-m", "pip", "list", "--disable-pip-version-check").stdout)

    x, y = load_digits(return_X_y=True)
    np.savez(tmp_path / "digits.npz", x=x, y=y)
    example = str(ROOT / "tests" / "support" / "wheel_example.py")
    print(run(python, example, str(ROOT / "README.md"), str(tmp_path / "digits.npz"), str(tmp_path)).stdout)

    for command in ([python, "-m", "keras_mt.train"], [str(tmp_path / "venv" / "bin" / "keras-mt"), "train"]):
        process = run(*command, "--dataset=digits", "--run_dir=run", status=2)
        (line,) = process.stderr.strip().splitlines()
        assert "pip install 'keras-mt[experiments]'" in line
