"""The flagfiles hold the paper's settings: hyperparameters altered in a clean-up once cost a percent elsewhere."""

import dataclasses
import re
from pathlib import Path

import pytest

from keras_mt.experiments import checks, flagging
from keras_mt.experiments.config import Config
from keras_mt.experiments.running.sweeps import read_sweep

FLAGS_FOLDER = Path(__file__).resolve().parents[2] / "flags"
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
    "precision": "float32", "phase": "test", "teacher_statistics": "auto", "ema_warmup": False, "optimizer": "adam",
    "learning_rate_schedule": "sigmoid", "consistency_rampup": "sigmoid", "averaged_over": "batch",
    "separate_passes": False, "unlabeled_stream": "all", "consistency": "trust", "training_epochs": None,
}  # fmt: skip
WARM = {"ema_decay_during_rampup": 0.99, "adam_beta_2_during_rampup": 0.99, "flip": False}
ALL = {"num_labels": "all", "labeled_per_batch": "100", "max_consistency_weight": 100.0, "consistency_on_labeled": True}
SUPERVISED = {
    "method": "supervised", "labeled_per_batch": "all", "max_consistency_weight": 0.0, "seed": 0, "data_seed": 0,
    "consistency_on_labeled": True,
}  # fmt: skip
RESIDUAL = {
    "method": "mean_teacher", "width": 1.0, "blocks": None, "num_heads": 2, "optimizer": "sgd", "sgd_momentum": 0.9,
    "learning_rate_schedule": "cosine", "weight_decay_on": "all", "logit_distance_weight": 0.01, "rampup_epochs": 5.0,
    "logit_distance_over": "mean", "ema_warmup": True, "consistency_rampup": "sigmoid", "unlabeled_stream": "unlabeled",
    "input_noise": 0.0, "averaged_over": "batch", "separate_passes": False, "synchronized_statistics": False,
    "precision": "float32", "phase": "test", "teacher_statistics": "auto", "training_steps": None,
}  # fmt: skip
# Of the paper's four devices together.
CIFAR10_RESNET = {
    **RESIDUAL, "dataset": "cifar10", "architecture": "shake_shake26", "batch_size": 512, "labeled_per_batch": "124",
    "max_learning_rate": 0.2, "weight_decay": 2e-4, "consistency": "trust", "consistency_trust": 0.0,
    "max_consistency_weight": 100.0, "translate": 4, "flip": True, "learning_rate_rampup_epochs": 0.0,
}  # fmt: skip
LATER = {
    "method": "mean_teacher", "architecture": "wide_resnet28", "width": 1.0, "blocks": None, "num_heads": 1,
    "batch_size": 128, "labeled_per_batch": "64", "separate_passes": True, "averaged_over": "participants",
    "consistency_on_labeled": False, "teacher_statistics": "copy", "max_consistency_weight": 50.0,
    "consistency": "trust", "consistency_trust": 0.0, "consistency_rampup": "linear", "training_steps": 2**20,
    "rampup_steps": int(0.4 * 2**20), "optimizer": "sgd", "sgd_momentum": 0.9, "max_learning_rate": 0.03,
    "learning_rate_schedule": "seven_sixteenths_cosine", "weight_decay": 5e-4, "weight_decay_on": "kernels",
    "ema_decay_during_rampup": 0.999, "ema_decay_after_rampup": 0.999, "ema_warmup": False, "translate": 4,
    "flip": True, "input_noise": 0.0, "preprocessing": "auto", "precision": "float32", "phase": "test",
}  # fmt: skip
# Of the methods beyond 2017: what their papers give.
MIXED = {
    "method": "mean_teacher", "architecture": "convnet13", "width": 1.0, "batch_size": 200, "labeled_per_batch": "100",
    "max_consistency_weight": 100.0, "averaged_over": "participants", "consistency_on_labeled": False,
    "consistency": "trust", "consistency_trust": 0.0, "training_steps": 200_000, "rampup_steps": 50_000,
    "consistency_rampup": "sigmoid", "optimizer": "sgd", "sgd_momentum": 0.9, "max_learning_rate": 0.1,
    "learning_rate_schedule": "cosine", "weight_decay": 1e-4, "ema_decay_during_rampup": 0.999,
    "ema_decay_after_rampup": 0.999, "student_dropout": 0.0, "teacher_dropout": 0.0, "translate": 2, "phase": "test",
}  # fmt: skip
ICT = {**MIXED, "mixing": "interpolation", "mix_labels": True, "confidence_threshold": 0.0, "mixing_share": None}
CUT = {**MIXED, "mixing": "cutmix", "mix_labels": False, "confidence_threshold": 0.97, "mixing_share": 0.5}
VIEWS = {
    **{name: value for name, value in LATER.items() if name not in ("teacher_statistics", "separate_passes")},
    "batch_size": 512, "consistency": "kl", "max_consistency_weight": 1.0, "consistency_rampup": "none",
    "rampup_steps": 0, "strong_augmentation": "randaugment", "strong_on_labeled": False, "confidence_threshold": 0.95,
    "hard_targets": True,
}  # fmt: skip
PAPER = {
    "cifar10_1000_ict": {**ICT, "dataset": "cifar10", "num_labels": "1000", "mixing_alpha": 1.0, "flip": True},
    "cifar10_4000_ict": {**ICT, "dataset": "cifar10", "num_labels": "4000", "mixing_alpha": 1.0, "flip": True},
    "svhn_1000_ict": {**ICT, "dataset": "svhn_cropped", "num_labels": "1000", "mixing_alpha": 0.1, "flip": False},
    "cifar10_4000_cutmix": {**CUT, "dataset": "cifar10", "num_labels": "4000", "flip": True},
    "svhn_1000_cutmix": {**CUT, "dataset": "svhn_cropped", "num_labels": "1000", "flip": False},
    "cifar10_250_fixmatch_views": {**VIEWS, "dataset": "cifar10", "num_labels": "250"},
    "cifar10_4000_fixmatch_views": {**VIEWS, "dataset": "cifar10", "num_labels": "4000"},
    "svhn_250_fixmatch_views": {**VIEWS, "dataset": "svhn_cropped", "num_labels": "250"},
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
    "svhn_all": {**COMMON, **WARM, **SVHN, **ALL},
    "svhn_supervised": {
        **COMMON, **WARM, **SVHN, **SUPERVISED, "num_labels": "500",
        "training_steps": 40_000, "rampdown_steps": 10_000
    },
    "svhn_supervised_all": {**COMMON, **WARM, **SVHN, **SUPERVISED, "num_labels": "all"},
    "cifar10_2000": {**COMMON, **CIFAR10, "num_labels": "2000", "max_consistency_weight": 4.0},
    "cifar10_all": {**COMMON, **CIFAR10, **ALL},
    "cifar10_supervised": {
        **COMMON, **CIFAR10, **SUPERVISED, "num_labels": "4000", "training_steps": 30_000, "rampup_steps": 30_000,
        "rampdown_steps": 4_000
    },
    "cifar10_supervised_all": {**COMMON, **CIFAR10, **SUPERVISED, "num_labels": "all"},
    "cifar10_4000_resnet": {
        **CIFAR10_RESNET, "num_labels": "4000", "training_epochs": 300.0, "cosine_epochs": 350.0,
        "ema_decay_during_rampup": 0.99, "ema_decay_after_rampup": 0.99
    },
    "cifar10_1000_resnet": {
        **CIFAR10_RESNET, "num_labels": "1000", "training_epochs": 180.0, "cosine_epochs": 210.0,
        "ema_decay_during_rampup": 0.97, "ema_decay_after_rampup": 0.97
    },
    "imagenet_10percent": {
        **RESIDUAL, "dataset": "imagenet2012", "architecture": "resnext152", "num_labels": "128000", "image_size": 224,
        "batch_size": 400, "labeled_per_batch": "200", "training_epochs": 60.0, "cosine_epochs": 75.0,
        "max_learning_rate": 0.25, "initial_learning_rate": 0.1, "learning_rate_rampup_epochs": 2.0,
        "weight_decay": 5e-5, "consistency": "kl", "max_consistency_weight": 10.0, "ema_decay_during_rampup": 0.9997,
        "ema_decay_after_rampup": 0.9997, "augmentation": "imagenet", "top5_error": True
    },
    **{
        f"{short}_{labels}_wrn": {**LATER, "dataset": dataset, "num_labels": str(labels)}
        for short, dataset, most in (("cifar10", "cifar10", 4000), ("svhn", "svhn_cropped", 1000))
        for labels in (40, 250, most)
    },
}  # fmt: skip
SMALL = (
    "digits_50", "digits_50_supervised", "mnist_100", "mnist_100_supervised", "digits_50_small",
    "digits_50_supervised_small",
    "mnist_100_short", "mnist_100_supervised_short", "cifar10_1000_short", "cifar10_1000_supervised_short",
    "cifar10_4000_small", "cifar10_4000_supervised_small", "cifar10_1000_quarter", "cifar10_1000_quarter_supervised",
    "cifar10_1000_quarter_ict", "cifar10_1000_quarter_cutmix", "cifar10_1000_quarter_vat",
    "cifar10_1000_quarter_fixmatch",
)  # fmt: skip


