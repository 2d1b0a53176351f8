"""Published errors (Tarvainen & Valpola 2017; Verma et al. 2019; TorchSSL 2021), and the runs beside them."""

import dataclasses
from collections.abc import Iterable

METHODS = {
    "supervised": "Supervised only",
    "pi": "Π model",
    "temporal_ensembling": "Temporal ensembling",
    "mean_teacher": "Mean Teacher",
    "vat": "Virtual adversarial training",
    "fixmatch": "FixMatch",  # Published figures only: here a teacher gives the target.
}
# What a method is called by beside its name: flag, the value at which it does nothing, and the words.
_PARTS = (
    ("mixing", "none", {"interpolation": "interpolation", "cutmix": "CutMix"}),
    ("strong_augmentation", "none", {"erasing": "erased views", "randaugment": "strong views"}),
    ("confidence_threshold", 0.0, "confidence"),
    ("uncertainty_passes", 0, "certainty"),
    ("perturbation_epsilon", 0.0, "adversarial perturbation"),
    ("class_balance", 0.0, "class balance"),
)
_ALL = "all"


def method_of(flags: dict) -> str:
    """Returns what a run's method is, such as `mean_teacher` or `mean_teacher, interpolation`; see `name_of`."""
    parts = [flags["method"]]
    for flag, nothing, words in _PARTS:
        value = flags.get(flag, nothing)
        if value != nothing and not (flags["method"] == "vat" and flag == "perturbation_epsilon"):
            parts.append(words if isinstance(words, str) else words[value])
    return ", ".join(parts)


def name_of(method: str) -> str:
    """Returns the name of a method in tables and figures."""
    base, *parts = method.split(", ")
    return ", ".join([METHODS[base], *parts])


def in_order(methods: Iterable[str]) -> list[str]:
    """Returns methods in the order of tables and figures."""
    return sorted(set(methods), key=lambda method: (list(METHODS).index(method.split(", ")[0]), method))


@dataclasses.dataclass(frozen=True)
class Table:
    """A published table of test errors in percent.

    Attributes:
        title: Its heading.
        where: Names and values of the flags that all runs of this table have.
        columns: The headings of its columns, by what `column_flag` of a run is.
        column_flag: The flag that the columns vary.
        figures: Published figures by method and column.
        steps: The published length of a run in optimizer steps, by (method, column).
        note: A remark on its figures; may be empty.
        error: Name of its error: `error` or `top5_error`.
        batch_sizes: The published number of images in a batch, by method.
    """

    title: str
    where: dict
    columns: dict[str, str]
    column_flag: str
    figures: dict[str, dict[str, str]]
    steps: dict[tuple[str, str], int]
    note: str = ""
    error: str = "error"
    batch_sizes: dict[str, int] = dataclasses.field(default_factory=lambda: dict.fromkeys(METHODS, 100))

    def place_of(self, flags: dict) -> tuple[str, str] | None:
        """Returns `(method, column)` of a run, or None if it is not of this table."""
        if any(flags.get(name) != value for name, value in self.where.items()):
            return None
        method, column = method_of(flags), str(flags[self.column_flag])
        known = column in self.columns and (not self.figures or method in self.figures)
        return (method, column) if known else None


def _steps(columns, mean_teacher, supervised):
    steps = {("supervised", column): supervised[column] for column in columns}
    for method in ("pi", "temporal_ensembling", "mean_teacher"):
        steps |= {(method, column): mean_teacher for column in columns}
    return steps


@dataclasses.dataclass(frozen=True)
class Curve:
    """A published curve: errors in percent over the unlabeled images that were seen, repeats counted.

    Attributes:
        name: What it is, for a legend.
        source: Where it is published.
        views: How many unlabeled images had been seen.
        teacher: Error of the averaged weights at these.
        student: Error of the student.
        supervised: Error of supervised training at its end.
    """

    name: str
    source: str
    views: tuple[int, ...]
    teacher: tuple[float, ...]
    student: tuple[float, ...]
    supervised: float


# By the name of the data set.
CURVES = {
    "cifar10": Curve(
        "published, 4,000 labels, full width",
        "result logs of the repository iBelieveCJM/Tricks-of-Semi-supervisedDeepLeanring-Pytorch, one seed",
        tuple(100 * step for step in (500, 1_000, 2_000, 3_000, 5_000, 6_500, 10_000, 20_000, 50_000, 200_000)),
        (32.6, 29.6, 25.5, 23.0, 21.0, 20.3, 18.5, 15.9, 14.3, 9.7),
        (53.2, 38.2, 26.2, 23.1, 22.8, 21.9, 23.3, 19.4, 17.4, 9.8),
        20.3,
    )
}

