"""Labels in one domain only: a folder whose classes are one domain, and unlabeled/ and test/ another."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from support.programs import in_process

from keras_mt.experiments.config import Config
from keras_mt.experiments.running import experiment

CLASSES = ("left", "right")
FLAGS = (
    "--dataset=folder", "--image_size=16", "--width=0.0625", "--batch_size=8", "--labeled_per_batch=4",
    "--training_steps=3", "--rampup_steps=1", "--evaluation_steps=3", "--max_consistency_weight=3",
    "--preprocessing=none", "--translate=0", "--separate_passes", "--statistics_of=unlabeled",
    "--unlabeled_stream=unlabeled",
)  # fmt: skip
SOURCE, TARGET = 60, 200  # The level of gray of each domain's pictures.


def write(path, level, label, random):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.full((16, 16, 3), level) + random.integers(-5, 6, (16, 16, 3))
    image[:, 8 * label : 8 * label + 8] += 40
    encode = tf.io.encode_png if path.suffix == ".png" else tf.io.encode_jpeg
    path.write_bytes(encode(image.astype("uint8")).numpy())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """PNG files of the source in folders of their classes, JPEG files of the target in unlabeled/ and test/."""
    root, random = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for number, (label, name) in itertools.product(range(6), enumerate(CLASSES)):
        write(root / name / f"{number}.png", SOURCE, label, random)
        write(root / "unlabeled" / f"{name}_{number}.jpg", TARGET, label, random)
        if number < 3:
            write(root / "test" / name / f"{number}.jpg", TARGET, label, random)
    return root


def test_labeled_rows_are_the_sources_and_all_others_and_what_is_evaluated_the_targets(folder):
    config = Config(
        dataset="folder", data_dir=str(folder), image_size=16, batch_size=8, labeled_per_batch="4",
        separate_passes=True, statistics_of="unlabeled", unlabeled_stream="unlabeled",
    )  # fmt: skip
    data = experiment.load_data(config)
    middle = (SOURCE + TARGET) / 2
    for images, labels in experiment.batches(config, data, 0).take(4):
        bright = images.numpy().mean(axis=(1, 2, 3)) > middle
        assert bright.tolist() == [False] * 4 + [True] * 4
        assert (labels.numpy() >= 0).tolist() == [True] * 4 + [False] * 4
    for images, labels in data.evaluation_batches():
        assert (images.numpy().mean(axis=(1, 2, 3)) > middle).all()
        assert (labels.numpy() >= 0).all()


@pytest.mark.parametrize(
    "more",
    [
        ("--confidence_threshold=0.5", "--class_balance=0.1"),
        *(
            pytest.param(flags, marks=pytest.mark.slow)
            for flags in (
                ("--mixing=interpolation", "--method=pi"),
                ("--method=temporal_ensembling",),
                ("--method=supervised", "--max_consistency_weight=0"),
                ("--method=vat", "--perturbation_epsilon=20"),
                ("--architecture=wide_resnet28", "--blocks=1,1,1"),
            )
        ),
    ],
)
def test_a_run_on_two_domains_ends_and_is_evaluated_on_the_targets_pictures(folder, tmp_path, more):
    flags = (f"--data_dir={folder}", f"--run_dir={tmp_path / 'run'}", *more)
    status, output, errors = in_process("train", *FLAGS, *flags)
    assert status == 0, errors
    assert "12 labeled of 24 training examples, 6 to evaluate on (test phase)" in output
    status, output, errors = in_process("predict", f"--run_dir={tmp_path / 'run'}", folder / "unlabeled")
    assert status == 0, errors
    assert len(output.splitlines()) == 13


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (("--phase=validation",), "--phase=validation holds out labeled images"),
        (("--num_labels=6",), "--num_labels=6 masks the labels of 6 images, which would be mixed with the 12"),
        (("--labels_file={file}",), "masks the labels of 10 images, which would be mixed with the 12"),
    ],
)
def test_domains_that_would_be_mixed_or_taken_for_each_other_are_refused(folder, tmp_path, changes, sentence):
    (tmp_path / "few.txt").write_text("left/0.png\nright/0.png\n")
    changes = (change.format(file=tmp_path / "few.txt") for change in changes)
    run = tmp_path / "run"
    status, _, errors = in_process("train", *FLAGS, f"--data_dir={folder}", f"--run_dir={run}", *changes)
    assert status == 2
    assert sentence in errors
    assert not (run / "results.json").exists()


def test_masked_labels_of_one_domain_may_have_the_statistics(folder, tmp_path):
    """Without unlabeled/ there is one domain, and a validation phase measures it."""
    config = Config(
        dataset="folder", data_dir=str(folder), image_size=16, batch_size=4, labeled_per_batch="2", num_labels="2",
        separate_passes=True, statistics_of="unlabeled", unlabeled_stream="unlabeled", phase="validation",
    )  # fmt: skip
    (folder / "unlabeled").rename(tmp_path / "away")
    try:
        assert len(experiment.load_data(config).labeled) == 2
    finally:
        (tmp_path / "away").rename(folder / "unlabeled")
