import contextlib
import dataclasses
import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf
from support.programs import ROOT, TINY, in_process, run_program, same_run, start_program
from support.svhn_files import prepare_tfds, write_mat_files

import keras_mt
from keras_mt.experiments import commands, flagging
from keras_mt.experiments.errors import UsageError
from keras_mt.experiments.options import kind_of
from keras_mt.experiments.running.run_directory import RunDirectory


def test_a_run_leaves_flags_events_evaluations_curves_export_and_results(tiny_run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run, printed = tiny_run, tiny_run.with_name(f"{tiny_run.name}.out").read_text()
    assert "labeled per batch: 10 of 20" in printed
    assert "consistency weight 5, sigmoid ramp-up over 6 steps" in printed
    results = json.loads((run / "results.json").read_text())
    assert results["step"] == 12
    assert results["num_labels"] == 50
    assert results["method"] == "mean_teacher"
    assert results["flags"]["max_consistency_weight"] == 5
    assert {"keras_mt", "tensorflow", "keras", "python"} <= set(results["versions"])
    rows = (run / "evaluations.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["step", "5", "10", "12"]
    assert float(rows[-1].split(",")[2]) == results["teacher"]["error"]
    assert (run / "curves.png").read_bytes().startswith(b"\x89PNG")
    for network in ("student", "teacher"):
        events = EventAccumulator(str(run / "events" / network)).Reload()
        assert [event.step for event in events.Tensors("error")] == [5, 10, 12]
    events = EventAccumulator(str(run / "events" / "training")).Reload()
    rates = [float(tf.make_ndarray(event.tensor_proto)) for event in events.Tensors("learning_rate")]
    np.testing.assert_allclose(rates, [0.003 * keras_mt.schedules.sigmoid_rampup(t, 6) for t in (4, 9, 11)], rtol=1e-5)


def test_a_run_says_at_its_end_what_to_look_at_next_with_commands_that_are_taken(tiny_run, monkeypatch):
    run, printed = tiny_run, tiny_run.with_name(f"{tiny_run.name}.out").read_text()
    (_, next_steps) = printed.split("next:\n")
    named = re.findall(r"(?:python -m keras_mt\.|tensorboard )(.*)", next_steps)
    assert named[0] == f"--logdir {run / 'events'}"
    monkeypatch.chdir(run)
    for command in named[1:]:
        name, *arguments = shlex.split(command.replace("PICTURES...", "curves.png"))
        commands.prepared(name, arguments)


@pytest.mark.parametrize("name", commands.PROGRAMS)
def test_each_flag_can_be_given_and_is_taken_or_refused_in_a_sentence(name, tiny_run, tmp_path):
    run, sweep = f"--run_dir={tiny_run}", ROOT / "flags" / "sweeps" / "digits.toml"
    needed = {
        "train": [*TINY, f"--run_dir={tmp_path / 'run'}"], "evaluate": [run],
        "sweep": [f"--sweep={sweep}", f"--runs={tmp_path}"],
        "predict": [run, str(tiny_run / "curves.png")], "export": [run], "report": [f"--runs={tiny_run}"],
    }[name]  # fmt: skip
    fields = [field for options in commands.PROGRAMS[name].options for field in dataclasses.fields(options)]
    taken = 0
    for field in fields:
        value = {"data_dir": tmp_path, "run_dir": tiny_run, "runs": tmp_path, "sweep": sweep}.get(field.name)
        value = value or field.default or (field.metadata["choices"] or [kind_of(field)(1)])[0]
        with contextlib.suppress(UsageError):  # Some do not go with the others, and that is said.
            *_, last = commands.prepared(name, [*needed, *flagging.as_arguments({field.name: value})])
            taken += 1
            if isinstance(last, RunDirectory):
                last.release()
    assert taken > 0.6 * len(fields)


def test_evaluate_takes_the_flags_of_the_run_again_and_looks_where_it_is_told(tiny_run, tmp_path):
    flags = [f"--flagfile={tiny_run / 'flags.cfg'}", f"--run_dir={tiny_run}", f"--cache_dir={tmp_path}"]
    config, _ = commands.prepared("evaluate", flags)
    assert config.cache_dir == str(tmp_path)
    assert config.identity() == RunDirectory(str(tiny_run)).recorded().identity()


# Of TensorFlow's start: processors, drivers, the logging library itself.
NOT_OURS = r"absl|cuda|cuInit|oneDNN|TensorRT|^[IWEF]\d{4} |^WARNING"


def test_a_run_prints_nothing_before_its_own_first_line_and_warns_where_it_is_no_better_than_chance(tiny_run):
    printed = tiny_run.with_name(f"{tiny_run.name}.out").read_text()
    assert printed.startswith("digits: ")
    assert not re.search(NOT_OURS, printed, re.MULTILINE)
    errors = re.findall(r"step .*: student ([0-9.]+) %, teacher ([0-9.]+) % error(.*);", printed)
    assert len(errors) == 3
    for student, teacher, note in errors:  # Chance: 89.8 %, and two standard errors of 599 images are 2.5 points.
        assert (min(float(student), float(teacher)) > 87.3) == (note == " (no better than chance)")


@pytest.mark.slow
@pytest.mark.parametrize("program", ["evaluate", "export", "predict", "report", "train"])
@pytest.mark.parametrize("level", ["", "2"])
def test_a_program_says_nothing_that_is_not_its_own(tiny_run, program, level, tmp_path):
    run = tiny_run
    flags = {
        "train": [*TINY, "--training_steps=1", "--rampup_steps=1", f"--run_dir={tmp_path / 'run'}"],
        "evaluate": [f"--run_dir={run}"],
        "predict": [f"--run_dir={run}", str(run / "curves.png")],
        "export": [f"--run_dir={run}", f"--output={tmp_path / 'export'}"],
        "report": [f"--runs={run}", f"--output={tmp_path / 'report'}"],
    }
    process = run_program(program, *flags[program], TF_CPP_MIN_LOG_LEVEL=level)
    assert process.returncode == 0, process.stderr
    assert not re.search(NOT_OURS, process.stdout + process.stderr, re.MULTILINE)


@pytest.mark.slow
def test_the_flagfile_of_a_run_reproduces_it(tiny_run, tmp_path):
    run = tiny_run
    process = run_program("train", f"--flagfile={run / 'flags.cfg'}", f"--run_dir={tmp_path / 'again'}")
    assert process.returncode == 0, process.stderr
    assert (tmp_path / "again" / "evaluations.csv").read_text() == (run / "evaluations.csv").read_text()


def test_the_exported_teacher_is_served_without_keras_mt(tiny_run, tmp_path):
    run = tiny_run
    images = np.random.default_rng(0).integers(0, 255, (3, 16, 16, 1)).astype("uint8")
    np.save(tmp_path / "images.npy", images)
    script = """
import sys
sys.modules["keras_mt"] = sys.modules["keras"] = None  # Importing either fails.
import numpy as np, tensorflow as tf
images = np.load(sys.argv[2])
loaded = tf.saved_model.load(sys.argv[1])
answers = [loaded.serve(images)["probabilities"], loaded.serve(images.astype("float32"))["probabilities"]]
answers.append(loaded.signatures["serving_default"](images=tf.constant(images))["probabilities"])
assert all(np.allclose(answer, answers[0], atol=1e-6) for answer in answers)
assert answers[0].shape == (3, 10) and np.allclose(np.sum(answers[0], axis=1), 1, atol=1e-5)
"""
    command = [sys.executable, "-c", script, str(run / "exported_teacher"), str(tmp_path / "images.npy")]
    process = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr


def test_evaluate_measures_what_the_run_saved(tiny_run):
    run = tiny_run
    status, stdout, stderr = in_process("evaluate", f"--run_dir={run}")
    assert status == 0, stderr
    results = json.loads((run / "results.json").read_text())
    student, teacher = (float(n) for n in re.findall(r"(\d+\.\d+) %", stdout))
    np.testing.assert_allclose([student, teacher], [results[n]["error"] for n in ("student", "teacher")], atol=0.006)


def test_a_finished_run_that_is_given_again_keeps_what_its_results_say_of_its_training(tiny_run, tmp_path):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    results = json.loads((run / "results.json").read_text())
    assert results["seconds_per_step"] > 0
    results |= {"machine": {"processor": "another"}, "versions": {"keras_mt": "0.0"}, "replicas": 2}
    (run / "results.json").write_text(json.dumps(results))
    for there in (results, {name: value for name, value in results.items() if name != "machine"}):
        (run / "results.json").write_text(json.dumps(there))
        again = in_process("train", *TINY, f"--run_dir={run}")
        assert again.returncode == 0, again.stderr
        assert json.loads((run / "results.json").read_text()) == there


# Within an epoch (evaluations at 5 and 10), and where checkpoint and evaluation fall together.
@pytest.mark.parametrize(("checkpoint_steps", "kill_at"), [(4, 8), pytest.param(5, 10, marks=pytest.mark.slow)])
def test_a_killed_run_continues_to_the_same_weights_and_evaluations(tiny_run, tmp_path, checkpoint_steps, kill_at):
    run = tiny_run
    cut = tmp_path / "cut"
    flags = [*TINY, f"--checkpoint_steps={checkpoint_steps}", f"--run_dir={cut}"]
    process = start_program("train", *flags)
    deadline = time.monotonic() + 300
    while not (cut / "checkpoints" / f"step-{kill_at}").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (cut / "results.json").exists()
    continued = in_process("train", *flags)
    assert continued.returncode == 0, continued.stderr
    assert re.search(r"continues at step \d+", continued.stdout)
    same_run(run, cut)


@pytest.mark.parametrize("source", ["mat", pytest.param("tfds", marks=pytest.mark.slow)])
def test_the_svhn_extra_experiment_runs_end_to_end(tmp_path, monkeypatch, source):
    files = tmp_path / "files"
    files.mkdir()
    write_mat_files(files)
    data_dir = files
    if source == "tfds":
        data_dir = tmp_path / "tfds"
        prepare_tfds(files, data_dir, monkeypatch)
    flags = ["--width=0.0625", "--training_steps=2", "--rampup_steps=1", "--rampdown_steps=1", "--evaluation_steps=2"]
    flags += ["--num_labels=20", "--num_extra_unlabeled=40"]  # The files hold 60 + 50 images.
    flags += [f"--cache_dir={tmp_path / 'cache'}"]
    run = tmp_path / "run"
    process = in_process(
        "train", "--flagfile=flags/svhn_500_extra.cfg", *flags, f"--data_dir={data_dir}", f"--run_dir={run}"
    )
    assert process.returncode == 0, process.stderr
    assert "20 labeled of 100 training examples" in process.stdout
    assert "; 10 classes: 0, 1, 2, ..., 9; labeled per batch: 1 of 100\n" in process.stdout
    assert json.loads((run / "results.json").read_text())["step"] == 2


def test_importing_the_package_imports_no_data_set_plot_or_export_library():
    script = """
import sys, keras, tensorflow
before = set(sys.modules)
import keras_mt
heavy = {"tensorflow_datasets", "sklearn", "scipy", "matplotlib", "pandas", "tensorboard", "absl.flags"}
print(sorted(heavy & {name for name in set(sys.modules) - before}))
"""
    process = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert process.stdout.strip() == "[]"
