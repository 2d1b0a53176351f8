"""The flags of an experiment, named after the paper's quantities."""

from absl import flags

from keras_mt.architectures import ARCHITECTURES
from keras_mt.callback import RAMPUPS
from keras_mt.experiments.errors import UsageError
from keras_mt.losses import REDUCTIONS
from keras_mt.mean_teacher import METHODS
from keras_mt.optimizers.nesterov_sgd import DECAYED
from keras_mt.teacher import TEACHER_STATISTICS

FLAGS = flags.FLAGS
DEFAULT_STEPS = 2000
# Where a run is kept and where its data lie do not make it another experiment.
NOT_OF_THE_EXPERIMENT = (
    "run_dir",
    "data_dir",
    "cache_dir",
    "checkpoint_steps",
    "strategy",
    "logical_devices",
    "worker_timeout",
)


def define() -> None:
    """Defines all flags of the training program."""
    text, whole, real, yes_no = flags.DEFINE_string, flags.DEFINE_integer, flags.DEFINE_float, flags.DEFINE_bool

    text(
        "run_dir",
        None,
        "Folder of the run: flags, events, evaluations, checkpoints, curves, exported teacher, results.",
    )
    text(
        "dataset",
        "digits",
        "digits (installed with scikit-learn), folder, svhn_cropped, cifar10 or any TFDS image set.",
    )
    text("data_dir", None, "Folder of TensorFlow Datasets, of SVHN's original .mat files, or of pictures.")
    text("cache_dir", "~/.cache/keras_mt", "Folder for what is made once of a data set: decoded images, ZCA.")
    text("num_labels", "all", "Number of labeled training examples, the same of each class; or all.")
    whole("num_extra_unlabeled", 0, "Images of SVHN's split extra added without labels.", lower_bound=0)
    whole("data_seed", 0, "Names the split: which examples are labeled or held out.", 0, 2**31 - 1)
    flags.DEFINE_enum(
        "phase", "test", ["test", "validation"], "Evaluate on the test split or on held-out training images."
    )
    whole("num_validation", None, "Images held out in the validation phase; default: a tenth.", lower_bound=1)
    whole("image_size", None, "Height and width: digits 16 (default) or 32; images that differ in size, 224.", 8, 1024)
    flags.DEFINE_enum(
        "augmentation",
        "network",
        ["network", "imagenet"],
        "network: its layers translate and flip; imagenet: rotation, crop, flip, colors, if images differ in size.",
    )
    text(
        "labels_file",
        None,
        "File that names the labeled images, one a line; --dataset=folder: or a .csv of pictures and their classes.",
    )

    whole("seed", 0, "Seed of initial weights, batches and noise.", 0, 2**31 - 1)
    flags.DEFINE_enum("method", "mean_teacher", METHODS, "What the consistency target is.")
    flags.DEFINE_enum("architecture", "convnet13", list(ARCHITECTURES), "The network.")
    text("blocks", None, "Residual networks: blocks of each stage, such as 4,4,4; default: the published network.")
    real("width", 1.0, "Multiplies the network's channel counts; 1.0 is the paper's.", 0.01, 16.0)
    whole("num_heads", 1, "1, or 2 for a head of its own for the consistency cost.", 1, 2)
    flags.DEFINE_enum(
        "preprocessing",
        "auto",
        ["auto", "standardize", "zca", "channels", "none"],
        "standardize: each image; channels: each channel over the training images; auto: for convnet13 zca on cifar10, "
        "else standardize, for residual networks channels.",
    )
    real("mean_momentum", 0.999, "Momentum of the running means of mean-only batch normalization.", 0.0, 1.0)
    flags.DEFINE_enum(
        "teacher_statistics",
        "own",
        TEACHER_STATISTICS,
        "The teacher's running statistics: own passes, or the student's.",
    )
    yes_no("synchronized_statistics", True, "Whether batch statistics are those of all replicas, or each its own.")
    flags.DEFINE_enum("precision", "float32", ["float32", "bfloat16", "float16"], "Of the network's inner layers.")
    flags.DEFINE_enum(
        "jit_compile", "auto", ["auto", "true", "false"], "Whether XLA compiles the step; auto: on GPUs, not on CPUs."
    )

    flags.DEFINE_enum(
        "strategy",
        "auto",
        ["auto", "none", "mirrored", "multi_worker"],
        "mirrored: all devices of this machine; multi_worker: those of all machines that TF_CONFIG names; auto: what "
        "there is several of.",
    )
    whole("logical_devices", 0, "Splits the CPU into so many devices: to try a strategy without GPUs.", 0, 64)
    whole(
        "num_threads",
        0,
        "Threads of the step on the CPU; 0: one a core. Sums of other threads differ in their last bits, so this is of "
        "the experiment.",
        0,
        1024,
    )
    real("worker_timeout", 600.0, "Seconds without progress after which a worker of several ends.", 1.0, 1e6)

    whole("batch_size", 100, "Examples per batch, labeled and unlabeled.", 1)
    text("labeled_per_batch", "all", "Labeled examples per batch; vary: as drawn from all examples; all: labeled only.")
    flags.DEFINE_enum(
        "unlabeled_stream",
        "all",
        ["all", "unlabeled"],
        "What is drawn beside labeled examples: all examples or others.",
    )
    yes_no("separate_passes", False, "Whether labeled and unlabeled examples pass apart, each with its statistics.")
    whole("training_steps", None, "Length of the run in optimizer steps; default 2000, or --training_epochs.", 1)
    real("training_epochs", None, "The same in epochs: passes of the unlabeled stream.", 0.0, 1e9)
    whole("rampup_steps", 500, "Length of the ramp-up of consistency weight and (sigmoid schedule) learning rate.", 0)
    real("rampup_epochs", None, "The same in epochs; wins over --rampup_steps.", 0.0, 1e9)
    whole("rampdown_steps", 0, "Length of the ramp-down of learning rate and Adam's beta 1 at the end.", 0)
    yes_no("top5_error", False, "Whether evaluations also tell the error among the first five classes.")
    whole("evaluation_steps", 500, "Steps between evaluations.", 1)
    whole("checkpoint_steps", None, "Steps between checkpoints; default: those of --evaluation_steps.", 1)

    real("max_learning_rate", 0.003, "Learning rate between the ramps.", 0.0, 100.0)
    flags.DEFINE_enum(
        "learning_rate_schedule",
        "sigmoid",
        ["sigmoid", "cosine", "seven_sixteenths_cosine"],
        "sigmoid: up and down over --rampup_steps and --rampdown_steps; cosine: to 0 at --cosine_epochs; "
        "seven_sixteenths_cosine: cos(7πt/16T) over the run.",
    )
    real("cosine_epochs", None, "Where the cosine reaches 0, after the end of the run.", 0.0, 1e9)
    real("learning_rate_rampup_epochs", 0.0, "Length of the linear warm-up before the cosine.", 0.0, 1e9)
    real("initial_learning_rate", 0.0, "Where the warm-up begins.", 0.0, 100.0)
    flags.DEFINE_enum("optimizer", "adam", ["adam", "sgd"], "sgd: with Nesterov momentum.")
    real("sgd_momentum", 0.9, "Momentum of sgd.", 0.0, 0.9999999)
    real("weight_decay", 0.0, "Of sgd: λ in g + λθ.", 0.0, 100.0)
    flags.DEFINE_enum("weight_decay_on", "all", list(DECAYED), "Which parameters decay.")
    real("adam_beta_2_during_rampup", 0.99, "Adam's beta 2 during the ramp-up.", 0.0, 0.9999999)
    real("adam_beta_2_after_rampup", 0.999, "Adam's beta 2 after it.", 0.0, 0.9999999)
    real("max_consistency_weight", 0.0, "Consistency weight after the ramp-up; MSE is averaged over classes.", 0.0, 1e9)
    flags.DEFINE_enum("consistency_rampup", "sigmoid", list(RAMPUPS), "Shape of the consistency weight's ramp-up.")
    flags.DEFINE_enum("consistency", "trust", ["trust", "kl"], "trust: see --consistency_trust; kl: KL divergence.")
    real("consistency_trust", 0.0, "From 0 (MSE) to 1 (scaled KL divergence).", 0.0, 1.0)
    real("ensembling_momentum", 0.6, "Momentum of temporal ensembling's average of predictions.", 0.0, 0.9999999)
    yes_no("consistency_on_labeled", True, "Whether labeled examples take part in the consistency cost.")
    flags.DEFINE_enum(
        "averaged_over", "batch", list(REDUCTIONS), "Costs are divided by the batch size or by who takes part in them."
    )
    real("logit_distance_weight", 0.0, "Weight of the squared distance between two heads.", 0.0, 1e9)
    flags.DEFINE_enum("logit_distance_over", "sum", ["sum", "mean"], "Over classes.")
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


