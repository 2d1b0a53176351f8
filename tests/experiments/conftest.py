import shutil

import pytest

from keras_mt.experiments import cli


@pytest.fixture
def run(tiny_run, tmp_path):
    """The folder of a finished run that a test may change."""
    return shutil.copytree(tiny_run, tmp_path / "run")


@pytest.fixture
def said(capfd):
    """Runs a program in this process; returns its status and its errors."""

    def run(*arguments):
        capfd.readouterr()
        status = 0
        try:
            cli.main(*arguments)
        except SystemExit as ending:
            status = ending.code
        errors = capfd.readouterr().err
        assert "Traceback" not in errors
        return status, errors

    return run
