"""Bad input gets one sentence that names the culprit, the right exit status, no traceback, and changes nothing."""

import hashlib
import json
import shutil

import numpy as np
import pytest
from scipy.io import savemat
from support.programs import TINY, in_process, run_program, same_run
from support.svhn_files import SIZES, prepare_tfds, write_mat_files
from support.wrong_flags import CASES

from keras_mt.experiments import checks, cli
from keras_mt.experiments.config import Config
from keras_mt.experiments.datasets.in_memory import load_in_memory
from keras_mt.experiments.errors import DataError


def contents(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in folder.rglob("*")
        if path.name != "lock"
    }


@pytest.fixture
def fails(capfd, tmp_path):
    """Runs a program in this process as its main block does; returns the sentence after checking all that is common."""

    def run(*flags, status, name="train", changes=()):
        before = contents(tmp_path)
        capfd.readouterr()
        with pytest.raises(SystemExit) as ending:
            cli.main(name, flags)
        printed = capfd.readouterr().err
        assert ending.value.code == status, printed
        assert "Traceback" not in printed
        (sentence,) = [line for line in printed.splitlines() if line.startswith("error: ")]
        after = contents(tmp_path)
        assert {path: after.get(path) for path in before if not path.startswith(tuple(changes) or "\0")} == {
            path: digest for path, digest in before.items() if not path.startswith(tuple(changes) or "\0")
        }
        return sentence

    return run


@pytest.mark.parametrize(("flags", "culprit"), CASES, ids=[" ".join(flags) for flags, _ in CASES])
def test_a_wrong_flag_is_named_and_leaves_no_run_directory(fails, tmp_path, flags, culprit):
    sentence = fails(*TINY, f"--run_dir={tmp_path / 'run'}", *flags, status=2)
    assert culprit in sentence
    assert not (tmp_path / "run").exists()  # Or the corrected command would be another experiment.


def test_there_are_more_than_100_cases():
    assert len(CASES) > 100


@pytest.mark.parametrize("program", ["train", "evaluate"])
def test_a_missing_run_dir_is_named(fails, program):
    assert "--run_dir is missing" in fails(*TINY, status=2, name=program)


@pytest.mark.parametrize("name", ["a.cfg", "b.cfg"])
def test_a_flagfile_that_includes_itself_is_named(fails, tmp_path, name):
    (tmp_path / "a.cfg").write_text(f"--seed=1\n--flagfile={tmp_path / 'a.cfg'}\n")
    (tmp_path / "b.cfg").write_text(f"--flagfile={tmp_path / 'c.cfg'}\n")
    (tmp_path / "c.cfg").write_text(f"--flagfile={tmp_path / 'b.cfg'}\n")
    sentence = fails(f"--flagfile={tmp_path / name}", f"--run_dir={tmp_path / 'run'}", status=2)
    assert f"{name} includes itself" in sentence


def test_a_flagfile_with_a_wrong_line_is_named(fails, tmp_path):
    (tmp_path / "a.cfg").write_text("--width=wide\n")
    assert "--width=wide" in fails(f"--flagfile={tmp_path / 'a.cfg'}", status=2)


def test_the_published_runs_with_all_labels_are_no_bad_input():
    checks.check(Config(num_labels="all", batch_size=20, labeled_per_batch="20"))


@pytest.mark.slow
def test_a_flagfile_made_short_on_the_command_line_only_warns(tmp_path):
    (tmp_path / "a.cfg").write_text("\n".join([*TINY, "--rampup_steps=500", "--training_steps=1000"]))
    process = run_program("train", f"--flagfile={tmp_path / 'a.cfg'}", "--training_steps=1", f"--run_dir={tmp_path}/r")
    assert process.returncode == 0, process.stderr
    assert "warning: --rampup_steps=500 is above --training_steps=1" in process.stderr
    again = in_process("train", f"--flagfile={tmp_path}/r/flags.cfg", f"--run_dir={tmp_path}/again")
    assert again[0] == 0, again
    same_run(tmp_path / "r", tmp_path / "again")


