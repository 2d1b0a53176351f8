"""Bad input gets one sentence that names the culprit, no traceback, and changes nothing."""

import pytest
from programs import TINY, run_program
from svhn_files import write_mat_files

CASES = [
    (["--batch_size=0"], "batch_size"),
    (["--num_labels=none"], "--num_labels=none"),
    (["--num_labels=55"], "--num_labels=55"),
    (["--labeled_per_batch=some"], "--labeled_per_batch=some"),
    (["--labeled_per_batch=21"], "--labeled_per_batch=21"),
    (["--labeled_per_batch=all"], "--labeled_per_batch=all"),
    (["--logit_distance_weight=0.1"], "--logit_distance_weight=0.1"),
    (["--method=magic"], "method"),
    (["--student_dropout=1.0"], "student_dropout"),
    (["--dataset=no_such_set"], "--dataset=no_such_set"),
    (["--no_such_flag=1"], "no_such_flag"),
    (["--flagfile=no_such_file.cfg"], "no_such_file.cfg"),
    (["stray"], "stray"),
]


@pytest.mark.parametrize(
    ("flags", "culprit"), CASES, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_a_usage_error_exits_2_with_one_sentence(tmp_path, flags, culprit):
    process = run_program("train", *TINY, f"--run_dir={tmp_path / 'run'}", *flags)
    assert process.returncode == 2, process.stderr
    (sentence,) = [line for line in process.stderr.splitlines() if line.startswith("error: ")]
    assert culprit in sentence
    assert "Traceback" not in process.stderr
    assert not (tmp_path / "run").exists()  # Or the corrected command would be another experiment.


def test_a_missing_run_dir_is_named(tmp_path):
    process = run_program("train", *TINY)
    assert process.returncode == 2
    assert "--run_dir is missing" in process.stderr


def test_another_experiments_run_directory_is_refused_and_left_alone(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "flags.cfg").write_text("--method=pi\n--seed=0\n")
    process = run_program("train", *TINY, f"--run_dir={run}")
    assert process.returncode == 2
    assert "holds another experiment" in process.stderr
    assert [path.name for path in run.iterdir()] == ["flags.cfg"]


def test_a_folder_that_is_no_runs_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    process = run_program("train", *TINY, f"--run_dir={tmp_path}")
    assert process.returncode == 2
    assert "not empty" in process.stderr
    assert (tmp_path / "thesis.tex").read_text() == "precious"


def test_evaluating_a_folder_without_a_run_is_refused(tmp_path):
    process = run_program("evaluate", f"--run_dir={tmp_path}")
    assert process.returncode == 2
    assert "no run" in process.stderr
    assert "Traceback" not in process.stderr


@pytest.mark.parametrize("damage", ["missing", "truncated"])
def test_missing_or_damaged_data_exit_1_and_leave_no_traceback(tmp_path, damage):
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    write_mat_files(data_dir)
    path = data_dir / "test_32x32.mat"
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:3000])
    flags = ["--dataset=svhn_cropped", "--num_labels=20", f"--data_dir={data_dir}", f"--run_dir={tmp_path / 'run'}"]
    flags += [f"--cache_dir={tmp_path / 'cache'}"]
    process = run_program("train", *TINY, *flags)
    assert process.returncode == 1, process.stderr
    assert "test_32x32.mat" in process.stderr
    assert "Traceback" not in process.stderr


@pytest.mark.slow  # TFDS tries for three minutes.
def test_a_data_set_that_cannot_be_downloaded_is_named(tmp_path):
    # A proxy that refuses at once stands for a machine without internet.
    process = run_program(
        "train", *TINY, "--dataset=cifar10", f"--data_dir={tmp_path / 'none'}", f"--run_dir={tmp_path / 'run'}",
        https_proxy="http://127.0.0.1:9", http_proxy="http://127.0.0.1:9",
    )  # fmt: skip
    assert process.returncode == 1, process.stderr
    assert "--dataset=cifar10 is not prepared in --data_dir" in process.stderr
    assert "Traceback" not in process.stderr


def test_help_names_every_flag_and_exits_0():
    process = run_program("train", "--help")
    assert process.returncode == 0
    for flag in ("--max_consistency_weight", "--labeled_per_batch", "--run_dir", "--flagfile"):
        assert flag in process.stdout
