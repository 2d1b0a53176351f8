import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from support.image_files import CLASSES, load_folder, picture, write_folder, write_imagenet_archives
from support.programs import in_process, run_program, same_run

from keras_mt.data import Sampling
from keras_mt.errors import ArgumentError
from keras_mt.experiments.datasets import byte_ranges
from keras_mt.experiments.datasets.image_views import plain_view, random_view
from keras_mt.experiments.datasets.streamed import is_streamed, load_streamed
from keras_mt.experiments.errors import DataError

SAMPLING = Sampling(batch_size=6, labeled_per_batch=2, seed=1)
# A sixteenth of the width and two stages instead of four: no result to report.
SMALL = (
    "--num_labels=6", "--architecture=resnext152", "--blocks=1,1", "--width=0.0625", "--image_size=32", "--num_heads=2",
    "--batch_size=6", "--labeled_per_batch=2", "--unlabeled_stream=unlabeled", "--optimizer=sgd", "--input_noise=0",
    "--learning_rate_schedule=cosine", "--cosine_epochs=75", "--learning_rate_rampup_epochs=1", "--weight_decay=5e-5",
    "--initial_learning_rate=0.01", "--max_learning_rate=0.05", "--consistency=kl", "--max_consistency_weight=10",
    "--rampup_epochs=1", "--training_epochs=2", "--logit_distance_weight=0.01", "--logit_distance_over=mean",
    "--ema_warmup", "--augmentation=imagenet", "--evaluation_steps=3", "--translate=0",
)  # fmt: skip


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory):
    """ImageNet's own builder on small archives of the true format."""
    import tensorflow_datasets as tfds

    data_dir = tmp_path_factory.mktemp("tfds")
    write_imagenet_archives(data_dir / "downloads" / "manual")
    tfds.builder("imagenet2012", data_dir=str(data_dir)).download_and_prepare()
    return str(data_dir)


def test_a_folder_has_its_classes_its_unlabeled_pictures_and_its_test_pictures(folder):
    data = load_folder(folder)
    assert data.class_names == CLASSES
    assert data.num_examples == 3 * 8 + 6
    assert (data.labels[-6:] == -1).all()
    np.testing.assert_array_equal(np.bincount(data.labels[data.labeled]), [2, 2, 2])
    assert len(data.evaluation_labels) == 12
    for images, labels in data.evaluation_batches(5):
        assert images.shape[1:] == (32, 32, 3)
        np.testing.assert_array_equal(tf.argmax(tf.reduce_mean(images, axis=(1, 2)), axis=1), labels)


def test_two_views_of_a_picture_differ_and_the_batch_of_a_step_is_always_the_same(folder):
    data = load_folder(folder)
    batches = list(data.training_batches(SAMPLING).take(5))
    again = next(iter(data.training_batches(SAMPLING, first_step=3)))
    (first, second), labels = batches[3]
    assert first.shape == second.shape == (6, 32, 32, 3)
    assert (first.numpy() != second.numpy()).any(axis=(1, 2, 3)).all()
    np.testing.assert_array_equal(again[0][0], first)
    np.testing.assert_array_equal(again[0][1], second)
    assert (labels.numpy()[:2] >= 0).all()
    assert (labels.numpy()[2:] == -1).all()


def test_the_pipelines_are_not_tuned(folder):
    data = load_folder(folder)
    for pipeline in (data.training_batches(SAMPLING), data.evaluation_batches()):
        assert pipeline.options().autotune.enabled is False


def test_a_broken_picture_is_named(tmp_path):
    write_folder(tmp_path)
    broken = next((tmp_path / "train" / CLASSES[0]).iterdir())
    broken.write_bytes(broken.read_bytes()[:30])
    data = load_folder(tmp_path)
    index = list(data.ranges.names).index(f"{CLASSES[0]}/{broken.name}")
    with pytest.raises(DataError, match=f"{broken.name} can't be decoded"):
        data.ranges.image(index)
    broken.write_bytes(b"")
    with pytest.raises(DataError, match=f"{broken.name} was cut off"):
        data.ranges.image(index)
    with pytest.raises(DataError, match=f"{broken.name} is empty"):
        load_folder(tmp_path)