_CONVNET = {"architecture": "convnet13", "phase": "test"}
_SVHN = {"250": "250 labels", "500": "500 labels", "1000": "1,000 labels", _ALL: "all 73,257 labels"}
_CIFAR10 = {"1000": "1,000 labels", "2000": "2,000 labels", "4000": "4,000 labels", _ALL: "all 50,000 labels"}
_LAINE_AILA = "The published figures of temporal ensembling are Laine & Aila's (2017), with settings of their own."
_SVHN_STEPS = _steps(_SVHN, 180_000, {"250": 40_000, "500": 40_000, "1000": 40_000, _ALL: 180_000})
_CIFAR10_STEPS = _steps(_CIFAR10, 150_000, {"1000": 7_500, "2000": 15_000, "4000": 30_000, _ALL: 150_000})
_WIDE = {"architecture": "wide_resnet28", "phase": "test"}
_TORCHSSL = "Published by TorchSSL: the best evaluation of each run. Runs here report the last one."


def _wide(title, dataset, columns, teacher, pi, supervised):
    return Table(
        title,
        {**_WIDE, "dataset": dataset, "num_extra_unlabeled": 0},
        {column: f"{column} labels" for column in columns} | {_ALL: "all labels"},
        "num_labels",
        {
            "mean_teacher": dict(zip(columns, teacher, strict=True)),
            "pi": dict(zip(columns, pi, strict=True)),
            "supervised": {_ALL: supervised},
        },
        {(method, column): 2**20 for method in METHODS for column in (*columns, _ALL)},
        _TORCHSSL,
        batch_sizes={"supervised": 64, "pi": 128, "mean_teacher": 128},
    )


def _views(title, dataset, columns, fixmatch):
    """Weak and strong views; a method without published figures is there for the runs."""
    method = "mean_teacher, strong views, confidence"
    return Table(
        title,
        {**_WIDE, "dataset": dataset, "num_extra_unlabeled": 0},
        {column: f"{column} labels" for column in columns},
        "num_labels",
        {"fixmatch": fixmatch, method: {}},
        {(of, column): 2**20 for of in ("fixmatch", method) for column in columns},
        "FixMatch's targets are the student's own; here they are the teacher's. " + _TORCHSSL,
        batch_sizes={method: 512},
    )


def _mixed(title, dataset, translate, flip, columns, interpolation):
    methods = ("mean_teacher, interpolation", "mean_teacher, CutMix, confidence")
    return Table(
        title,
        {**_CONVNET, "dataset": dataset, "translate": translate, "flip": flip, "num_extra_unlabeled": 0},
        columns,
        "num_labels",
        {methods[0]: interpolation, methods[1]: {}},
        {(of, column): 200_000 for of in methods for column in columns},
        "",
        batch_sizes=dict.fromkeys(methods, 200),
    )