def parsed(path, *more):
    """The values of a run that is started with a flagfile."""
    command = flagging.parse([Config], [f"--flagfile={path}", *more])
    assert not command.rest
    (config,) = command.options
    config = checks.checked(config, command.typed)
    return dataclasses.asdict(config)


def test_every_flagfile_is_either_the_papers_or_a_small_one_of_ours():
    assert {path.stem for path in FLAGS_FOLDER.glob("*.cfg")} == {*PAPER, *SMALL}


@pytest.mark.parametrize("name", PAPER)
def test_the_papers_settings(name):
    values = parsed(FLAGS_FOLDER / f"{name}.cfg")
    assert {flag: values[flag] for flag in PAPER[name]} == PAPER[name]


@pytest.mark.parametrize("name", [*PAPER, *SMALL])
def test_a_flagfile_opens_with_what_it_is(name):
    path = FLAGS_FOLDER / f"{name}.cfg"
    parsed(path)
    head = [line for line in path.read_text().splitlines() if line.startswith("#")]
    text = " ".join(head)
    for part in ("Source: ", "error", "Time: ", f"--flagfile=flags/{name}.cfg"):
        assert part in text


@pytest.mark.parametrize("name", [name for name in PAPER if {"mixing", "strong_augmentation"} & set(PAPER[name])])
def test_a_run_of_a_later_method_stands_in_its_table(name):
    from keras_mt.experiments.reporting.published import TABLES
    from keras_mt.experiments.reporting.published_settings import other_settings

    values = parsed(FLAGS_FOLDER / f"{name}.cfg")
    ((table, place),) = [(table, place) for table in TABLES if (place := table.place_of(values))]
    assert values["batch_size"] == table.batch_sizes.get(place[0], 100)
    assert values["training_steps"] == table.steps[place]
    assert other_settings(values, table, place) == []
    # The figure of a flagfile is that of the table, FixMatch's where the target is a teacher's.
    figures = table.figures[place[0]] or table.figures.get("fixmatch", {})
    head = (FLAGS_FOLDER / f"{name}.cfg").read_text()
    assert (f"{figures[place[1]]} %" in head) if place[1] in figures else (" % (" not in head)


