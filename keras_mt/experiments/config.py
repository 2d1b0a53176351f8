"""The configuration of an experiment: everything that a run is told, in the order in which it is used.

One source: the command line's flags are defined from these fields, parsed into a `Config`, handed down, and written to
the run's flagfile. `keras_mt.experiments.checks` knows what must hold between fields. Nothing is imported here that
would take time: choices are literals, and a test holds them equal to the library's.
"""

import dataclasses
import functools
import hashlib
import json
import os

from keras_mt.experiments.errors import UsageError
from keras_mt.experiments.options import Options, counted, is_count, option

DEFAULT_STEPS = 2000
_LARGEST_SEED = 2**31 - 1
_MOST_EXAMPLES = 10**9
_MOST_STEPS = 10**9
_MOST_EPOCHS = 1e9
_BELOW_ONE = 0.9999999

_run, _data, _network, _method, _schedule, _optimizer, _evaluation, _machine = (
    functools.partial(option, group)
    for group in ("run", "data", "network", "method", "schedule", "optimizer", "evaluation", "machine")
)


@dataclasses.dataclass(frozen=True)
class Config(Options):
    """One experiment and where it is run. Fields are named after the quantities of Tarvainen & Valpola (2017).

    Raises:
        UsageError: If a value is out of bounds or no choice, naming the flag.
    """

    run_dir: str | None = _run(
        None,
        "Folder of the run: flags, events, evaluations, checkpoints, curves, exported teacher, results.",
        of_the_experiment=False,
        path=True,
    )
    seed: int = _run(
        0,
        "Seed of the experiment: initial weights, batches and noise. Which examples are labeled is --data_seed's.",
        0,
        _LARGEST_SEED,
    )

    ramps_cut_off: bool = _run(
        False,
        "Whether the end of the run may cut ramps off. On where --training_steps follows a --flagfile.",
        of_the_experiment=False,
    )

    dataset: str = _data(
        "digits", "digits (installed with scikit-learn), folder, svhn_cropped, cifar10 or any TFDS image set."
    )
    data_dir: str | None = _data(
        None,
        "Folder of TensorFlow Datasets, of SVHN's original .mat files, or of pictures.",
        of_the_experiment=False,
        path=True,
    )
    cache_dir: str = _data(
        "~/.cache/keras_mt",
        "Folder for what is made once of a data set: decoded images, ZCA.",
        of_the_experiment=False,
        path=True,
    )
    data_seed: int = _data(
        0,
        "Seed of the split: which examples are labeled or held out. Weights, batches and noise are --seed's.",
        0,
        _LARGEST_SEED,
    )
    num_labels: str = _data(
        "all", "Number of labeled training examples, the same of each class; or all.", words=("all",)
    )
    labels_file: str | None = _data(
        None,
        "File that names the labeled images, one a line; --dataset=folder: or a .csv of pictures and their classes.",
        path=True,
    )
    num_extra_unlabeled: int = _data(0, "Images of SVHN's split extra added without labels.", 0, _MOST_EXAMPLES)
    phase: str = _data(
        "test", "Evaluate on the test split or on held-out training images.", choices=("test", "validation")
    )
    num_validation: int | None = _data(
        None, "Images held out in the validation phase; default: a tenth.", 1, _MOST_EXAMPLES
    )
    image_size: int | None = _data(
        None, "Height and width: digits 16 (default) or 32; images that differ in size, 224.", 8, 1024
    )
    augmentation: str = _data(
        "network",
        "network: its layers translate and flip; imagenet: rotation, crop, flip, colors, if images differ in size.",
        choices=("network", "imagenet"),
    )
    batch_size: int = _data(100, "Examples per batch, labeled and unlabeled.", 1, 1_000_000)
    labeled_per_batch: str = _data(
        "all",
        "Labeled examples per batch; vary: as drawn from all examples; all: labeled only.",
        words=("vary", "all"),
    )
    unlabeled_stream: str = _data(
        "all", "What is drawn beside labeled examples: all examples or others.", choices=("all", "unlabeled")
    )

    architecture: str = _network(
        "convnet13", "The network.", choices=("convnet13", "shake_shake26", "resnext152", "wide_resnet28")
    )
    blocks: str | None = _network(
        None, "Residual networks: blocks of each stage, such as 4,4,4; default: the published network."
    )
    width: float = _network(1.0, "Multiplies the network's channel counts; 1.0 is the published network.", 0.01, 16.0)
    num_heads: int = _network(1, "1, or 2 for a head of its own for the consistency cost.", 1, 2)
    preprocessing: str = _network(
        "auto",
        "standardize: each image; channels: each channel over the training images; auto: for convnet13 zca on cifar10, "
        "else standardize, for residual networks channels.",
        choices=("auto", "standardize", "zca", "channels", "none"),
    )
    translate: int = _network(2, "Largest random translation per axis, in pixels.", 0, 64)
    flip: bool = _network(False, "Whether images are flipped horizontally at random.")
    strong_augmentation: str = _network(
        "none",
        "The student's view alone, before all else: erasing: a gray rectangle; randaugment: two operations drawn for "
        "each image, then a gray rectangle.",
        choices=("none", "erasing", "randaugment"),
    )
    strong_on_labeled: bool = _network(True, "Whether the student's labeled examples are augmented so, too.")
    input_noise: float = _network(0.15, "Standard deviation of the Gaussian input noise.", 0.0, 100.0)
    student_dropout: float = _network(0.5, "Dropout rate of the student.", 0.0, 0.99)
    teacher_dropout: float = _network(0.5, "Dropout rate of the teacher.", 0.0, 0.99)
    mean_momentum: float = _network(0.999, "Momentum of the running means of mean-only batch normalization.", 0.0, 1.0)
    synchronized_statistics: bool = _network(
        True, "Whether batch statistics are those of all replicas, or each its own."
    )
    precision: str = _network("float32", "Of the network's inner layers.", choices=("float32", "bfloat16", "float16"))

    method: str = _method(
        "mean_teacher",
        "What the consistency target is; vat: the student itself, at the example without --perturbation_epsilon.",
        choices=("mean_teacher", "pi", "temporal_ensembling", "vat", "supervised"),
    )
    max_consistency_weight: float = _method(
        0.0, "Consistency weight after the ramp-up; MSE is averaged over classes.", 0.0, 1e9
    )
    consistency: str = _method("trust", "trust: see --consistency_trust; kl: KL divergence.", choices=("trust", "kl"))
    consistency_trust: float = _method(0.0, "From 0 (MSE) to 1 (scaled KL divergence).", 0.0, 1.0)
    consistency_on_labeled: bool = _method(True, "Whether the consistency cost is also that of labeled examples.")
    averaged_over: str = _method(
        "batch",
        "batch: costs are divided by the batch size; participants: by the number of examples that have the cost.",
        choices=("batch", "participants"),
    )
    separate_passes: bool = _method(
        False, "Whether labeled and unlabeled examples are forwarded separately, each with its statistics."
    )
    statistics_of: str = _method(
        "labeled",
        "Of separate passes, whose update running statistics; unlabeled: for labels in one domain only.",
        choices=("labeled", "unlabeled"),
    )
    teacher_sees: str = _method(
        "all", "Rows of a batch that the teacher is given; unlabeled is cheaper.", choices=("all", "unlabeled")
    )
    mixing: str = _method(
        "none",
        "How the student's unlabeled examples are mixed, and their targets alike: interpolation of whole images, or "
        "cutmix: a box from another one.",
        choices=("none", "interpolation", "cutmix"),
    )
    mixing_alpha: float = _method(1.0, "α of the Beta distribution of shares.", 0.001, 1e6)
    mixing_share: float | None = _method(None, "A fixed share of what is kept, instead of a draw.", 0.0, 1.0)
    mix_labels: bool = _method(False, "Whether labeled examples and their labels are mixed, too.")
    confidence_threshold: float = _method(
        0.0, "Smallest probability of the target's largest class at which an example has the cost.", 0.0, 1.0
    )
    sharpening_temperature: float = _method(1.0, "T of sharpened targets p^(1/T) / Σ p^(1/T).", 0.01, 100.0)
    hard_targets: bool = _method(False, "Whether targets are the most likely class alone.")
    perturbation_epsilon: float = _method(
        0.0,
        "Length of the virtual adversarial perturbation of an image, in pixel values from 0 to 255; 0: none.",
        0.0,
        1e6,
    )
    perturbation_xi: float = _method(1.0, "Length of the step at which its gradient is taken.", 0.001, 1e6)
    uncertainty_passes: int = _method(
        0,
        "Noisy passes of the teacher that say where it is certain; the threshold grows over the whole run; 0: none.",
        0,
        100,
    )
    class_balance: float = _method(
        0.0, "Weight, under the consistency weight, of pulling the mean prediction to all classes alike.", 0.0, 1e6
    )
    logit_distance_weight: float = _method(0.0, "Weight of the squared distance between two heads.", 0.0, 1e9)
    logit_distance_over: str = _method("sum", "Over classes.", choices=("sum", "mean"))
    ensembling_momentum: float = _method(
        0.6, "Momentum of temporal ensembling's average of predictions.", 0.0, _BELOW_ONE
    )
    ema_decay_during_rampup: float = _method(
        0.99, "Decay of the teacher's average during the ramp-up.", 0.0, _BELOW_ONE
    )
    ema_decay_after_rampup: float = _method(0.999, "Decay after it.", 0.0, _BELOW_ONE)
    ema_warmup: bool = _method(False, "Whether the decay is at most 1 - 1/(t+1) at step t.")
    ema_warmup_power: float | None = _method(
        None, "Power p, where the decay is at most 1 - (1+t)^-p at step t.", 0.01, 1.0
    )
    ema_every: int = _method(1, "Optimizer steps between updates of the teacher's average.", 1, _MOST_STEPS)
    second_ema_decay: float | None = _method(
        None,
        "Decay of a second, longer average beside the teacher, which is evaluated, predicts and is exported.",
        0.0,
        _BELOW_ONE,
    )
    teacher_statistics: str = _method(
        "auto",
        "The teacher's running statistics: own passes, or the student's, averaged (ema) or copied; auto: own, or "
        "copied where no pass of the teacher moves them.",
        choices=("auto", "own", "ema", "copy"),
    )

    training_steps: int | None = _schedule(
        None,
        f"Length of the run in optimizer steps; default {DEFAULT_STEPS}, or --training_epochs.",
        1,
        _MOST_STEPS,
    )
    training_epochs: float | None = _schedule(
        None, "The same in epochs: passes of the unlabeled stream.", 0.0, _MOST_EPOCHS
    )
    rampup_steps: int = _schedule(
        500,
        "Length of the ramp-up of consistency weight and (sigmoid schedule) learning rate.",
        0,
        _MOST_STEPS,
    )
    rampup_epochs: float | None = _schedule(None, "The same in epochs; wins over --rampup_steps.", 0.0, _MOST_EPOCHS)
    rampdown_steps: int = _schedule(
        0, "Length of the ramp-down of learning rate and Adam's beta 1 at the end.", 0, _MOST_STEPS
    )
    consistency_rampup: str = _schedule(
        "sigmoid", "Shape of the consistency weight's ramp-up.", choices=("sigmoid", "linear", "none")
    )
    consistency_start_step: int = _schedule(
        0, "Step at which the consistency cost and its ramp-up begin.", 0, _MOST_STEPS
    )
    ema_start_step: int = _schedule(
        0, "Step until which the teacher is a copy of the student, and at which averaging begins.", 0, _MOST_STEPS
    )
    learning_rate_schedule: str = _schedule(
        "sigmoid",
        "sigmoid: up and down over --rampup_steps and --rampdown_steps; cosine: to 0 at --cosine_epochs; "
        "seven_sixteenths_cosine: cos(7πt/16T) over the run.",
        choices=("sigmoid", "cosine", "seven_sixteenths_cosine"),
    )
    cosine_epochs: float | None = _schedule(
        None, "Where the cosine reaches 0, after the end of the run.", 0.0, _MOST_EPOCHS
    )
    learning_rate_rampup_epochs: float = _schedule(
        0.0, "Length of the linear warm-up before the cosine.", 0.0, _MOST_EPOCHS
    )

    optimizer: str = _optimizer("adam", "sgd: with Nesterov momentum.", choices=("adam", "sgd"))
    max_learning_rate: float = _optimizer(0.003, "Learning rate between the ramps.", 0.0, 100.0)
    initial_learning_rate: float = _optimizer(0.0, "Where the warm-up before the cosine begins.", 0.0, 100.0)
    adam_beta_2_during_rampup: float = _optimizer(0.99, "Adam's beta 2 during the ramp-up.", 0.0, _BELOW_ONE)
    adam_beta_2_after_rampup: float = _optimizer(0.999, "Adam's beta 2 after it.", 0.0, _BELOW_ONE)
    sgd_momentum: float = _optimizer(0.9, "Momentum of sgd.", 0.0, _BELOW_ONE)
    weight_decay: float = _optimizer(0.0, "Of sgd: λ in g + λθ.", 0.0, 100.0)
    weight_decay_on: str = _optimizer("all", "Which parameters decay.", choices=("all", "kernels"))

    evaluation_steps: int = _evaluation(500, "Steps between evaluations.", 1, _MOST_STEPS)
    top5_error: bool = _evaluation(False, "Whether evaluations also tell the error among the first five classes.")

    checkpoint_steps: int | None = _machine(
        None,
        "Steps between checkpoints; default: those of --evaluation_steps.",
        1,
        _MOST_STEPS,
        of_the_experiment=False,
    )
    jit_compile: str = _machine(
        "auto", "Whether XLA compiles the step; auto: on GPUs, not on CPUs.", choices=("auto", "true", "false")
    )
    num_threads: int = _machine(
        0,
        "Threads of the step on the CPU; 0: one a core. Sums of other threads differ in their last bits, so this is of "
        "the experiment.",
        0,
        1024,
    )
    onednn: str = _machine(
        "auto",
        "Whether TensorFlow computes with oneDNN; auto: where a processor has AVX2. Sums differ in their last bits, so "
        "a run goes on with what it began with.",
        choices=("auto", "true", "false"),
        of_the_experiment=False,
    )
    strategy: str = _machine(
        "auto",
        "mirrored: all devices of this machine; multi_worker: those of all machines that TF_CONFIG names; auto: what "
        "there is several of.",
        choices=("auto", "none", "mirrored", "multi_worker"),
        of_the_experiment=False,
    )
    logical_devices: int = _machine(
        0,
        "Splits the CPU into so many devices: to try a strategy without GPUs.",
        0,
        64,
        of_the_experiment=False,
    )
    worker_timeout: float = _machine(
        600.0,
        "Seconds without progress after which a worker of several ends.",
        1.0,
        1e6,
        of_the_experiment=False,
    )

    def __post_init__(self):
        super().__post_init__()
        if self.blocks is not None:
            parts = self.blocks.split(",")
            if not all(is_count(part) and int(part) <= 1000 for part in parts):
                raise UsageError(f"--blocks={self.blocks} must be numbers from 1 to 1,000, such as 4,4,4")

    # As the library takes them ---------------------------------------------------------------------------------

    @property
    def dataset_name(self) -> str:
        """`dataset` without the version that TensorFlow Datasets lets one add, as in `cifar10:3.0.2`."""
        return self.dataset.partition(":")[0]

    @property
    def labels(self) -> int | str:
        """`num_labels` as a number, or `"all"`."""
        return counted(self.num_labels)

    @property
    def labeled(self) -> int | str:
        """`labeled_per_batch` as a number, `"vary"` or `"all"`."""
        return counted(self.labeled_per_batch)

    @property
    def blocks_of_stages(self) -> tuple[int, ...] | None:
        """`blocks` as numbers."""
        return None if self.blocks is None else tuple(int(part) for part in self.blocks.split(","))

    @property
    def steps_between_checkpoints(self) -> int:
        """`checkpoint_steps` or its default."""
        return self.checkpoint_steps or self.evaluation_steps

    # Identity --------------------------------------------------------------------------------------------------

    def identity(self) -> dict:
        """Returns name and value, by name, of what makes the experiment what it is: not where it is run or kept."""
        fields = sorted(dataclasses.fields(self), key=lambda field: field.name)
        values = {field.name: getattr(self, field.name) for field in fields if field.metadata["of_the_experiment"]}
        if self.labels_file is not None:  # Where it lies is no part of the experiment; its content is in the data's.
            values["labels_file"] = os.path.basename(self.labels_file)
        return values

    def fingerprint(self) -> str:
        """Returns a hash of the identity: equal for equal experiments, on any machine."""
        return hashlib.sha256(json.dumps(self.identity()).encode()).hexdigest()[:16]