@pytest.mark.parametrize("case", ["missing", "one class", "no test"])
def test_a_folder_that_is_none_of_classes_is_named(tmp_path, case):
    if case == "no test":
        write_folder(tmp_path)
        for path in sorted((tmp_path / "test").rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        (tmp_path / "test").rmdir()
    elif case == "one class":
        (tmp_path / "only").mkdir()
    with pytest.raises(ArgumentError, match="`data_dir`.*data_dir="):
        load_folder(tmp_path / "nowhere" if case == "missing" else tmp_path)


def test_a_class_without_a_picture_is_refused(tmp_path):
    write_folder(tmp_path)
    (tmp_path / "train" / "new").mkdir()
    with pytest.raises(ArgumentError, match="`data_dir` has no pictures of class 'new'"):
        load_folder(tmp_path)


def test_a_test_folder_of_an_unknown_class_is_refused(tmp_path):
    write_folder(tmp_path)
    (tmp_path / "test" / "new").mkdir()
    with pytest.raises(ArgumentError, match="`data_dir` has a folder 'new' in .*test that is none of the classes"):
        load_folder(tmp_path)


def test_a_folder_that_is_named_like_a_picture_is_none_and_a_link_to_nothing_is_said(tmp_path):
    write_folder(tmp_path)
    (tmp_path / "train" / CLASSES[0] / "album.jpg").mkdir()
    expected = 3 * 8 + 6
    assert load_streamed("folder", str(tmp_path), image_size=16).num_examples == expected
    (tmp_path / "train" / CLASSES[0] / "gone.jpg").symlink_to("nowhere")
    with pytest.raises(FileNotFoundError, match=r"gone\.jpg"):  # The programs make a sentence of it.
        load_streamed("folder", str(tmp_path), image_size=16)


def test_a_picture_whose_name_is_no_utf_8_is_read(tmp_path):
    write_folder(tmp_path)
    before = load_folder(tmp_path, phase="validation", num_validation=3)
    path = next((tmp_path / "unlabeled").iterdir())
    os.rename(path, os.fsencode(path.parent) + b"/\xff\xfe.jpg")
    data = load_folder(tmp_path, phase="validation", num_validation=3)
    assert data.num_examples == before.num_examples
    for images, _ in data.training_batches(Sampling(24, "vary", seed=0)).take(2):
        assert images[0].shape == (24, 32, 32, 3)


def test_held_out_pictures_are_trained_on_by_nobody(folder):
    data = load_folder(folder, phase="validation", num_validation=6)
    assert len(data.evaluation_labels) == 6
    assert data.num_examples == 24
    assert not set(data.evaluation_ranges.names) & set(data.ranges.names)
    assert (data.evaluation_labels >= 0).all()


def test_imagenet_is_read_from_what_its_own_builder_prepared(imagenet, tmp_path):
    assert is_streamed("imagenet2012", imagenet)
    said = []
    arguments = {"image_size": 32, "num_labels": "all", "cache_dir": str(tmp_path)}
    data = load_streamed("imagenet2012", imagenet, report=said.append, **arguments)
    assert (data.num_examples, len(data.class_names)) == (18, 1000)
    assert min(data.ranges.names) == "n01440764_0.JPEG"
    assert len(data.evaluation_labels) == 50
    assert any("indexing" in text for text in said)
    for index in range(18):
        shown = int(np.argmax(data.ranges.image(index).numpy().mean(axis=(0, 1))))
        assert shown == data.labels[index]
    again = []
    load_streamed("imagenet2012", imagenet, report=again.append, **arguments)
    assert not again
    first, second = tmp_path.glob("index-*.npz")
    first.rename(tmp_path / "other")
    second.rename(first)
    (tmp_path / "other").rename(second)
    data = load_streamed("imagenet2012", imagenet, report=again.append, **arguments)
    assert sum("once" in text for text in again) == 2
    assert (data.num_examples, len(data.evaluation_labels)) == (18, 50)


@pytest.mark.parametrize(
    ("damage", "culprit"),
    [
        ("one record less", "holds 17 of 18 examples"),
        ("cut off", "can't be read as records .* cut off or changed after record"),
    ],
)
def test_a_damaged_file_of_records_is_named(imagenet, tmp_path, damage, culprit):
    shutil.copytree(imagenet, tmp_path / "tfds")
    (path,) = (tmp_path / "tfds").rglob("imagenet2012-train.tfrecord*")
    if damage == "cut off":
        path.write_bytes(path.read_bytes()[:-10])
    else:
        records = list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())
        with tf.io.TFRecordWriter(str(path)) as writer:
            for record in records[1:]:
                writer.write(record)
    with pytest.raises(DataError, match=culprit):
        load_streamed("imagenet2012", str(tmp_path / "tfds"), image_size=32, cache_dir=str(tmp_path / "cache"))


