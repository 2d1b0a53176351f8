"""The settings of the published experiments, to tell other ones from them. A test holds them equal to the flagfiles."""

import dataclasses

from keras_mt.experiments.config import Config
from keras_mt.experiments.preprocessing import preprocessing_of
from keras_mt.experiments.reporting.published import Table

# What a table is of, what `tables.differences` tells in words of its own, and what changes no error.
_NOT_COMPARED = {
    "dataset", "method", "num_labels", "seed", "data_seed", "width", "blocks", "batch_size", "precision",
    "training_steps", "training_epochs", "evaluation_steps", "top5_error", "num_validation", "jit_compile",
    "num_threads",
}  # fmt: skip
_CONVNET = {"rampup_steps": 40_000, "rampdown_steps": 25_000}
_CONVNET_CIFAR10 = {**_CONVNET, "adam_beta_2_during_rampup": 0.999, "ema_decay_during_rampup": 0.999}
_SGD = {"optimizer": "sgd", "input_noise": 0.0}
_RESIDUAL = {
    **_SGD, "num_heads": 2, "synchronized_statistics": False, "unlabeled_stream": "unlabeled", "rampup_epochs": 5.0,
    "learning_rate_schedule": "cosine", "logit_distance_weight": 0.01, "logit_distance_over": "mean",
    "ema_warmup": True,
}  # fmt: skip
_SHAKE_SHAKE = {
    **_RESIDUAL, "labeled_per_batch": "124", "max_learning_rate": 0.2, "weight_decay": 2e-4,
    "max_consistency_weight": 100.0, "translate": 4, "flip": True,
}  # fmt: skip
_RESNEXT = {
    **_RESIDUAL, "image_size": 224, "labeled_per_batch": "200", "max_learning_rate": 0.25,
    "initial_learning_rate": 0.1, "learning_rate_rampup_epochs": 2.0, "cosine_epochs": 75.0, "weight_decay": 5e-5,
    "consistency": "kl", "max_consistency_weight": 10.0, "ema_decay_during_rampup": 0.9997,
    "ema_decay_after_rampup": 0.9997, "translate": 0, "augmentation": "imagenet",
}  # fmt: skip
_WIDE = {
    **_SGD, "averaged_over": "participants", "consistency_on_labeled": False, "max_learning_rate": 0.03,
    "learning_rate_schedule": "seven_sixteenths_cosine", "weight_decay": 5e-4, "weight_decay_on": "kernels",
    "labeled_per_batch": "64", "ema_decay_during_rampup": 0.999, "translate": 4, "flip": True,
}  # fmt: skip
_LATER = {
    **_WIDE, "separate_passes": True, "teacher_statistics": "copy", "rampup_steps": 419_430,
    "consistency_rampup": "linear", "max_consistency_weight": 50.0,
}  # fmt: skip
_LATER_SUPERVISED = {
    **_LATER, "separate_passes": False, "labeled_per_batch": "all", "max_consistency_weight": 0.0
}  # fmt: skip
_VIEWS = {
    **_WIDE, "teacher_sees": "unlabeled", "strong_augmentation": "randaugment", "strong_on_labeled": False,
    "consistency": "kl", "confidence_threshold": 0.95, "hard_targets": True, "max_consistency_weight": 1.0,
    "consistency_rampup": "none", "rampup_steps": 0,
}  # fmt: skip
_MIXED = {
    **_SGD, "labeled_per_batch": "100", "averaged_over": "participants", "consistency_on_labeled": False,
    "teacher_sees": "unlabeled", "max_consistency_weight": 100.0, "rampup_steps": 50_000, "max_learning_rate": 0.1,
    "weight_decay": 1e-4, "learning_rate_schedule": "cosine", "ema_decay_during_rampup": 0.999, "student_dropout": 0.0,
    "teacher_dropout": 0.0,
}  # fmt: skip
_BASIC = ("supervised", "pi", "temporal_ensembling", "mean_teacher")


def other_settings(flags: dict, table: Table, place: tuple[str, str]) -> list[str]:
    """Returns in which flags a run is not the published experiment, such as `student_dropout 0 instead of 0.5`.

    Args:
        flags: All flags of the run.
        table: A published table.
        place: The run's method and column in it.
    """
    architecture, dataset = flags["architecture"], flags["dataset"]
    published = settings_of(architecture, dataset, place[0], str(flags["num_labels"]))
    if published is None:
        return []
    not_compared = {*_NOT_COMPARED, *table.where, table.column_flag}
    found = []
    for field in dataclasses.fields(Config):
        name = field.name
        here, there = flags.get(name, field.default), published.get(name, field.default)
        if name == "preprocessing":
            here, there = (preprocessing_of(flag, architecture, dataset) for flag in (here, there))
        compared = field.metadata["of_the_experiment"] and name not in not_compared
        if place[0] == "supervised" and "consistency" in name:
            continue  # Reads none of them.
        if compared and here != there and str(here) != str(there):
            found.append(f"{name} {short(here)} instead of {short(there)}")
    return found


def settings_of(architecture: str, dataset: str, method: str, labels: str) -> dict | None:
    """Returns the flags that a published experiment sets beside the defaults; None if none is known.

    Args:
        architecture: Of a published table.
        dataset: Likewise.
        method: What `published.method_of` returned.
        labels: Number of labels of a published table.
    """
    if architecture == "convnet13" and method in _BASIC:
        return _of_convnet(dataset, method, labels)
    if architecture == "convnet13":
        cosine = {"cosine_epochs": {"cifar10": 400.0, "svhn_cropped": 273.0}[dataset]}
        alpha = {"cifar10": 1.0, "svhn_cropped": 0.1}[dataset]
        return {
            "mean_teacher, interpolation": {
                **_MIXED, **cosine, "mixing": "interpolation", "mixing_alpha": alpha, "mix_labels": True
            },
            "mean_teacher, CutMix, confidence": {
                **_MIXED, **cosine, "mixing": "cutmix", "mixing_share": 0.5, "confidence_threshold": 0.97
            },
        }.get(method)  # fmt: skip
    if architecture == "wide_resnet28":
        later = {"mean_teacher": _LATER, "pi": _LATER, "supervised": _LATER_SUPERVISED}
        return {**later, "mean_teacher, strong views, confidence": _VIEWS}.get(method)
    if method != "mean_teacher":
        return None
    if architecture == "resnext152":
        return _RESNEXT
    decay, epochs = {"1000": (0.97, 210.0), "4000": (0.99, 350.0)}[labels]
    return {
        **_SHAKE_SHAKE,
        "cosine_epochs": epochs,
        "ema_decay_during_rampup": decay,
        "ema_decay_after_rampup": decay,
    }


def _of_convnet(dataset, method, labels):
    common = _CONVNET_CIFAR10 if dataset == "cifar10" else _CONVNET
    if method == "supervised" and labels == "all":
        return common
    if method == "supervised":
        whole = {"rampup_steps": 15 * int(labels) // 2, "rampdown_steps": int(labels)}
        return {**common, **(whole if dataset == "cifar10" else {"rampdown_steps": 10_000})}
    if labels == "all":
        return {**common, "labeled_per_batch": "100", "max_consistency_weight": 100.0}
    if dataset == "cifar10":
        return {**common, "labeled_per_batch": "vary", "max_consistency_weight": 100 * int(labels) / 50_000}
    return {**common, "labeled_per_batch": "1", "max_consistency_weight": 1.0, "consistency_on_labeled": False}


def short(value: object) -> str:
    """Returns a flag's value as it stands in a table."""
    return f"{value:g}" if isinstance(value, float) else str(value)
