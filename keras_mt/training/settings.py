"""The flags of an experiment, named after the paper's quantities, and the checks between them."""

import math
import sys

from absl import flags

from keras_mt.architectures import ARCHITECTURES
from keras_mt.mean_teacher import METHODS
from keras_mt.training.program import UsageError
from keras_mt.twin import TEACHER_STATISTICS

FLAGS = flags.FLAGS
# Where a run is kept and where its data lie do not make it another experiment.
NOT_OF_THE_EXPERIMENT = ("run_dir", "data_dir", "cache_dir", "checkpoint_steps")


def define() -> None:
    """Defines all flags of the training program."""
    text, whole, real, yes_no = flags.DEFINE_string, flags.DEFINE_integer, flags.DEFINE_float, flags.DEFINE_bool

    text(
        "run_dir",
        None,
        "Folder of the run: flags, events, evaluations, checkpoints, curves, exported teacher, results.",
    )
    text("dataset", "digits", "digits (installed with scikit-learn), svhn_cropped, cifar10 or any TFDS image data set.")
    text("data_dir", None, "Folder of TensorFlow Datasets, or of SVHN's original .mat files.")
    text("cache_dir", "~/.cache/keras_mt", "Folder for what is made once of a data set: decoded images, ZCA.")
    text("num_labels", "all", "Number of labeled training examples, the same of each class; or all.")
    whole("num_extra_unlabeled", 0, "Images of SVHN's split extra added without labels.", lower_bound=0)
    whole("data_seed", 0, "Names the split: which examples are labeled or held out.", 0, 2**31 - 1)
    flags.DEFINE_enum(
        "phase", "test", ["test", "validation"], "Evaluate on the test split or on held-out training images."
    )
    whole("num_validation", None, "Images held out in the validation phase; default: a tenth.", lower_bound=1)
    flags.DEFINE_enum("image_size", "16", ["16", "32"], "Height and width of the digits.")

    whole("seed", 0, "Seed of initial weights, batches and noise.", 0, 2**31 - 1)
    flags.DEFINE_enum("method", "mean_teacher", METHODS, "What the consistency target is.")
    flags.DEFINE_enum("architecture", "convnet13", list(ARCHITECTURES), "The network.")
    real("width", 1.0, "Multiplies the network's channel counts; 1.0 is the paper's.", 0.01, 16.0)
    whole("num_heads", 1, "1, or 2 for a head of its own for the consistency cost.", 1, 2)
    flags.DEFINE_enum(
        "preprocessing", "auto", ["auto", "standardize", "zca", "none"], "auto: zca for cifar10, else standardize."
    )
    real("mean_momentum", 0.999, "Momentum of the running means of mean-only batch normalization.", 0.0, 1.0)
    flags.DEFINE_enum(
        "teacher_statistics",
        "own",
        TEACHER_STATISTICS,
        "The teacher's running statistics: own passes, or the student's.",
    )
    flags.DEFINE_enum("precision", "float32", ["float32", "bfloat16", "float16"], "Of the network's inner layers.")
    flags.DEFINE_enum(
        "jit_compile", "auto", ["auto", "true", "false"], "Whether XLA compiles the step; auto: on GPUs, not on CPUs."
    )

    whole("batch_size", 100, "Examples per batch, labeled and unlabeled.", 1)
    text("labeled_per_batch", "all", "Labeled examples per batch; vary: as drawn from all examples; all: labeled only.")
    whole("training_steps", 2000, "Length of the run in optimizer steps.", 1)
    whole("rampup_steps", 500, "Length of the sigmoid ramp-up of learning rate and consistency weight.", 0)
    whole("rampdown_steps", 0, "Length of the ramp-down of learning rate and Adam's beta 1 at the end.", 0)
    whole("evaluation_steps", 500, "Steps between evaluations.", 1)
    whole("checkpoint_steps", None, "Steps between checkpoints; default: those of --evaluation_steps.", 1)

    real("max_learning_rate", 0.003, "Learning rate between the ramps.", 0.0, 100.0)
    real("adam_beta_2_during_rampup", 0.99, "Adam's beta 2 during the ramp-up.", 0.0, 0.9999999)
    real("adam_beta_2_after_rampup", 0.999, "Adam's beta 2 after it.", 0.0, 0.9999999)
    real("max_consistency_weight", 0.0, "Consistency weight after the ramp-up; MSE is averaged over classes.", 0.0, 1e9)
    real("consistency_trust", 0.0, "From 0 (MSE) to 1 (scaled KL divergence).", 0.0, 1.0)
    real("ensembling_momentum", 0.6, "Momentum of temporal ensembling's average of predictions.", 0.0, 0.9999999)
    yes_no("consistency_on_labeled", True, "Whether labeled examples take part in the consistency cost.")
    real("logit_distance_weight", 0.0, "Weight of the squared distance between two heads.", 0.0, 1e9)
    real("ema_decay_during_rampup", 0.99, "Decay of the teacher's average during the ramp-up.", 0.0, 0.9999999)
    real("ema_decay_after_rampup", 0.999, "Decay after it.", 0.0, 0.9999999)
    yes_no("ema_warmup", False, "Whether the decay is at most 1 - 1/(t+1) at step t.")

    real("student_dropout", 0.5, "Dropout rate of the student.", 0.0, 0.99)
    real("teacher_dropout", 0.5, "Dropout rate of the teacher.", 0.0, 0.99)
    real("input_noise", 0.15, "Standard deviation of the Gaussian input noise.", 0.0, 100.0)
    whole("translate", 2, "Largest random translation per axis, in pixels.", 0, 64)
    yes_no("flip", False, "Whether images are flipped horizontally at random.")