def test_a_view_is_a_function_of_its_seed_and_stays_in_range():
    image = tf.constant(np.random.default_rng(0).integers(0, 256, (61, 47, 3)), "uint8")
    views = [random_view(image, 24, tf.constant([3, place], "int64")).numpy() for place in (0, 0, 1, 2, 3)]
    np.testing.assert_array_equal(views[0], views[1])
    assert all((views[0] != other).any() for other in views[2:])
    assert all(view.min() >= 0 and view.max() <= 255 for view in views)


def test_the_plain_view_is_the_middle():
    image = np.zeros((80, 40, 3), "uint8")
    image[30:50, 10:30] = 255
    view = plain_view(tf.constant(image), 28).numpy()
    assert view.shape == (28, 28, 3)
    assert view[14, 14].min() > 250
    np.testing.assert_allclose(view, view[::-1], atol=1)
    np.testing.assert_allclose(view, view[:, ::-1], atol=1)


@pytest.mark.parametrize("shape", [(1, 10_000_000), (3_000_000, 3)])
def test_the_plain_view_of_a_line_is_its_middle_and_takes_no_gigabytes(shape):
    image = np.zeros((*shape, 3), "uint8")
    side = max(shape) // 2
    image[(slice(None), slice(side, None)) if shape[1] > shape[0] else slice(side, None)] = 255
    view = plain_view(tf.constant(image), 224).numpy()
    view = view if shape[1] > shape[0] else view.transpose(1, 0, 2)
    assert view.shape == (224, 224, 3)
    assert view[:, 0].max() < 128 < view[:, -1].min()
    np.testing.assert_array_equal(view[0], view[-1])


@pytest.mark.slow
def test_the_imagenet_experiment_runs_end_to_end_and_resumes(folder, imagenet, tmp_path):
    common = (*SMALL, f"--cache_dir={tmp_path / 'cache'}")
    run = tmp_path / "imagenet"
    arguments = (*common, "--dataset=imagenet2012", f"--data_dir={imagenet}", "--num_labels=all", "--top5_error")
    arguments = (*arguments, "--unlabeled_stream=all", f"--run_dir={run}")
    process = run_program("train", *arguments)
    assert process.returncode == 0, process.stderr
    assert "teacher_top5_error" in (run / "evaluations.csv").read_text().splitlines()[0]
    flags = (*common, "--dataset=folder", f"--data_dir={folder}")
    steps = ("--training_steps=6", "--checkpoint_steps=2")
    process = run_program("train", *flags, *steps, f"--run_dir={tmp_path / 'whole'}")
    assert process.returncode == 0, process.stderr
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    for file in ("results.json", "checkpoints/step-6"):  # As if it had been killed after step 4.
        path = tmp_path / "cut" / file
        path.rename(tmp_path / f"away-{path.name}")
    process = run_program(
        "train", *flags, "--training_steps=6", "--checkpoint_steps=2", f"--run_dir={tmp_path / 'cut'}"
    )
    assert process.returncode == 0, process.stderr
    assert "continues at step 4" in process.stdout
    same_run(tmp_path / "whole", tmp_path / "cut")


def test_a_picture_that_breaks_during_training_ends_the_run_with_a_sentence(tmp_path):
    write_folder(tmp_path / "pictures")
    for path in (tmp_path / "pictures" / "unlabeled").iterdir():
        path.write_bytes(b"no picture at all")
    flags = (*SMALL, "--dataset=folder", f"--data_dir={tmp_path / 'pictures'}")
    process = in_process("train", *flags, f"--run_dir={tmp_path / 'run'}")
    assert process.returncode == 1
    sentence = process.stderr.strip().splitlines()[-1]
    assert sentence.startswith("error: ")
    assert "can't be decoded" in sentence
    assert "Traceback" not in process.stderr


@pytest.mark.parametrize("split", ["", "train"])
def test_what_is_left_behind_is_no_class_and_no_picture_and_is_said(tmp_path, capsys, split):
    write_folder(tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "left")
    root = tmp_path / "left" / split
    for name in CLASSES if not split else ():
        (root / "train" / name).rename(root / name)
    if not split:
        (root / "train").rmdir()
    (some,) = (root / CLASSES[0]).glob("*_0.JPEG")
    copies = (".thumbnails", ".ipynb_checkpoints", "__MACOSX", f"{CLASSES[0]}/@eaDir", f"{CLASSES[1]}/.trash")
    for name in (*copies, "../test/.thumbnails" if split else "test/@eaDir"):
        (root / name).mkdir()
        shutil.copy(some, root / name / "copy.jpg")
    shutil.copy(some, root / CLASSES[2] / "._0.jpg")
    os.mkfifo(root / CLASSES[2] / "pipe.png")
    data, whole = (load_folder(tmp_path / name) for name in ("left", "whole"))
    assert data.class_names == CLASSES
    assert [Path(name).name for name in data.ranges.names] == [Path(name).name for name in whole.ranges.names]
    assert len(data.evaluation_labels) == 12
    first, second = capsys.readouterr().err.splitlines()
    assert f"warning: {root / '.ipynb_checkpoints'} and 6 more in {root} skipped: " in first
    assert "/test skipped: hidden, in __MACOSX or @eaDir, in no folder of a class, no file, or none of .jpg" in second


