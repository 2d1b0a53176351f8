"""What must hold between the fields of a configuration, as far as it can be seen without the data."""

import sys
from collections.abc import Set

from keras_mt.experiments.config import DEFAULT_STEPS, Config
from keras_mt.experiments.errors import UsageError

# Flags that only one value of another flag has a use for, with the values at which they do nothing.
_ONLY_WITH = {
    "student_dropout": ("architecture", "convnet13", 0.5),
    "teacher_dropout": ("architecture", "convnet13", 0.5),
    "mean_momentum": ("architecture", "convnet13", 0.999),
    "weight_decay": ("optimizer", "sgd", 0.0),
    "cosine_epochs": ("learning_rate_schedule", "cosine", None),
    "learning_rate_rampup_epochs": ("learning_rate_schedule", "cosine", 0.0),
    "initial_learning_rate": ("learning_rate_schedule", "cosine", 0.0),
    "rampdown_steps": ("learning_rate_schedule", "sigmoid", 0),
    "num_extra_unlabeled": ("dataset", "svhn_cropped", 0),
    "num_validation": ("phase", "validation", None),
}
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
    if config.dataset in _OF_ONE_SIZE:
        check_one_size(config)


def check_ramps(config: Config, typed: Set[str] = frozenset()) -> None:
    """Checks that ramps end within a run, as far as their lengths are in steps; see `check_ramp`."""
    if config.training_epochs is None or config.training_steps:
        training = config.training_steps or DEFAULT_STEPS
        if config.rampup_epochs is None:
            check_ramp(config, "rampup_steps", config.rampup_steps, training, typed)
        check_ramp(config, "rampdown_steps", config.rampdown_steps, training, typed)


def _check_uses(config):
    for name, (other, value, without_effect) in _ONLY_WITH.items():
        found, needed = getattr(config, name), getattr(config, other)
        if found != without_effect and needed != value:
            raise UsageError(f"--{name}={found} needs --{other}={value}, not {needed}")
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
    if labels == "all" and labeled in shown and not config.consistency_on_labeled:
        raise UsageError(
            f"--noconsistency_on_labeled needs examples without a label; --num_labels=all with "
            f"--labeled_per_batch={labeled} leaves none"
        )


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
        UsageError: If it does not, and the run was not made short on the command line.
    """
    if steps <= training_steps:
        return
    found = f"--{name}={getattr(config, name)} is above --training_steps={training_steps}"
    # A published flagfile made short on the command line is how a run is tried out.
    if {"flagfile", "training_steps"} <= typed and name not in typed:
        print(f"warning: {found}: the ramp is cut off", file=sys.stderr)
    else:
        raise UsageError(f"{found}; a ramp must end within the run")