SWEEPS = FLAGS_FOLDER / "sweeps"
# Number of runs of each sweep: settings times seeds (spec, tables and ablations of the paper).
RUNS = {
    "svhn": (3 * 3 * 10 + 3 * 4 + 3 * 10 + 10) * 2,
    "cifar10": (3 * 3 * 10 + 3 * 4 + 3 * 10 + 10) * 2,
    "svhn_extra": 2 * 2 * 10,
    "residual": 22,
    "wide_resnet": 2 * (2 * 3 * 3 + 3),
    "quick": 2,
    "ablation_noise": 8 * 4,
    "ablation_dropout": 7 * 4,
    "ablation_ema_decay": 9 * 4,
    "ablation_consistency_weight": 7 * 4,
    "ablation_two_heads": 5 * 2 * 4,
    "ablation_trust": 9 * 4,
    "digits": 6,
    "digits_ema_decay": 8,
    "results_digits_tuning": 4 * 4 * 2,
    "results_digits_tuning2": 4 * 4 * 2,
    "results_digits": 4 * 5 * 5,
    "results_digits_ablations": (7 + 5 + 4 + 2 + 1) * 3,
    "results_cifar10_ablations": (3 + 3 + 4 + 1 + 1 + 2 + 1) * 3,
    "results_mnist_ablations": (3 + 2 + 4 + 1 + 1 + 1) * 3,
    "results_mnist_tuning": 4 * 4,
    "results_mnist": 4 * 3 * 3,
    "results_cifar10_tuning": 2 * 6,
    "results_cifar10": 3 * 2,
    "results_cifar10_4000_tuning": 2 * 3,
    "results_cifar10_4000": 3 * 2,
    "demo_tuning": 2 * 6 * 4,
    "demo_tuning2": 3 + 4 + 5 + 2 * 6 + 4 * 6 + 4,
    "results_cifar10_quarter_tuning": 1 + 1 + 1 + 2 + 2,
    "results_cifar10_quarter": 2 * 3,
    "results_demo": 2 * 20,
    "results_mnist_few": 2 * 2 * 5,
}