# Folders ---------------------------------------------------------------------------------------------------------


def test_another_experiments_run_directory_is_refused(fails, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "flags.cfg").write_text("\n".join([*TINY, "--method=pi"]))
    assert "holds another experiment: --method=pi there" in fails(*TINY, f"--run_dir={run}", status=2)


def test_a_run_directory_whose_flagfile_is_garbled_is_refused(fails, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "flags.cfg").write_text("--no_such_flag=1\n")
    assert "flags.cfg is no flagfile of this version" in fails(*TINY, f"--run_dir={run}", status=2)


def test_a_folder_that_is_no_runs_is_refused(fails, tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    assert "is not empty" in fails(*TINY, f"--run_dir={tmp_path}", status=2)


def test_a_run_dir_that_is_a_file_is_refused(fails, tmp_path):
    (tmp_path / "file").write_text("precious")
    assert "file is a file" in fails(*TINY, f"--run_dir={tmp_path / 'file'}", status=2)


def test_a_run_dir_that_cannot_be_created_is_named(fails, tmp_path):
    (tmp_path / "file").write_text("precious")
    assert "can't be created (Not a directory)" in fails(*TINY, f"--run_dir={tmp_path / 'file' / 'run'}", status=1)


def test_evaluating_a_folder_without_a_run_is_refused(fails, tmp_path):
    assert "holds no run" in fails(f"--run_dir={tmp_path}", status=2, name="evaluate")


@pytest.fixture
def run_of_its_own(tiny_run, tmp_path):
    return shutil.copytree(tiny_run, tmp_path / "run")


def test_evaluating_a_run_without_a_checkpoint_is_refused(fails, run_of_its_own):
    shutil.rmtree(run_of_its_own / "checkpoints")
    assert "holds no checkpoint yet" in fails(f"--run_dir={run_of_its_own}", status=1, name="evaluate")


def test_a_damaged_evaluations_csv_is_named(fails, run_of_its_own):
    (run_of_its_own / "evaluations.csv").write_text("step,student_error\n5,bad\n")
    assert "evaluations.csv is damaged" in fails(*TINY, f"--run_dir={run_of_its_own}", status=1)


def test_a_finished_run_without_its_last_evaluation_is_named(fails, run_of_its_own):
    (run_of_its_own / "evaluations.csv").unlink()
    sentence = fails(*TINY, f"--run_dir={run_of_its_own}", status=1, changes=("run/",))
    assert "evaluations.csv lacks the evaluation of step 12" in sentence


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [("flags", {"seed": 7}, "another experiment: --seed=7 there, --seed=0 here"), ("format", 99, "has format 99")],
)
def test_a_checkpoint_of_another_experiment_or_version_is_refused(fails, run_of_its_own, key, value, message):
    path = run_of_its_own / "checkpoints" / "step-12" / "experiment.json"
    record = json.loads(path.read_text())
    value = record["flags"] | value if key == "flags" else value
    path.write_text(json.dumps({**record, key: value}))
    assert message in fails(*TINY, f"--run_dir={run_of_its_own}", status=1)


def test_checkpoints_that_are_all_damaged_are_named(fails, run_of_its_own):
    for path in (run_of_its_own / "checkpoints").glob("step-*/state.index"):
        path.write_bytes(b"garbage")
    sentence = fails(*TINY, f"--run_dir={run_of_its_own}", status=1)
    assert "none of the checkpoints" in sentence
    assert "step-12" in sentence


# Data ------------------------------------------------------------------------------------------------------------


def _mat(**content):
    images = np.zeros((32, 32, 3, 30), "uint8")
    labels = (np.arange(30) % 10 + 1).astype("uint8")[:, None]
    return lambda path: savemat(path, {"X": images, "y": labels} | content)


