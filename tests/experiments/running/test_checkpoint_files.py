"""What a run is stands in each checkpoint, and every program that reads one asks it the same."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
from support.programs import TINY

from keras_mt.experiments.running import checkpoint_files


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "picture.png"
    path.write_bytes(tf.io.encode_png(np.zeros((16, 16, 1), "uint8")).numpy())
    return str(path)


def programs(run, picture):
    return {
        "train": [*TINY, f"--run_dir={run}"],
        "evaluate": [f"--run_dir={run}"],
        "predict": [f"--run_dir={run}", picture],
        "export": [f"--run_dir={run}", "--output", str(run.parent / "exported")],
    }


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("name", ["evaluate", "predict", "export", pytest.param("train", marks=pytest.mark.slow)])
def test_a_damaged_newest_checkpoint_is_said_by_all_and_renamed_by_train_alone(run, picture, said, name):
    (run / "checkpoints" / "step-12" / "state.index").write_bytes(b"garbage")
    before = names(run)
    status, errors = said(name, programs(run, picture)[name])
    assert status == 0, errors
    newest, used = (run / "checkpoints" / f"step-{step}" for step in (12, 8))
    (warning,) = [line for line in errors.splitlines() if line.startswith("warning: ")]
    assert warning.startswith(f"warning: checkpoint {newest} is damaged (")
    assert warning.endswith(f"; {used} is used instead")
    assert (run / "checkpoints" / "step-12.damaged").exists() == (name == "train")
    if name != "train":
        assert names(run) == before


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda record: record["flags"].update(seed=7), "is of another experiment: --seed=7 there, --seed=0 here"),
        (lambda record: record.update(format=99), "has format 99; this version reads format"),
        (
            lambda record: record["data"].update(class_names=["cat", "dog"]),
            "the data have 10 classes (0, 1, 2, 3, 4, 5, 6, 7, 8, 9) and checkpoint {} was trained on 2 classes "
            "(cat, dog)",
        ),
    ],
)
def test_a_checkpoint_of_something_else_is_refused_by_all(run, picture, said, change, sentence):
    path = run / "checkpoints" / "step-12"
    record = json.loads((path / "experiment.json").read_text())
    change(record)
    (path / "experiment.json").write_text(json.dumps(record))
    before = names(run)
    for name, arguments in programs(run, picture).items():
        status, errors = said(name, arguments)
        assert status == 1
        assert sentence.format(path) in errors, (name, errors)
        assert "remove" not in errors
    assert names(run) == before


@pytest.mark.parametrize(
    ("key", "what"),
    [
        ("fingerprint", "the training data"),
        ("content", "the training images"),
        ("evaluation", "the images to evaluate on"),
    ],
)
def test_a_run_goes_on_with_its_own_data_only(run, said, key, what):
    path = run / "checkpoints" / "step-12" / "experiment.json"
    record = json.loads(path.read_text())
    assert len(record["data"].pop(key)) >= 8
    record["data"][key] = "1198 examples, 00000000"
    path.write_text(json.dumps(record))
    for name, arguments in (("train", [*TINY, f"--run_dir={run}"]), ("evaluate", [f"--run_dir={run}"])):
        status, errors = said(name, arguments)
        assert status == 1
        assert f"{what} are not those of checkpoint" in errors
        assert "1198 examples, 00000000 there" in errors


def test_a_run_that_was_begun_before_contents_were_recorded_goes_on(run, said):
    for path in (run / "checkpoints").glob("step-*/experiment.json"):
        record = json.loads(path.read_text())
        del record["data"]["content"], record["data"]["evaluation"]
        path.write_text(json.dumps(record))
    assert said("evaluate", [f"--run_dir={run}"]) == (0, "")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda path: path.rename(path.with_name("step-999")), "its folder is named after step 999"),
        (lambda path: shutil.copytree(path.with_name("step-8"), path, dirs_exist_ok=True), "records step 8"),
        (
            lambda path: [shutil.copy(file, path) for file in path.with_name("step-8").glob("state*")],
            "its state is that of step 8",
        ),
    ],
)
def test_the_folder_the_record_and_the_state_name_the_same_step(run, picture, said, damage, reason):
    damage(run / "checkpoints" / "step-12")
    status, errors = said("predict", [f"--run_dir={run}", picture])
    assert status == 0, errors
    assert reason in errors
    assert "step-8 is used instead" in errors


def test_other_names_are_no_checkpoints(run, picture, said):
    for name in ("step-60.bak1", "step-", "step--1", "step-1e3", "step-13.damaged", "step-007", "step-0"):
        shutil.copytree(run / "checkpoints" / "step-8", run / "checkpoints" / name)
    (run / "checkpoints" / "step-٣").mkdir()
    (run / "checkpoints" / "step-13").write_text("a file")
    assert checkpoint_files.steps_in(run / "checkpoints") == [4, 8, 12]
    assert said("predict", [f"--run_dir={run}", picture]) == (0, "")


def test_a_damaged_checkpoint_replaces_no_other(tmp_path):
    for content in ("first", "second", "third"):
        path = tmp_path / "step-3"
        path.mkdir()
        (path / "state").write_text(content)
        checkpoint_files.put_aside(path)
    found = {path.name: (path / "state").read_text() for path in tmp_path.iterdir()}
    assert found == {"step-3.damaged": "first", "step-3.damaged-2": "second", "step-3.damaged-3": "third"}
