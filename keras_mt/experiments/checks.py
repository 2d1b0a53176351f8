"""What must hold between the fields of a configuration, as far as it can be seen without the data."""

import dataclasses
import sys
from collections.abc import Set

from keras_mt.experiments.config import DEFAULT_STEPS, Config
from keras_mt.experiments.errors import UsageError

# Flags that only one value of another flag has a use for, with the values at which they do nothing.
_ONLY_WITH = {
    "student_dropout": ("architecture", "convnet13", 0.5),
    "teacher_dropout": ("architecture", "convnet13", 0.5),
    "mean_momentum": ("architecture", "convnet13", 0.999),
    "adam_beta_2_during_rampup": ("optimizer", "adam", 0.99),
    "adam_beta_2_after_rampup": ("optimizer", "adam", 0.999),
    "sgd_momentum": ("optimizer", "sgd", 0.9),
    "weight_decay": ("optimizer", "sgd", 0.0),
    "consistency_trust": ("consistency", "trust", 0.0),
    "cosine_epochs": ("learning_rate_schedule", "cosine", None),
    "learning_rate_rampup_epochs": ("learning_rate_schedule", "cosine", 0.0),
    "initial_learning_rate": ("learning_rate_schedule", "cosine", 0.0),
    "rampdown_steps": ("learning_rate_schedule", "sigmoid", 0),
    "num_extra_unlabeled": ("dataset_name", "svhn_cropped", 0),
    "num_validation": ("phase", "validation", None),
    "uncertainty_passes": ("method", "mean_teacher", 0),
    "ensembling_momentum": ("method", "temporal_ensembling", 0.6),
}
# Flags that do nothing while another one has the value at which it does nothing.
_NOT_WITHOUT = {
    "mixing_alpha": ("mixing", "none", 1.0),
    "mixing_share": ("mixing", "none", None),
    "mix_labels": ("mixing", "none", False),
    "perturbation_xi": ("perturbation_epsilon", 0.0, 1.0),
    "strong_on_labeled": ("strong_augmentation", "none", True),
    "logit_distance_over": ("logit_distance_weight", 0.0, "sum"),
    "weight_decay_on": ("weight_decay", 0.0, "all"),
}
# Pairs of which the second would say again, in other words, what the first says.
_EITHER = (
    ("mixing_share", "mixing_alpha"),
    ("hard_targets", "sharpening_temperature"),
    ("ema_warmup", "ema_warmup_power"),
    ("teacher_sees", "separate_passes"),  # Where it sees unlabeled examples alone as it is.
)
# What needs a consistency cost, and what only does something to examples without a label.
_OF_CONSISTENCY = (
    "confidence_threshold", "sharpening_temperature", "hard_targets", "class_balance", "consistency_start_step",
)  # fmt: skip
_OF_UNLABELED = ("mixing", "perturbation_epsilon", "class_balance", "teacher_sees", "strong_on_labeled")
_DEFAULTS = {field.name: field.default for field in dataclasses.fields(Config)}
# Data sets known by name to hold images of one size.
_OF_ONE_SIZE = ("digits", "svhn_cropped")


def check(config: Config) -> None:
    """Checks the fields of a configuration against each other.

    Raises:
        UsageError: With a sentence that names the flags.
    """
    _check_uses(config)
    _check_batches(config)
    _check_labels(config)
    _check_views(config)
    _check_targets(config)
    if config.dataset_name in _OF_ONE_SIZE:
        check_one_size(config)


def checked(config: Config, typed: Set[str]) -> Config:
    """Returns the configuration of a run that is to be trained, checked as far as that can be done without its data.

    It has leave to cut ramps off if the command line makes a flagfile's run shorter: that is how a published one is
    tried out. The leave is recorded with the run, so that its own flagfile repeats it.

    Args:
        config: The configuration.
        typed: Names of the flags on the command line itself.

    Raises:
        UsageError: With a sentence that names the flags.
    """
    check(config)
    if {"flagfile", "training_steps"} <= typed:
        config = dataclasses.replace(config, ramps_cut_off=True)
    _check_ramps(config, typed)
    return config


def _check_ramps(config, typed):
    """Checks that ramps end within a run, as far as their lengths are in steps; see `check_ramp`."""
    if config.training_epochs is None or config.training_steps:
        training = config.training_steps or DEFAULT_STEPS
        if config.rampup_epochs is None:
            check_ramp(config, "rampup_steps", config.rampup_steps, training, typed)
        check_ramp(config, "rampdown_steps", config.rampdown_steps, training, typed)
        check_starts(config, 0 if config.rampup_epochs else config.rampup_steps, training, typed)