def labels_wanted() -> int | str:
    """Returns --num_labels as a number, or `"all"`."""
    return _number_or_word("num_labels", ("all",))


def labeled_per_batch() -> int | str:
    """Returns --labeled_per_batch as a number, `"vary"` or `"all"`."""
    return _number_or_word("labeled_per_batch", ("vary", "all"))


def checkpoint_steps() -> int:
    """Returns the steps between checkpoints."""
    return FLAGS.checkpoint_steps or FLAGS.evaluation_steps


def jit_compile() -> bool | str:
    """Returns --jit_compile as `keras.Model.compile` takes it."""
    return {"auto": "auto", "true": True, "false": False}[FLAGS.jit_compile]


def _number_or_word(name, words):
    value = getattr(FLAGS, name)
    if value in words:
        return value
    if not value.isdecimal() or int(value) < 1:
        raise UsageError(f"--{name}={value} must be a positive number or {' or '.join(words)}")
    return int(value)


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
    labels = labels_wanted()
    labeled = labeled_per_batch()
    if isinstance(labeled, int) and labeled > FLAGS.batch_size:
        raise UsageError(f"--labeled_per_batch={labeled} is above --batch_size={FLAGS.batch_size}")
    for ramp in ("rampup_steps", "rampdown_steps"):
        _check_ramp(ramp)
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


def _check_ramp(name):
    if getattr(FLAGS, name) <= FLAGS.training_steps:
        return
    found = f"--{name}={getattr(FLAGS, name)} is above --training_steps={FLAGS.training_steps}"
    given = {argument.lstrip("-").split("=")[0] for argument in sys.argv[1:]}
    # A flagfile of the paper made short on the command line is how a run is tried out.
    if "flagfile" in given and "training_steps" in given and name not in given:
        print(f"warning: {found}: the ramp is cut off", file=sys.stderr)
    else:
        raise UsageError(f"{found}; a ramp must end within the run")


def of_the_experiment() -> dict:
    """Returns name and value of each flag that makes the experiment what it is."""
    return {name: getattr(FLAGS, name) for name in names() if name not in NOT_OF_THE_EXPERIMENT}


def names() -> list[str]:
    """Returns the names of all flags of the experiment, sorted."""
    return sorted(flag.name for flag in FLAGS.flags_by_module_dict()[__name__])