MAT_DAMAGES = {
    "missing": (lambda path: path.unlink(), 1, "train_32x32.mat is missing"),
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:3000]), 1, "train_32x32.mat can't be read"),
    "garbled": (lambda path: path.write_bytes(b"\xff" * 5000), 1, "train_32x32.mat can't be read"),
    "empty": (lambda path: path.write_bytes(b""), 1, "train_32x32.mat can't be read"),
    "no labels": (lambda path: savemat(path, {"X": np.zeros((32, 32, 3, 5), "uint8")}), 1, "can't be read"),
    "no images": (_mat(X=np.zeros((32, 32, 3, 0), "uint8"), y=np.zeros((0, 1), "uint8")), 1, "holds"),
    "wrong size": (_mat(X=np.zeros((28, 28, 3, 30), "uint8")), 1, "holds X of uint8 (28, 28, 3, 30)"),
    "gray": (_mat(X=np.zeros((32, 32, 1, 30), "uint8")), 1, "holds X of uint8 (32, 32, 1, 30)"),
    "float images": (_mat(X=np.zeros((32, 32, 3, 30))), 1, "holds X of float64"),
    "NaN pixels": (_mat(X=np.full((32, 32, 3, 30), np.nan)), 1, "holds X of float64"),
    "too few labels": (_mat(y=np.ones((29, 1), "uint8")), 1, "y of (29,)"),
    "label 0": (_mat(y=np.zeros((30, 1), "uint8")), 1, "labels from 0 to 0"),
    "label 11": (_mat(y=np.full((30, 1), 11, "uint8")), 1, "labels from 11 to 11"),
    "float labels": (_mat(y=np.full((30, 1), 1.5)), 1, "labels from 1.5 to 1.5"),
    "labels that are text": (_mat(y=np.array(["one"] * 30)[:, None]), 1, "holds labels of <U3"),
    "a class without examples": (_mat(y=np.full((30, 1), 3, "uint8")), 2, "--num_labels=20"),
}


@pytest.mark.parametrize("damage", MAT_DAMAGES)
def test_a_mat_file_that_is_not_as_it_should_be_is_named(fails, tmp_path, damage):
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    write_mat_files(data_dir)
    change, status, message = MAT_DAMAGES[damage]
    split = "train"
    if damage == "missing":  # Without train it is no folder of .mat files at all.
        split, message = "test", "test_32x32.mat is missing"
    change(data_dir / f"{split}_32x32.mat")
    flags = ["--dataset=svhn_cropped", "--num_labels=20", f"--data_dir={data_dir}", f"--run_dir={tmp_path / 'run'}"]
    sentence = fails(*TINY, *flags, f"--cache_dir={tmp_path / 'cache'}", status=status)
    assert message in sentence
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_mat_files(folder)
    with pytest.MonkeyPatch.context() as monkeypatch:
        prepare_tfds(folder, folder / "tfds", monkeypatch)
    return folder / "tfds"


@pytest.mark.parametrize(
    ("damage", "message"),
    [("missing", "'train' is incomplete"), ("truncated", "can't be read"), ("garbled", "can't be read")],
)
def test_a_damaged_tfds_file_is_named(fails, prepared, tmp_path, damage, message):
    data_dir = shutil.copytree(prepared, tmp_path / "data")
    (path,) = data_dir.rglob("*train.tfrecord*")
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    else:
        path.write_bytes(content[:5000] + b"\xff" * 50 + content[5050:])
    flags = ["--dataset=svhn_cropped", "--num_labels=20", f"--data_dir={data_dir}", f"--run_dir={tmp_path / 'run'}"]
    sentence = fails(*TINY, *flags, f"--cache_dir={tmp_path / 'cache'}", status=1)
    assert message in sentence
    assert "svhn_cropped" in sentence


