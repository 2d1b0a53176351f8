"""A run on a folder of pictures goes on with the folder that it began with, and with no other."""

import json
import shutil

import pytest
from support.image_files import CLASSES, write_folder
from support.programs import in_process

FLAGS = (
    "--dataset=folder", "--image_size=16", "--width=0.0625", "--batch_size=4", "--labeled_per_batch=2",
    "--training_steps=2", "--rampup_steps=1", "--evaluation_steps=2", "--checkpoint_steps=1",
    "--max_consistency_weight=5",
)  # fmt: skip


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A folder of pictures of two classes, a list of labels, and a finished run on them."""
    folder = tmp_path_factory.mktemp("folder")
    write_folder(folder / "data")
    for split in ("train", "test"):
        shutil.move(folder / "data" / split / CLASSES[2], folder / f"{split} of the third")
    (folder / "labels.txt").write_text("\n".join(f"{name}/{name}_{n}.JPEG" for name in CLASSES[:2] for n in (0, 2)))
    status, _, errors = train(folder)
    assert status == 0, errors
    return folder


def train(folder):
    paths = (f"--{flag}={folder / name}" for flag, name in (("data_dir", "data"), ("labels_file", "labels.txt")))
    return in_process("train", *FLAGS, *paths, f"--run_dir={folder / 'run'}")


def more_labels(folder):
    with open(folder / "labels.txt", "a") as file:
        file.write(f"\n{CLASSES[0]}/{CLASSES[0]}_4.JPEG")


def a_class_more(folder):
    for split in ("train", "test"):
        shutil.move(folder / f"{split} of the third", folder / "data" / split / CLASSES[2])


def a_picture_more(folder):
    first = folder / "data" / "train" / CLASSES[0] / f"{CLASSES[0]}_0.JPEG"
    shutil.copy(first, first.with_name("more.JPEG"))


def another_picture(folder):
    first, second = (folder / "data" / "train" / CLASSES[n] / f"{CLASSES[n]}_0.JPEG" for n in (0, 1))
    shutil.copy(first, second)


def exchanged_test_classes(folder):
    first, second = (folder / "data" / "test" / name for name in CLASSES[:2])
    first.rename(first.with_name("other"))
    second.rename(first)
    first.with_name("other").rename(second)


def fewer_test_pictures(folder):
    (folder / "data" / "test" / CLASSES[0] / f"{CLASSES[0]}_0.JPEG").unlink()


def other_content(split, name):
    def change(folder):
        path = folder / "data" / split / CLASSES[0] / f"{CLASSES[0]}_{name}"
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 0xFF
        path.write_bytes(content)

    return change


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (more_labels, "the training data are not those of checkpoint"),
        (a_picture_more, "the training data are not those of checkpoint"),
        (another_picture, "the training data are not those of checkpoint"),
        (exchanged_test_classes, "the images to evaluate on are not those of checkpoint"),
        (fewer_test_pictures, "the images to evaluate on are not those of checkpoint"),
        (other_content("train", "1.png"), "the training images are not those of checkpoint"),
        (other_content("test", "1.png"), "the images to evaluate on are not those of checkpoint"),
        (a_class_more, f"the data have 3 classes ({', '.join(CLASSES)}) and checkpoint"),
    ],
)
def test_data_that_are_not_the_runs_are_refused_and_nothing_is_lost(begun, tmp_path, change, sentence):
    # The paths stay what they are: they are part of what the run is.
    copy = shutil.copytree(begun, tmp_path / "kept")
    try:
        before = sorted(str(path) for path in (begun / "run").rglob("*"))
        change(begun)
        status, _, errors = train(begun)
        assert status == 1
        assert sentence in errors
        assert "remove" not in errors
        assert "can be read" not in errors
        assert sorted(str(path) for path in (begun / "run").rglob("*")) == before
    finally:
        shutil.rmtree(begun)
        shutil.copytree(copy, begun)


def test_a_run_that_begins_anew_describes_the_data_at_hand(begun, tmp_path):
    """As after a kill between the description and the first checkpoint, with other data since."""
    shutil.copytree(begun, tmp_path / "kept")
    try:
        shutil.rmtree(begun / "run" / "checkpoints")
        for name in ("results.json", "evaluations.csv"):
            (begun / "run" / name).unlink()
        a_picture_more(begun)
        status, _, errors = train(begun)
        assert status == 0, errors
        data = json.loads((begun / "run" / "networks.json").read_text())["data"]
        assert data["training examples"] == 2 * 8 + 6 + 1
    finally:
        shutil.rmtree(begun)
        shutil.copytree(tmp_path / "kept", begun)


def test_a_run_in_the_folder_of_its_pictures_is_refused(begun):
    status, _, errors = in_process(
        "train", *FLAGS, f"--data_dir={begun / 'data'}", f"--run_dir={begun / 'data' / 'unlabeled' / 'run'}"
    )
    assert status == 2
    assert f"is in --data_dir={begun / 'data'}, where its pictures would become data" in errors
    assert not (begun / "data" / "unlabeled" / "run").exists()


def test_errors_among_five_of_two_classes_are_refused(begun, tmp_path):
    flags = (f"--data_dir={begun / 'data'}", f"--run_dir={tmp_path / 'run'}", "--top5_error")
    status, _, errors = in_process("train", *FLAGS, *flags)
    assert status == 2
    assert "--top5_error needs at least 6 classes, not the 2 of the data" in errors


@pytest.mark.parametrize(
    ("program", "flags", "sentence"),
    [
        ("evaluate", ["--strategy=mirrored"], "--strategy=mirrored is of training"),
        ("export", ["--format=onnx", "--model_version=7"], "--model_version=7 needs --format=saved_model"),
        ("predict", ["--pictures=5", "x.png"], "--pictures is of a contact sheet; give --contact_sheet"),
    ],
)
def test_flags_that_would_do_nothing_are_refused(begun, monkeypatch, tmp_path, program, flags, sentence):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.png").write_bytes(b"")
    status, _, errors = in_process(program, f"--run_dir={begun / 'run'}", *flags)
    assert status == 2
    assert sentence in errors


def test_a_run_is_evaluated_with_its_list_of_labels_elsewhere_and_not_with_another(begun, tmp_path):
    moved, other = tmp_path / "labels.txt", tmp_path / "other" / "labels.txt"
    other.parent.mkdir()
    shutil.copy(begun / "labels.txt", moved)
    other.write_text("\n".join(f"{name}/{name}_{n}.JPEG" for name in CLASSES[:2] for n in (0, 4)))
    status, output, errors = in_process("evaluate", f"--run_dir={begun / 'run'}", f"--labels_file={moved}")
    assert status == 0, errors
    assert "step 2, 8 images (test phase)" in output
    status, _, errors = in_process("evaluate", f"--run_dir={begun / 'run'}", f"--labels_file={other}")
    assert status == 1
    assert "the training data are not those of checkpoint" in errors


def test_with_its_own_data_the_run_is_done(begun):
    status, output, errors = train(begun)
    assert status == 0, errors
    assert "continues at step 2, 2 steps in all" in output
