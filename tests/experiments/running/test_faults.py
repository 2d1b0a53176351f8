"""A run loses nothing: disks that fill, files that rot, signals, clocks, and two processes at once."""

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import time

import numpy as np
import pytest
from support.programs import ROOT, TINY, final_weights, finished_run, in_process, run_program, same_run, start_program

from keras_mt.experiments.errors import RunError
from keras_mt.experiments.running.curves import draw_curves
from keras_mt.experiments.running.evaluation_log import EvaluationLog


def assert_ended_as(undisturbed, run):
    same_run(undisturbed, run)
    first, second = (json.loads((folder / "results.json").read_text()) for folder in (undisturbed, run))
    assert {**first, "seconds_per_step": 0} == {**second, "seconds_per_step": 0}


def failed(process, status=1):
    assert process.returncode == status, process.stderr
    assert "Traceback" not in process.stderr
    (sentence,) = [line for line in process.stderr.splitlines() if line.startswith("error: ")]
    return sentence


# Disks -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path):
    """A function that gives a file system of so many kilobytes, or changes its size."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(size):
        option = "remount,size" if os.path.ismount(folder) else "size"
        command = ["mount", "-t", "tmpfs", "-o", f"{option}={size}k", "tmpfs", str(folder)]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("needs the right to mount a small file system")
        return folder

    yield mount
    if os.path.ismount(folder):
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "culprit"),
    [
        (
            450,
            r"checkpoint .*step-8 can't be written \(No space left on device\).*step 4 is kept; "
            ".*the same command continues",
        ),
        (1000, r"exported_teacher.* can't be written \(No space left on device\)"),
    ],
)
def test_a_full_disk_is_named_and_the_run_continues_when_there_is_room(tiny_run, small_disk, size, culprit):
    run = small_disk(size) / "run"
    sentence = failed(run_program("train", *TINY, f"--run_dir={run}"))
    assert re.search(culprit, sentence)
    assert not list(run.rglob("*unfinished*"))
    small_disk(10_000)
    again = run_program("train", *TINY, f"--run_dir={run}")
    assert again.returncode == 0, again.stderr
    assert_ended_as(tiny_run, run)


def test_a_quota_that_a_checkpoint_exceeds_is_reported(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        sentence = failed(in_process("train", *TINY, f"--run_dir={tmp_path / 'run'}"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "step-4 can't be written (File too large)" in sentence
    assert "no checkpoint had been saved yet" in sentence


def test_a_run_directory_that_cannot_be_written_is_named(tiny_run, tmp_path, small_disk):
    run = small_disk(10_000) / "run"
    shutil.copytree(tiny_run, run)
    (run / "lock").unlink()
    subprocess.run(["mount", "-o", "remount,ro", str(run.parent)], check=True)
    sentence = failed(in_process("train", *TINY, f"--run_dir={run}"))
    assert f"--run_dir={run} can't be written (Read-only file system)" in sentence
    sentence = failed(in_process("train", *TINY, f"--run_dir={run.parent / 'new'}"))
    assert "can't be created (Read-only file system)" in sentence


def test_events_that_cannot_be_written_are_named(tmp_path, small_disk):
    folder = small_disk(40)
    (folder / "full").write_bytes(bytes(40 * 1024))
    (tmp_path / "evaluations.csv").write_text("step,student_error,teacher_error\n5,50.0,40.0\n")
    with pytest.raises(RunError, match=r"events can't be written \(No space left on device\); when there is room"):
        EvaluationLog(tmp_path / "evaluations.csv", folder / "events", 5, 12, lambda step: 0.1, {})


def test_curves_on_a_full_disk_leave_those_that_were_there(small_disk):
    path = small_disk(40) / "curves.png"
    path.write_bytes(bytes(40 * 1024))
    rows = [{"step": 5} | {f"{n}_{q}": 50.0 for n in ("student", "teacher") for q in ("error", "classification_cost")}]
    with pytest.raises(RunError, match=r"curves.png can't be written \(No space left on device\)"):
        draw_curves(rows, path, "title")
    assert {path.name: path.stat().st_size for path in path.parent.iterdir()} == {"curves.png": 40 * 1024}


# Files that rot --------------------------------------------------------------------------------------------------


FILES, DAMAGES = ("state.index", "state.data-00000-of-00001", "experiment.json"), ("truncated", "garbled", "missing")
# Each file and each damage once; all together take two minutes.
ONCE = next(zip(FILES, DAMAGES, strict=True))


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        pytest.param(file, damage, marks=() if (file, damage) == ONCE else pytest.mark.slow)
        for file in FILES
        for damage in DAMAGES
    ],
)
def test_a_damaged_newest_checkpoint_gives_way_to_the_one_before(tiny_run, tmp_path, file, damage):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    path = run / "checkpoints" / "step-12" / file
    content = bytearray(path.read_bytes())
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    else:
        middle = slice(len(content) // 2, len(content) // 2 + 40)
        content[middle] = bytes(255 - byte for byte in content[middle])
        path.write_bytes(content)
    process = in_process("train", *TINY, f"--run_dir={run}")
    assert process.returncode == 0, process.stderr
    (warning,) = [line for line in process.stderr.splitlines() if line.startswith("warning: ")]
    assert re.search(r"step-12 is damaged .*step-8 is used instead", warning)
    assert (run / "checkpoints" / "step-12.damaged").exists()
    assert "continues at step 8" in process.stdout
    assert_ended_as(tiny_run, run)


@pytest.mark.slow
def test_what_a_crash_left_half_written_is_written_anew(tiny_run, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = shutil.copytree(tiny_run, tmp_path / "run")
    shutil.rmtree(run / "checkpoints" / "step-12")
    for path in run.glob("events/*/events.out.*"):
        path.write_bytes(path.read_bytes()[:-30])
    (run / "checkpoints" / "unfinished").mkdir()
    (run / "checkpoints" / "unfinished" / "state.index").write_bytes(b"half")
    (run / "evaluations.csv.unfinished").write_text("step,stu")
    process = run_program("train", *TINY, f"--run_dir={run}")
    assert process.returncode == 0, process.stderr
    assert_ended_as(tiny_run, run)
    for network in ("student", "teacher", "training"):
        events = EventAccumulator(str(run / "events" / network)).Reload()
        for tag in events.Tags()["tensors"]:
            assert [event.step for event in events.Tensors(tag)] == [5, 10, 12]


# The loss --------------------------------------------------------------------------------------------------------


# With a checkpoint in each step the weights are found first, with none before the evaluation the loss.
@pytest.mark.parametrize(
    ("interval", "finding"), [(4, "the loss became"), pytest.param(1, "weights are not finite", marks=pytest.mark.slow)]
)
def test_a_run_that_became_worthless_ends_and_keeps_the_last_good_checkpoint(tmp_path, interval, finding):
    # Learning rates of up to 100 let logits grow until the square of their distance is no float32 any more.
    flags = ["--max_learning_rate=100", "--num_heads=2", "--logit_distance_weight=1e9"]
    flags += [f"--checkpoint_steps={interval}"]
    run = tmp_path / "run"
    sentence = failed(in_process("train", *TINY, *flags, f"--run_dir={run}"))
    found = re.search(
        r"(?:the loss became (?:nan|inf) in|weights are not finite after) step (\d+) "
        r"\(learning rate (\S+), consistency weight (\S+)\)",
        sentence,
    )
    assert finding in sentence
    assert 0 < float(found[2]) <= 100
    assert 0 < float(found[3]) <= 5
    assert "the checkpoint of step 4 is kept" in sentence
    assert all(np.isfinite(weight).all() for weight in final_weights(run).values())


# Signals and processes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 143), pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow)]
)
def test_a_signal_ends_the_run_after_its_step_and_the_same_command_continues(tiny_run, tmp_path, number, status):
    run = tmp_path / "run"
    process = start_program("train", *TINY, f"--run_dir={run}")
    for line in process.stdout:
        if line.startswith("compiling the first step took"):
            process.send_signal(number)
    errors = process.stderr.read()
    assert process.wait() == status, errors
    (sentence,) = [line for line in errors.splitlines() if line.startswith(number.name)]
    step = int(re.search(r"step (\d+) is finished and saved; the same command continues", sentence)[1])
    assert (run / "checkpoints" / f"step-{step}").exists()
    assert "Traceback" not in errors
    again = in_process("train", *TINY, f"--run_dir={run}")
    assert f"continues at step {step}" in again.stdout
    assert_ended_as(tiny_run, run)


LONG = (*TINY, "--training_steps=300", "--evaluation_steps=100", "--checkpoint_steps=1000")


@pytest.fixture(scope="module")
def undisturbed_long(once):
    return once("long", lambda folder: finished_run(folder, *LONG))


@pytest.mark.slow
def test_a_second_process_on_the_same_run_directory_is_refused(undisturbed_long, tmp_path):
    run = tmp_path / "run"
    process = start_program("train", *LONG, f"--run_dir={run}")
    while not (run / "flags.cfg").exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGSTOP)  # It would be done before the second has begun.
    sentence = failed(run_program("train", *LONG, f"--run_dir={run}"))
    assert f"--run_dir={run} is in use" in sentence
    process.send_signal(signal.SIGCONT)
    process.communicate()
    assert process.returncode == 0
    assert_ended_as(undisturbed_long, run)


@pytest.mark.slow
def test_a_clock_that_jumps_changes_nothing(tiny_run, tmp_path):
    # Each question for the time of day is answered a day earlier or a year later than the one before.
    (tmp_path / "sitecustomize.py").write_text(
        "import itertools, time\n"
        "real, jumps = time.time, itertools.cycle([-86400, 31536000, 0])\n"
        "time.time = lambda: real() + next(jumps)\n"
    )
    run = tmp_path / "run"
    path = f"{tmp_path}{os.pathsep}{ROOT}"
    for last_step in (8, 12):
        if last_step == 8:  # As if it had been cut off there.
            shutil.copytree(tiny_run, run)
            shutil.rmtree(run / "checkpoints" / "step-12")
        process = run_program("train", *TINY, f"--run_dir={run}", PYTHONPATH=path)
        assert process.returncode == 0, process.stderr
        assert not re.search(r"-\d+:\d\d:\d\d", process.stdout)
    assert_ended_as(tiny_run, run)