def test_pictures_that_would_be_left_out_are_said_and_links_to_folders_are_followed(tmp_path, capsys):
    write_folder(tmp_path)
    root = tmp_path / "train"
    (root / CLASSES[0]).rename(tmp_path.parent / "elsewhere")
    (root / CLASSES[0]).symlink_to(tmp_path.parent / "elsewhere")
    (root / CLASSES[1]).rename(tmp_path.parent / "other")
    (root / CLASSES[1]).mkdir()
    (root / CLASSES[1] / "more").symlink_to(tmp_path.parent / "other")
    (tmp_path.parent / "other" / "back").symlink_to(root / CLASSES[1])
    for name in ("train/loose.jpg", f"train/{CLASSES[2]}/scan.TIF", "test/loose.png"):
        (tmp_path / name).write_bytes(b"x")
    data = load_folder(tmp_path)
    assert data.num_examples == 3 * 8 + 6
    first, second = capsys.readouterr().err.splitlines()
    assert f"warning: {root / 'loose.jpg'} and 1 more in {root} skipped: " in first
    assert f"warning: {tmp_path / 'test' / 'loose.png'} in {tmp_path / 'test'} skipped: " in second


def test_folders_that_seem_meant_otherwise_are_refused(tmp_path):
    write_folder(tmp_path)
    link = tmp_path / "train" / "fish"
    link.symlink_to(tmp_path / "gone")
    with pytest.raises(ArgumentError, match="has a link 'fish' to what is not there"):
        load_folder(tmp_path)
    link.unlink()
    shutil.copytree(tmp_path / "train" / CLASSES[0], tmp_path / "fish")
    with pytest.raises(ArgumentError, match="has pictures in 'fish' beside 'train'; move that folder into it"):
        load_folder(tmp_path)
    shutil.rmtree(tmp_path / "fish")
    shutil.copytree(tmp_path / "test", tmp_path / "train" / "valid")
    with pytest.raises(ArgumentError, match=f"of the classes {', '.join(CLASSES)} in 'valid', which would be a class"):
        load_folder(tmp_path)


@pytest.mark.parametrize("name", ["Unlabeled", "TEST", "Val", "Validation", "Train"])
def test_a_folder_with_a_reserved_name_in_capitals_is_refused(tmp_path, name):
    for folder in ("cat", "dog", "test/cat", name):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "0.jpg").write_bytes(picture(np.random.default_rng(0), 0))
    with pytest.raises(ArgumentError, match=f"has a folder '{name}'; rename it: to '{name.lower()}' if"):
        load_folder(tmp_path, num_labels="all")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "GIF", "WEBP"])
def test_pictures_of_all_kinds_are_read(tmp_path, kind):
    image = Image.fromarray(np.full((20, 30, 3), 200, "uint8"))
    for name in "ab":
        (tmp_path / name).mkdir()
        image.save(tmp_path / name / f"x.{kind.lower()}", kind)
    data = load_streamed("folder", str(tmp_path), image_size=16, phase="validation", num_validation=1)
    (images, _), *_ = data.evaluation_batches()
    assert images.shape == (1, 16, 16, 3)
    assert abs(float(tf.reduce_mean(images)) - 200) < 3


def test_of_many_pictures_some_that_are_spread_evenly_are_looked_into(tmp_path, monkeypatch):
    monkeypatch.setattr(byte_ranges, "_MOST_READ", 5)
    files = [tmp_path / f"{number}.png" for number in range(9)]
    for path in files:
        path.write_bytes(bytes(3000))
    places, starts, sizes = np.arange(9, dtype="int32"), np.zeros(9, "int64"), np.full(9, 3000)
    ranges = byte_ranges.ByteRanges(tuple(map(str, files)), places, starts, sizes, places.astype(str), False)
    before, seen = ranges.content(), []
    for number, path in enumerate(files):
        path.write_bytes(bytes(2999) + b"x")
        if ranges.content() != before:
            seen.append(number)
        path.write_bytes(bytes(3000))
    assert seen == [0, 2, 4, 6, 8]