TABLES = (
    Table(
        "SVHN, 13-layer ConvNet (Tarvainen & Valpola 2017, table 1)",
        {**_CONVNET, "dataset": "svhn_cropped", "translate": 2, "num_extra_unlabeled": 0},
        _SVHN,
        "num_labels",
        {
            "supervised": {"250": "27.77 ± 3.18", "500": "16.88 ± 1.30", "1000": "12.32 ± 0.95", _ALL: "2.75 ± 0.10"},
            "pi": {"250": "9.69 ± 0.92", "500": "6.83 ± 0.66", "1000": "4.95 ± 0.26", _ALL: "2.50 ± 0.07"},
            "temporal_ensembling": {"500": "5.12 ± 0.13", "1000": "4.42 ± 0.16", _ALL: "2.74 ± 0.06"},
            "mean_teacher": {"250": "4.35 ± 0.50", "500": "4.18 ± 0.27", "1000": "3.95 ± 0.19", _ALL: "2.50 ± 0.05"},
        },
        _SVHN_STEPS,
        _LAINE_AILA,
    ),
    Table(
        "SVHN without augmentation, 13-layer ConvNet",
        {**_CONVNET, "dataset": "svhn_cropped", "translate": 0, "num_extra_unlabeled": 0},
        _SVHN,
        "num_labels",
        {},
        _SVHN_STEPS,
    ),
    Table(
        "CIFAR-10, 13-layer ConvNet (Tarvainen & Valpola 2017, table 2)",
        {**_CONVNET, "dataset": "cifar10", "translate": 2, "flip": True},
        _CIFAR10,
        "num_labels",
        {
            "supervised": {
                "1000": "46.43 ± 1.21", "2000": "33.94 ± 0.73", "4000": "20.66 ± 0.57", _ALL: "5.82 ± 0.15"
            },
            "pi": {"1000": "27.36 ± 1.20", "2000": "18.02 ± 0.60", "4000": "13.20 ± 0.27", _ALL: "6.06 ± 0.11"},
            "temporal_ensembling": {"4000": "12.16 ± 0.31", _ALL: "5.60 ± 0.10"},
            "mean_teacher": {
                "1000": "21.55 ± 1.48", "2000": "15.73 ± 0.31", "4000": "12.31 ± 0.28", _ALL: "5.94 ± 0.15"
            },
        },
        _CIFAR10_STEPS,
        _LAINE_AILA,
    ),
    Table(
        "CIFAR-10 without augmentation, 13-layer ConvNet",
        {**_CONVNET, "dataset": "cifar10", "translate": 0, "flip": False},
        _CIFAR10,
        "num_labels",
        {},
        _CIFAR10_STEPS,
    ),
    Table(
        "SVHN, 500 labels and extra unlabeled images (Tarvainen & Valpola 2017, table 3)",
        {**_CONVNET, "dataset": "svhn_cropped", "translate": 2, "num_labels": "500"},
        {"0": "73,257 images", "100000": "173,257 images", "500000": "573,257 images"},
        "num_extra_unlabeled",
        {
            "pi": {"0": "6.83 ± 0.66", "100000": "4.49 ± 0.27", "500000": "3.26 ± 0.14"},
            "mean_teacher": {"0": "4.18 ± 0.27", "100000": "3.02 ± 0.16", "500000": "2.46 ± 0.06"},
        },
        {
            (method, extra): steps
            for method in METHODS
            for extra, steps in (("0", 180_000), ("100000", 400_000), ("500000", 600_000))
        },
    ),
    Table(
        "CIFAR-10, Shake-Shake 26 2×96d (Tarvainen & Valpola 2017, table 4 and appendix)",
        {"architecture": "shake_shake26", "phase": "test", "dataset": "cifar10"},
        {"1000": "1,000 labels", "4000": "4,000 labels"},
        "num_labels",
        {"mean_teacher": {"1000": "10.08 ± 0.41", "4000": "6.28 ± 0.15"}},
        {("mean_teacher", "1000"): 22_732, ("mean_teacher", "4000"): 35_567},
        batch_sizes={"mean_teacher": 512},
    ),
    Table(
        "ImageNet, ResNeXt-152 32×4d, top-5 validation error (Tarvainen & Valpola 2017, table 4)",
        {"architecture": "resnext152", "phase": "test", "dataset": "imagenet2012"},
        {"128000": "10 % of the labels"},
        "num_labels",
        {"mean_teacher": {"128000": "9.11 ± 0.12"}},
        {("mean_teacher", "128000"): 345_950},
        error="top5_error",
        batch_sizes={"mean_teacher": 400},
    ),
    _wide(
        "CIFAR-10, Wide-ResNet-28-2",
        "cifar10",
        ("40", "250", "4000"),
        ("70.09 ± 1.60", "37.46 ± 3.30", "8.10 ± 0.21"),
        ("74.34 ± 1.76", "46.24 ± 1.29", "13.13 ± 0.59"),
        "4.62 ± 0.05",
    ),
    _wide(
        "SVHN, Wide-ResNet-28-2",
        "svhn_cropped",
        ("40", "250", "1000"),
        ("36.09 ± 3.98", "3.45 ± 0.03", "3.27 ± 0.05"),
        ("67.48 ± 0.95", "13.30 ± 1.12", "7.16 ± 0.11"),
        "2.14 ± 0.01",
    ),
    _mixed(
        "CIFAR-10, 13-layer ConvNet, mixed images (Verma et al. 2019)",
        "cifar10",
        2,
        True,
        {column: heading for column, heading in _CIFAR10.items() if column != _ALL},
        {"1000": "15.48", "2000": "9.26", "4000": "7.29"},
    ),
    _mixed(
        "SVHN, 13-layer ConvNet, mixed images",
        "svhn_cropped",
        2,
        False,
        {column: heading for column, heading in _SVHN.items() if column != _ALL},
        {},
    ),
    _views(
        "CIFAR-10, Wide-ResNet-28-2, weak and strong views", "cifar10", ("250", "4000"), {"250": "4.9", "4000": "4.2"}
    ),
    _views("SVHN, Wide-ResNet-28-2, weak and strong views", "svhn_cropped", ("250", "1000"), {}),
)  # fmt: skip