def image_size(streamed: bool) -> int:
    """Returns --image_size or its default."""
    if streamed:
        return FLAGS.image_size or 224
    if FLAGS.image_size and FLAGS.dataset != "digits":
        raise UsageError(f"--image_size={FLAGS.image_size} needs images that can be resized, not {FLAGS.dataset}")
    if FLAGS.image_size not in (None, 16, 32):
        raise UsageError(f"--image_size={FLAGS.image_size} must be 16 or 32 for digits")
    return FLAGS.image_size or 16


def blocks() -> tuple[int, ...] | None:
    """Returns --blocks as numbers."""
    if FLAGS.blocks is None:
        return None
    parts = FLAGS.blocks.split(",")
    if not all(part.isdecimal() and int(part) for part in parts):
        raise UsageError(f"--blocks={FLAGS.blocks} must be positive numbers, such as 4,4,4")
    return tuple(int(part) for part in parts)


def of_the_experiment() -> dict:
    """Returns name and value of each flag that makes the experiment what it is."""
    return {name: getattr(FLAGS, name) for name in names() if name not in NOT_OF_THE_EXPERIMENT}


def names() -> list[str]:
    """Returns the names of all flags of the experiment, sorted."""
    return sorted(flag.name for flag in FLAGS.flags_by_module_dict()[__name__])