def test_every_sweep_file_is_known():
    assert {path.stem for path in SWEEPS.glob("*.toml")} == set(RUNS)


@pytest.mark.parametrize("name", RUNS)
def test_every_run_of_a_sweep_can_be_started(name):
    runs = read_sweep(SWEEPS / f"{name}.toml")
    assert len(runs) == RUNS[name]
    for run in runs:
        assert dataclasses.asdict(run.config()) == parsed(run.flagfile, *run.arguments[1:])


def swept(name):
    """The flags of all runs of a sweep."""
    for run in read_sweep(SWEEPS / f"{name}.toml"):
        yield dataclasses.asdict(run.config())


@pytest.mark.parametrize("name", ["svhn", "cifar10", "svhn_extra", "residual", "wide_resnet"])
def test_every_published_figure_has_its_runs_of_the_published_length_and_batch_size(name):
    from keras_mt.experiments.reporting.published import TABLES
    from keras_mt.experiments.reporting.published_settings import other_settings

    places = {}
    for flags_of_run in swept(name):
        for table in TABLES:
            place = table.place_of(flags_of_run)
            if place:
                assert flags_of_run["batch_size"] == table.batch_sizes.get(place[0], 100)
                places.setdefault(table.title, {}).setdefault(place, set()).add(flags_of_run["seed"])
                assert other_settings(flags_of_run, table, place) == []
                if flags_of_run["training_steps"]:
                    assert flags_of_run["training_steps"] == table.steps[place]
    assert places
    for table in TABLES:
        if table.title in places and "extra" not in table.title:
            for method, columns in table.figures.items():
                for column in columns:
                    assert (method, column) in places[table.title], (table.title, method, column)


@pytest.mark.parametrize(
    ("name", "flag", "wanted"),
    [
        ("ablation_ema_decay", "ema_decay_after_rampup", {0, 0.9, 0.97, 0.99, 0.997, 0.999, 0.9997, 0.9999}),
        ("ablation_consistency_weight", "max_consistency_weight", {0, 0.1, 0.3, 1, 3, 10, 30}),
        ("ablation_two_heads", "logit_distance_weight", {0, 0.001, 0.01, 0.1, 1}),
        ("ablation_trust", "consistency_trust", {0, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 1}),
        ("ablation_dropout", "teacher_dropout", {0, 0.25, 0.5, 0.75}),
    ],
)
def test_an_ablation_is_the_papers(name, flag, wanted):
    runs = list(swept(name))
    assert {run[flag] for run in runs} == wanted
    assert {(run["num_labels"], run["phase"], run["method"]) for run in runs} == {("250", "validation", "mean_teacher")}
    assert {run["seed"] for run in runs} == {1000, 1001, 1002, 1003}


def test_cifar10_weights_follow_the_number_of_labels():
    for run in swept("cifar10"):
        if run["method"] != "supervised" and run["num_labels"] != "all":
            assert run["max_consistency_weight"] == 100 * int(run["num_labels"]) / 50_000
        if run["method"] == "supervised" and run["num_labels"] != "all":
            labels = int(run["num_labels"])
            assert (run["training_steps"], run["rampdown_steps"]) == (7.5 * labels, labels)


def test_each_flagfile_is_in_the_table_of_the_experiments():
    page = (FLAGS_FOLDER.parent / "docs" / "experiments.md").read_text()
    table = page.partition("| flagfile |")[2].partition("\n\n")[0]
    assert set(re.findall(r"`(\w+)`", table)) == {path.stem for path in FLAGS_FOLDER.glob("*.cfg")}
