"""oneDNN is decided on before TensorFlow is imported, recorded with the run, and the run goes on with it."""

import json
import re
import signal
import time

import pytest
from support.programs import TINY, final_weights, finished_run, run_program, same_run, start_program

from keras_mt.experiments import commands
from keras_mt.experiments.errors import UsageError
from keras_mt.experiments.running import onednn

VARIABLE = "TF_ENABLE_ONEDNN_OPTS"
UNSET = {VARIABLE: ""}


@pytest.fixture
def before_tensorflow(monkeypatch):
    """As in a program that has not imported TensorFlow yet, with the variable unset."""
    monkeypatch.setattr(onednn, "as_loaded", lambda: None)
    monkeypatch.delenv(VARIABLE, raising=False)
    return monkeypatch


@pytest.mark.parametrize(
    ("instructions", "expected"),
    [({"avx", "avx2"}, "true"), ({"avx2", "avx512f", "avx512_vnni"}, "true"), ({"avx"}, "auto"), ({"asimd"}, "auto")],
)
def test_it_is_on_where_it_was_measured_to_pay_and_left_to_tensorflow_elsewhere(
    before_tensorflow, instructions, expected
):
    before_tensorflow.setattr(onednn, "instructions", lambda: frozenset(instructions))
    assert onednn.chosen("auto") == expected
    assert onednn.chosen("false") == "false"
    assert onednn.chosen("true") == "true"


@pytest.mark.parametrize(("value", "expected"), [("0", "false"), ("1", "true"), ("False", "false"), ("TRUE", "true")])
def test_the_users_variable_holds_and_a_flag_that_contradicts_it_is_refused(before_tensorflow, value, expected):
    before_tensorflow.setenv(VARIABLE, value)
    other = {"true": "false", "false": "true"}[expected]
    assert onednn.chosen("auto") == onednn.chosen(expected) == onednn.chosen("auto", recorded=expected) == expected
    with pytest.raises(UsageError, match=f"--onednn={other}, but the environment sets {VARIABLE}={expected}"):
        onednn.chosen(other)
    with pytest.raises(UsageError, match=f"the run was begun with --onednn={other}, but the environment sets"):
        onednn.chosen("auto", recorded=other)
    assert not onednn.environment(other)  # What reads a run, as predict does, goes by the user's variable.


def test_a_variable_that_tensorflow_would_ignore_is_refused(before_tensorflow):
    before_tensorflow.setenv(VARIABLE, "yes")
    with pytest.raises(UsageError, match=f"{VARIABLE}=yes in the environment must be 0 or 1"):
        onednn.chosen("auto")


def test_a_run_of_a_version_that_recorded_nothing_goes_on_with_the_default_of_tensorflow(before_tensorflow):
    before_tensorflow.setattr(onednn, "instructions", lambda: frozenset({"avx2"}))
    assert onednn.chosen("auto", recorded="auto") == "auto"
    assert not onednn.environment("auto")


@pytest.mark.parametrize(("choice", "expected"), [("true", "1"), ("false", "0")])
def test_a_choice_is_what_tensorflow_reads(before_tensorflow, choice, expected):
    assert onednn.environment(choice) == {VARIABLE: expected}


def test_a_tensorflow_that_is_loaded_already_is_not_contradicted(monkeypatch):
    import tensorflow  # noqa: F401 - loaded in any case; here it is seen.

    loaded = onednn.as_loaded()
    other = {"true": "false", "false": "true"}[loaded]
    monkeypatch.setenv(VARIABLE, "")
    assert onednn.chosen("auto") == loaded
    with pytest.raises(UsageError, match=f"--onednn={other}, but TensorFlow is loaded with oneDNN={loaded}"):
        onednn.chosen(other)
    assert not onednn.environment(other)


@pytest.fixture(scope="module")
def without_it(tmp_path_factory):
    return finished_run(tmp_path_factory.mktemp("runs") / "without", *TINY, "--onednn=false")


def recorded(run):
    (flag,) = re.findall(r"^--onednn=(\w+)$", (run / "flags.cfg").read_text(), re.MULTILINE)
    return flag, json.loads((run / "results.json").read_text())["machine"]["oneDNN"]


@pytest.mark.slow
def test_what_was_in_force_is_recorded(without_it, tmp_path):
    assert recorded(without_it) == ("false", "off")
    process = run_program("train", *TINY, f"--run_dir={tmp_path / 'run'}", **{VARIABLE: "0"})
    assert process.returncode == 0, process.stderr
    assert recorded(tmp_path / "run") == ("false", "off")
    same_run(without_it, tmp_path / "run")


@pytest.mark.slow
def test_a_run_is_not_continued_with_the_other_and_read_with_its_own(without_it):
    before = {path: path.read_bytes() for path in without_it.rglob("*") if path.is_file()}
    process = run_program("train", *TINY, "--onednn=true", f"--run_dir={without_it}", **UNSET)
    assert process.returncode == 2
    assert "was begun with --onednn=false; --onednn=true would add in another order" in process.stderr
    process = run_program("train", *TINY, f"--run_dir={without_it}", **{VARIABLE: "1"})
    assert process.returncode == 2
    assert f"the run was begun with --onednn=false, but the environment sets {VARIABLE}=true" in process.stderr
    assert {path: path.read_bytes() for path in without_it.rglob("*") if path.is_file()} == before
    last = (without_it / "evaluations.csv").read_text().splitlines()[-1]
    assert last.startswith("12,")
    process = run_program("evaluate", f"--run_dir={without_it}", **UNSET)
    assert process.returncode == 0, process.stderr
    assert commands.PROGRAMS["evaluate"].onednn(*commands.prepared("evaluate", [f"--run_dir={without_it}"])) == "false"


@pytest.mark.slow
@pytest.mark.parametrize("choice", ["true", "false"])
def test_a_killed_run_goes_on_bit_for_bit_with_what_it_began_with(choice, tmp_path):
    whole = finished_run(tmp_path / "whole", *TINY, f"--onednn={choice}")
    cut = tmp_path / "cut"
    process = start_program("train", *TINY, f"--onednn={choice}", f"--run_dir={cut}", **UNSET)
    while process.poll() is None:
        if (cut / "checkpoints" / "step-4").is_dir():
            process.kill()
        time.sleep(0.01)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (cut / "results.json").exists()
    finished_run(cut, *TINY)  # Without the flag: by what is recorded.
    assert recorded(cut) == recorded(whole) == (choice, {"true": "on", "false": "off"}[choice])
    same_run(whole, cut)


@pytest.mark.slow
def test_sums_differ_with_and_without_it(without_it, tmp_path):
    with_it = finished_run(tmp_path / "with", *TINY, "--onednn=true")
    first, second = final_weights(without_it), final_weights(with_it)
    assert any(first[name].tobytes() != second[name].tobytes() for name in first)  # Else these tests could not fail.