def _flag(config, name):
    """A flag as it is given."""
    value = getattr(config, name)
    return f"--{'' if value else 'no'}{name}" if isinstance(value, bool) else f"--{name}={value}"


def _changed(config, names):
    """Those of some flags that are not at their defaults, as they are given."""
    return [_flag(config, name) for name in names if getattr(config, name) != _DEFAULTS[name]]


def _check_uses(config):
    for name, (other, value, without_effect) in _ONLY_WITH.items():
        found, needed = getattr(config, name), getattr(config, other)
        if found != without_effect and needed != value:
            flag = "dataset" if other == "dataset_name" else other
            raise UsageError(f"--{name}={found} needs --{flag}={value}, not {needed}")
    for name, (other, at, without_effect) in _NOT_WITHOUT.items():
        if getattr(config, name) != without_effect and getattr(config, other) == at:
            raise UsageError(f"{_flag(config, name)} needs --{other}")
    for pair in _EITHER:
        if len(both := _changed(config, pair)) == 2:
            raise UsageError(f"{both[0]} and {both[1]} exclude each other; give one of them")
    if config.logical_devices and config.strategy == "none":
        raise UsageError(f"--logical_devices={config.logical_devices} needs a --strategy that uses them, not none")
    if config.blocks and config.architecture == "convnet13":
        raise UsageError(f"--blocks={config.blocks} needs a residual network, not --architecture=convnet13")
    if config.learning_rate_schedule == "cosine" and not config.cosine_epochs:
        raise UsageError("--learning_rate_schedule=cosine needs --cosine_epochs above 0")
    if config.training_epochs == 0:
        raise UsageError("--training_epochs=0.0 must be above 0")
    if config.logit_distance_weight and config.num_heads == 1:
        raise UsageError(f"--logit_distance_weight={config.logit_distance_weight} needs --num_heads=2")


def _check_batches(config):
    labeled, size = config.labeled, config.batch_size
    if isinstance(labeled, int) and labeled > size:
        raise UsageError(f"--labeled_per_batch={labeled} is above --batch_size={size}")
    if config.separate_passes and not (isinstance(labeled, int) and labeled < size):
        raise UsageError(f"--separate_passes needs a number of --labeled_per_batch below --batch_size, not {labeled}")
    if config.unlabeled_stream == "unlabeled" and not isinstance(labeled, int):
        raise UsageError(f"--unlabeled_stream=unlabeled needs a number of --labeled_per_batch, not {labeled}")


def _check_labels(config):
    labels, labeled, size = config.labels, config.labeled, config.batch_size
    if config.method == "supervised":
        return
    if labeled in ("all", size) and labels != "all":
        raise UsageError(
            f"--method={config.method} needs unlabeled examples; --labeled_per_batch={labeled} shows labeled ones "
            "only, give a smaller number or vary"
        )
    shown = ("all", size) if config.num_extra_unlabeled else ("all", "vary", size)
    if labels == "all" and labeled in shown:
        alone = [name for name in _OF_UNLABELED if not (name == "mixing" and config.mix_labels)]
        for needs in _changed(config, ["consistency_on_labeled", *alone]):
            raise UsageError(
                f"{needs} needs examples without a label; --num_labels=all with --labeled_per_batch={labeled} leaves "
                "none"
            )


def _check_views(config):
    if config.augmentation == "imagenet" and config.method == "temporal_ensembling":
        raise UsageError(
            "--augmentation=imagenet has two views and --method=temporal_ensembling a pass for one; give another "
            "--method, or --augmentation=network"
        )
    if config.strong_augmentation == "none":
        return
    strong, labeled = _flag(config, "strong_augmentation"), config.labeled
    if config.augmentation == "imagenet":
        raise UsageError(f"{strong} and --augmentation=imagenet, which has two views, exclude each other")
    if not config.strong_on_labeled and not (isinstance(labeled, int) and labeled < config.batch_size):
        raise UsageError(
            f"--nostrong_on_labeled needs a number of --labeled_per_batch below --batch_size, not {labeled}"
        )
    if config.strong_augmentation == "randaugment" and config.jit_compile == "true":
        raise UsageError(f"{strong} has operations that XLA lacks; --jit_compile=true must be auto or false")


