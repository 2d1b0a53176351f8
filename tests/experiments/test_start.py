"""What is said while a program's module, and with it TensorFlow, is imported."""

import os
import subprocess
import sys
import types

import pytest
from support.programs import ROOT

from keras_mt.experiments import cli


@pytest.fixture
def imports(monkeypatch):
    """Makes the import of a program write to stderr as TensorFlow does, past Python, and then do something."""

    def make(then, level):
        def import_module(name):
            os.write(2, b"W0000 libcudart.so: cannot open shared object file\n")
            return then(name)

        monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", level)
        monkeypatch.setattr(cli, "importlib", types.SimpleNamespace(import_module=import_module))

    return make


def fails(name):
    raise ImportError(f"no {name}")


@pytest.mark.parametrize("level", ["", "2", "3"])
def test_what_tensorflow_says_at_its_start_is_hidden(imports, level, capfd):
    imports(lambda name: name, level)
    assert cli._imported("train") == "keras_mt.experiments.train"
    os.write(2, b"ours\n")
    assert capfd.readouterr().err == "ours\n"


@pytest.mark.parametrize("level", ["0", "1"])
def test_it_is_shown_to_who_asks_for_it(imports, level, capfd):
    imports(lambda name: name, level)
    cli._imported("train")
    assert "libcudart.so" in capfd.readouterr().err


def test_an_import_that_fails_shows_what_was_said_and_its_error(imports, capfd):
    imports(fails, "2")
    with pytest.raises(ImportError, match="no keras_mt.experiments.train"):
        cli._imported("train")
    assert "libcudart.so" in capfd.readouterr().err


def test_ctrl_c_meanwhile_is_one_sentence(imports, capfd, monkeypatch):
    def interrupted(name):
        raise KeyboardInterrupt

    imports(interrupted, "2")
    monkeypatch.setattr(cli.commands, "prepared", lambda name, arguments: ())
    with pytest.raises(SystemExit) as ending:
        cli.main("report", [])
    assert ending.value.code == 130
    assert capfd.readouterr().err == "interrupted; the same command starts or continues the run\n"


@pytest.mark.parametrize("program", ["report", "sweep"])
def test_a_program_that_trains_nothing_itself_imports_no_tensorflow(program):
    script = f"import sys, keras_mt.experiments.{program}; print({{'tensorflow', 'keras'}} & set(sys.modules))"
    process = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert process.stdout == "set()\n"
