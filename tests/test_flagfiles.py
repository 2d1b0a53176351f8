"""The flagfiles hold the paper's settings: hyperparameters altered in a clean-up once cost a percent elsewhere."""

from pathlib import Path

import pytest
from absl import flags

from keras_mt.training import checks, settings

FLAGS_FOLDER = Path(__file__).resolve().parents[1] / "flags"
SVHN = {
    "dataset": "svhn_cropped", "labeled_per_batch": "1", "max_consistency_weight": 1.0, "consistency_on_labeled": False,
    "training_steps": 180_000, "rampup_steps": 40_000, "rampdown_steps": 25_000, "seed": 2000, "data_seed": 2000,
}  # fmt: skip
CIFAR10 = {
    "dataset": "cifar10", "labeled_per_batch": "vary", "consistency_on_labeled": True, "training_steps": 150_000,
    "rampup_steps": 40_000, "rampdown_steps": 25_000, "adam_beta_2_during_rampup": 0.999,
    "ema_decay_during_rampup": 0.999, "flip": True, "seed": 2000, "data_seed": 2000,
}  # fmt: skip
QUICK = {
    "labeled_per_batch": "50", "max_consistency_weight": 50.0, "consistency_on_labeled": True, "training_steps": 40_000,
    "rampup_steps": 5_000, "rampdown_steps": 0, "seed": 0, "data_seed": 0,
}  # fmt: skip
COMMON = {
    "method": "mean_teacher", "architecture": "convnet13", "width": 1.0, "batch_size": 100, "max_learning_rate": 0.003,
    "num_heads": 1, "consistency_trust": 0.0, "student_dropout": 0.5, "teacher_dropout": 0.5, "input_noise": 0.15,
    "translate": 2, "ema_decay_after_rampup": 0.999, "adam_beta_2_after_rampup": 0.999, "mean_momentum": 0.999,
    "precision": "float32", "phase": "test", "teacher_statistics": "own", "ema_warmup": False,
}  # fmt: skip
WARM = {"ema_decay_during_rampup": 0.99, "adam_beta_2_during_rampup": 0.99, "flip": False}
PAPER = {
    "svhn_250": {**COMMON, **WARM, **SVHN, "num_labels": "250", "num_extra_unlabeled": 0},
    "svhn_500": {**COMMON, **WARM, **SVHN, "num_labels": "500", "num_extra_unlabeled": 0},
    "svhn_1000": {**COMMON, **WARM, **SVHN, "num_labels": "1000", "num_extra_unlabeled": 0},
    "svhn_500_extra100k": {
        **COMMON, **WARM, **SVHN, "num_labels": "500", "num_extra_unlabeled": 100_000, "training_steps": 400_000
    },
    "svhn_500_extra": {
        **COMMON, **WARM, **SVHN, "num_labels": "500", "num_extra_unlabeled": 500_000, "training_steps": 600_000
    },
    "svhn_quick": {**COMMON, **WARM, **QUICK, "dataset": "svhn_cropped", "num_labels": "500"},
    "cifar10_1000": {**COMMON, **CIFAR10, "num_labels": "1000", "max_consistency_weight": 2.0},
    "cifar10_4000": {**COMMON, **CIFAR10, "num_labels": "4000", "max_consistency_weight": 8.0},
    "cifar10_quick": {**COMMON, **WARM, **QUICK, "dataset": "cifar10", "num_labels": "4000", "flip": True},
}  # fmt: skip
SMALL = ("digits_50", "digits_50_supervised", "mnist_100_small")


def parsed(path):
    if "run_dir" not in flags.FLAGS:
        settings.define()
    flags.FLAGS.unparse_flags()
    flags.FLAGS(["train", f"--flagfile={path}", "--run_dir=anywhere"])
    checks.check()
    return flags.FLAGS


def test_every_flagfile_is_either_the_papers_or_a_small_one_of_ours():
    assert {path.stem for path in FLAGS_FOLDER.glob("*.cfg")} == {*PAPER, *SMALL}


@pytest.mark.parametrize("name", PAPER)
def test_the_papers_settings(name):
    values = parsed(FLAGS_FOLDER / f"{name}.cfg")
    assert {flag: values[flag].value for flag in PAPER[name]} == PAPER[name]


@pytest.mark.parametrize("name", [*PAPER, *SMALL])
def test_a_flagfile_opens_with_what_it_is(name):
    path = FLAGS_FOLDER / f"{name}.cfg"
    parsed(path)
    head = [line for line in path.read_text().splitlines() if line.startswith("#")]
    text = " ".join(head)
    for part in ("Source: ", "error", "Time: ", f"--flagfile=flags/{name}.cfg"):
        assert part in text