def _check_targets(config):
    method = config.method
    if method == "vat" and not config.perturbation_epsilon:
        raise UsageError("--method=vat needs --perturbation_epsilon above 0")
    if config.perturbation_epsilon and method not in ("mean_teacher", "vat"):
        raise UsageError(
            f"{_flag(config, 'perturbation_epsilon')} needs --method=mean_teacher or vat, whose target is there before "
            f"the student's pass, not {method}"
        )
    if config.mixing != "none" and method == "temporal_ensembling":
        raise UsageError(f"--mixing={config.mixing} can't be used with --method={method}, which has no target for it")
    if method == "supervised":
        if config.mixing != "none" and not config.mix_labels:
            raise UsageError(f"--mixing={config.mixing} mixes nothing with --method=supervised; give --mix_labels")
        for given in _changed(config, _OF_CONSISTENCY):
            raise UsageError(f"{given} needs a --method with a consistency cost, not supervised")
    if config.uncertainty_passes and not _teacher_is_noisy(config):
        raise UsageError(
            f"{_flag(config, 'uncertainty_passes')} needs a teacher with noise, such as --teacher_dropout or "
            "--input_noise above 0; without it all passes are the same"
        )
    if config.statistics_of == "unlabeled" and not config.separate_passes:
        raise UsageError("--statistics_of=unlabeled needs --separate_passes; else all rows share their statistics")
    if config.statistics_of == "unlabeled" and config.unlabeled_stream == "all":
        raise UsageError(
            "--statistics_of=unlabeled needs --unlabeled_stream=unlabeled; else labeled examples are drawn among the "
            "unlabeled"
        )
    if config.teacher_sees == "unlabeled":
        if config.consistency_on_labeled:
            raise UsageError("--teacher_sees=unlabeled needs --noconsistency_on_labeled")
        if method in ("supervised", "temporal_ensembling"):
            raise UsageError(f"--teacher_sees=unlabeled needs a --method with a pass for the target, not {method}")


def _teacher_is_noisy(config):
    own = {"convnet13": bool(config.teacher_dropout), "shake_shake26": True}.get(config.architecture, False)
    return own or bool(config.input_noise or config.translate or config.flip)


def check_one_size(config: Config) -> None:
    """Checks what images of one size, which are held in memory, can be asked for.

    Raises:
        UsageError: If something needs images that are read from disk and resized.
    """
    for name, default in (("augmentation", "network"), ("labels_file", None)):
        if getattr(config, name) != default:
            raise UsageError(
                f"--{name}={getattr(config, name)} needs images of any size (--dataset=folder or imagenet2012), not "
                f"--dataset={config.dataset}"
            )
    if config.image_size and config.dataset != "digits":
        raise UsageError(f"--image_size={config.image_size} needs images that can be resized, not {config.dataset}")
    if config.image_size not in (None, 16, 32):
        raise UsageError(f"--image_size={config.image_size} must be 16 or 32 for digits")


def check_ramp(config: Config, name: str, steps: int, training_steps: int, typed: Set[str]) -> None:
    """Checks that a ramp ends within the run.

    Args:
        config: The configuration.
        name: The ramp's field.
        steps: Its length.
        training_steps: Length of the run.
        typed: Names of the flags on the command line itself.

    Raises:
        UsageError: If it does not, and ramps may not be cut off.
    """
    if steps <= training_steps:
        return
    found = f"--{name}={getattr(config, name)} is above --training_steps={training_steps}"
    if config.ramps_cut_off and name not in typed:
        print(f"warning: {found}: the ramp is cut off", file=sys.stderr)
    else:
        raise UsageError(f"{found}; a ramp must end within the run")


def check_cosine(config: Config, cosine_steps: int, training_steps: int) -> None:
    """Checks that the cosine of the learning rate lasts as long as the run, but for 1 %: epochs are rounded.

    Args:
        config: The configuration.
        cosine_steps: Where it reaches 0.
        training_steps: Length of the run.

    Raises:
        UsageError: If more than that would be trained with a learning rate of 0.
    """
    if config.learning_rate_schedule == "cosine" and cosine_steps < 0.99 * training_steps:
        raise UsageError(
            f"--cosine_epochs={config.cosine_epochs} ends before --training_steps={training_steps}; the learning rate "
            f"would be 0 from step {cosine_steps} on"
        )


def check_starts(config: Config, rampup_steps: int, training_steps: int, typed: Set[str]) -> None:
    """Checks that what starts late does so within the run.

    Args:
        config: The configuration.
        rampup_steps: Length of the ramp-up.
        training_steps: Length of the run.
        typed: Names of the flags on the command line itself.

    Raises:
        UsageError: If it does not, and ramps may not be cut off.
    """
    ends = {"ema_start_step": config.ema_start_step}
    if config.consistency_start_step:
        ends["consistency_start_step"] = config.consistency_start_step + rampup_steps
    for name, end in ends.items():
        if end <= training_steps:
            continue
        what = "the ramp-up after it ends" if end > getattr(config, name) else "it is"
        found = f"{_flag(config, name)}: {what} above --training_steps={training_steps}"
        if config.ramps_cut_off and name not in typed:
            print(f"warning: {found}", file=sys.stderr)
        else:
            raise UsageError(found)
