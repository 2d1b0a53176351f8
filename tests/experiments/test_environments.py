"""Programs under other locales, and for who reads no further."""

import os
import subprocess
import sys

import pytest
from support.programs import ROOT, run_program

from keras_mt.experiments import cli

ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def test_a_report_is_written_in_an_ascii_locale(tiny_run, tmp_path):
    introduction = tmp_path / "größe.txt"
    introduction.write_text("Größe: 大", encoding="utf-8")
    process = run_program(
        "report", f"--runs={tiny_run}", f"--output={tmp_path / 'é'}", f"--introduction={introduction}", **ASCII
    )
    assert process.returncode == 0, process.stderr
    for name in ("report.md", "report.html"):
        assert "Größe: 大" in (tmp_path / "é" / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["train", "predict"])
def test_who_reads_one_line_gets_no_complaint(name):
    command = f"{sys.executable} -m keras_mt.{name} --help | head -1"
    process = subprocess.run(
        ["bash", "-c", f"{command}; exit ${{PIPESTATUS[0]}}"],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert process.returncode in (0, 141)  # 0 where all was written before the reader ended.
    assert process.stderr == ""
    assert len(process.stdout.splitlines()) == 1


def test_a_pipe_that_nobody_reads_ends_a_program_quietly(monkeypatch, capfd):
    def writes(*_):
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr(cli.commands, "help_of", writes)
    kept = os.dup(1)
    try:
        with pytest.raises(SystemExit) as ending:
            cli.main("train", ["--help"])
    finally:
        os.dup2(kept, 1)
        os.close(kept)
    assert ending.value.code == 141
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("closed", [">&-", "<&- >&- 2>&-"])
def test_a_program_without_stdout_or_stderr_ends_as_with_them(closed, tiny_run, tmp_path):
    command = f"{sys.executable} -m keras_mt.report --runs={tiny_run} --output={tmp_path} {closed}"
    process = subprocess.run(
        ["bash", "-c", command],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    assert "Traceback" not in process.stderr
    assert (tmp_path / "report.md").stat().st_size > 0


def test_a_flagfile_may_be_a_pipe():
    process = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m keras_mt.train --flagfile=<(echo --method=magic)"],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert process.returncode == 2
    assert process.stderr.startswith("error: --method=magic")


def test_another_backend_is_a_sentence_before_tensorflow_is_imported(tmp_path):
    (tmp_path / "tensorflow.py").write_text("raise AssertionError\n")
    process = subprocess.run(
        [sys.executable, "-m", "keras_mt.train", "--dataset=digits"],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}", "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert process.returncode == 2
    assert process.stderr == "error: KERAS_BACKEND=jax in the environment: the programs need tensorflow\n"


@pytest.mark.parametrize("name", ["KERAS_MAX_EPOCHS", "KERAS_MAX_STEPS_PER_EPOCH"])
def test_a_variable_that_cuts_each_fit_short_is_refused(name, said, monkeypatch):
    monkeypatch.setenv(name, "1")
    status, errors = said("train", ["--dataset=digits"])
    assert status == 2
    assert errors.startswith(f"error: {name}=1 in the environment cuts training and evaluations short: unset it")


@pytest.mark.parametrize(
    "content",
    [
        '{"floatx": "float16", "epsilon": 0.1, "image_data_format": "channels_first"}',
        pytest.param('{"floatx": "none"}', marks=pytest.mark.slow),
    ],
)
def test_the_same_flags_are_the_same_experiment_whatever_stands_in_keras_json(content, tmp_path):
    (tmp_path / "keras.json").write_text(content)
    script = """
from keras_mt.experiments import cli
cli._take_tensorflow()
import keras
print(keras.config.floatx(), keras.config.epsilon(), keras.config.image_data_format(), keras.config.backend())
"""
    process = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(ROOT), "KERAS_HOME": str(tmp_path), "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert process.stdout.split() == ["float32", "1e-07", "channels_last", "tensorflow"]
    assert [path.name for path in tmp_path.iterdir()] == ["keras.json"]
