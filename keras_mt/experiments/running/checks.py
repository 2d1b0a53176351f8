"""What must hold between flags."""

import math
import sys

from keras_mt.experiments.errors import UsageError
from keras_mt.experiments.running.settings import DEFAULT_STEPS, FLAGS, blocks, labeled_per_batch, labels_wanted, names

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
}


def check() -> None:
    """Checks the flags against each other.

    Raises:
        UsageError: With a sentence that names the flags.
    """
    if not FLAGS.run_dir:
        raise UsageError("--run_dir is missing; name a folder for this run")
    for name in names():
        value = getattr(FLAGS, name)
        if isinstance(value, float) and not math.isfinite(value):
            raise UsageError(f"--{name}={value} must be a finite number")
    _check_uses()
    labels = labels_wanted()
    labeled = labeled_per_batch()
    if isinstance(labeled, int) and labeled > FLAGS.batch_size:
        raise UsageError(f"--labeled_per_batch={labeled} is above --batch_size={FLAGS.batch_size}")
    if FLAGS.training_epochs is None:
        for ramp in ("rampup_steps", "rampdown_steps"):
            if ramp != "rampup_steps" or FLAGS.rampup_epochs is None:
                check_ramp(ramp, getattr(FLAGS, ramp), FLAGS.training_steps or DEFAULT_STEPS)
    if FLAGS.logit_distance_weight and FLAGS.num_heads == 1:
        raise UsageError(f"--logit_distance_weight={FLAGS.logit_distance_weight} needs --num_heads=2")
    if FLAGS.method != "supervised" and labeled in ("all", FLAGS.batch_size) and labels != "all":
        raise UsageError(
            f"--method={FLAGS.method} needs unlabeled examples; --labeled_per_batch={labeled} shows labeled ones only, "
            "give a smaller number or vary"
        )
    if FLAGS.num_validation is not None and FLAGS.phase != "validation":
        raise UsageError(f"--num_validation={FLAGS.num_validation} needs --phase=validation, not {FLAGS.phase}")
    shown = ("all", FLAGS.batch_size) if FLAGS.num_extra_unlabeled else ("all", "vary", FLAGS.batch_size)
    nothing_unlabeled = labels == "all" and labeled in shown
    if FLAGS.method != "supervised" and nothing_unlabeled and not FLAGS.consistency_on_labeled:
        raise UsageError(
            f"--noconsistency_on_labeled needs examples without a label; --num_labels=all with "
            f"--labeled_per_batch={labeled} leaves none"
        )


def _check_uses():
    for name, (other, value, without_effect) in _ONLY_WITH.items():
        if getattr(FLAGS, name) != without_effect and getattr(FLAGS, other) != value:
            raise UsageError(f"--{name}={getattr(FLAGS, name)} needs --{other}={value}, not {getattr(FLAGS, other)}")
    if blocks() and FLAGS.architecture == "convnet13":
        raise UsageError(f"--blocks={FLAGS.blocks} needs a residual network, not --architecture=convnet13")
    if FLAGS.learning_rate_schedule == "cosine" and not FLAGS.cosine_epochs:
        raise UsageError("--learning_rate_schedule=cosine needs --cosine_epochs above 0")
    if FLAGS.training_epochs == 0:
        raise UsageError("--training_epochs=0.0 must be above 0")
    k = labeled_per_batch()
    if FLAGS.separate_passes and not (isinstance(k, int) and k < FLAGS.batch_size):
        raise UsageError(f"--separate_passes needs a number of --labeled_per_batch below --batch_size, not {k}")
    if FLAGS.unlabeled_stream == "unlabeled" and not isinstance(k, int):
        raise UsageError(f"--unlabeled_stream=unlabeled needs a number of --labeled_per_batch, not {k}")


def check_ramp(name: str, steps: int, training_steps: int) -> None:
    """Checks that a ramp ends within the run.

    Args:
        name: The ramp's flag.
        steps: Its length.
        training_steps: Length of the run.

    Raises:
        UsageError: If it does not, and the run was not made short on the command line.
    """
    if steps <= training_steps:
        return
    value = getattr(FLAGS, name)
    found = f"--{name}={value} is above --training_steps={training_steps}"
    given = {argument.lstrip("-").split("=")[0] for argument in sys.argv[1:]}
    # A flagfile of the paper made short on the command line is how a run is tried out.
    if "flagfile" in given and "training_steps" in given and name not in given:
        print(f"warning: {found}: the ramp is cut off", file=sys.stderr)
    else:
        raise UsageError(f"{found}; a ramp must end within the run")