def test_another_version_in_a_tfds_folder_is_named_and_can_be_asked_for(fails, prepared, tmp_path, monkeypatch):
    data_dir = shutil.copytree(prepared, tmp_path / "data")
    (there,) = (path for path in (data_dir / "svhn_cropped").iterdir() if path.name[0].isdigit())
    there.rename(there.with_name("1.2.3"))

    def started(*_, **__):
        raise AssertionError("a download was started")

    monkeypatch.setattr("tensorflow_datasets.core.DatasetBuilder.download_and_prepare", started)
    run, cache = f"--run_dir={tmp_path / 'run'}", f"--cache_dir={tmp_path / 'cache'}"
    for dataset, reason in (
        ("svhn_cropped", "this version of TensorFlow Datasets reads"),
        (f"svhn_cropped:{there.name}", "is asked for"),
    ):
        sentence = fails(
            *TINY, f"--dataset={dataset}", "--num_labels=20", f"--data_dir={data_dir}", run, cache, status=1
        )
        assert f"--data_dir={data_dir} holds svhn_cropped as 1.2.3, not as {there.name}, which {reason}" in sentence
        assert "give --dataset=svhn_cropped:1.2.3 to read what is there" in sentence
    sentence = fails(*TINY, "--dataset=svhn_cropped:9.9.9", f"--data_dir={data_dir}", run, cache, status=2)
    assert "--dataset=svhn_cropped:9.9.9 is of no version that there is" in sentence
    assert there.name in sentence
    monkeypatch.undo()
    data = load_in_memory("svhn_cropped:1.2.3", str(data_dir), cache_dir=str(tmp_path / "cache"), num_labels=20)
    assert data.num_examples == SIZES["train"]


def test_a_user_without_the_folder_gets_the_download(tmp_path, monkeypatch):
    asked = []

    def started(builder, *_, **__):
        asked.append(builder.name)
        raise ConnectionError("no route to host")

    monkeypatch.setattr("tensorflow_datasets.core.DatasetBuilder.download_and_prepare", started)
    for data_dir in (None, str(tmp_path / "new"), str(tmp_path)):
        monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "default"))
        with pytest.raises(DataError, match="can't be downloaded"):
            load_in_memory("svhn_cropped", data_dir, num_labels=20)
    assert asked == ["svhn_cropped"] * 3


def test_more_extra_images_than_there_are_is_named(fails, prepared, tmp_path):
    flags = ["--dataset=svhn_cropped", "--num_labels=20", f"--data_dir={prepared}", "--num_extra_unlabeled=51"]
    sentence = fails(*TINY, *flags, f"--cache_dir={tmp_path / 'cache'}", f"--run_dir={tmp_path / 'run'}", status=2)
    assert "--num_extra_unlabeled=51 is more than the 50 images" in sentence


def test_a_cache_dir_that_cannot_be_written_is_named(fails, prepared, tmp_path):
    (tmp_path / "file").write_text("")
    flags = ["--dataset=svhn_cropped", "--num_labels=20", f"--data_dir={prepared}", f"--cache_dir={tmp_path / 'file'}"]
    assert "--cache_dir=" in fails(*TINY, *flags, f"--run_dir={tmp_path / 'run'}", status=1)


def test_a_flagfile_that_is_a_link_to_itself_is_named(fails, tmp_path):
    (tmp_path / "a.cfg").symlink_to("a.cfg")
    assert "a.cfg can't be read (Too many levels" in fails(f"--flagfile={tmp_path / 'a.cfg'}", status=2)


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


# In a process of its own, as a user sees it ------------------------------------------------------------------------


def test_a_usage_error_in_a_process_of_its_own(tmp_path):
    process = run_program("train", *TINY, f"--run_dir={tmp_path / 'run'}", "--labeled_per_batch=21")
    assert process.returncode == 2
    assert "error: --labeled_per_batch=21 is above --batch_size=20" in process.stderr
    assert "Traceback" not in process.stderr


def test_help_names_every_flag_and_exits_0():
    process = run_program("train", "--help")
    assert process.returncode == 0
    for flag in ("--max_consistency_weight", "--labeled_per_batch", "--run_dir", "--flagfile"):
        assert flag in process.stdout
