"""Which runs form an ablation: one thing varies, all else is the same."""

import dataclasses

from keras_mt.experiments.reporting.runs import SEEDS, Run

# What varies together, as one value: name, flags, and how their values read.
_TOGETHER = (
    ("EMA decay", ("ema_decay_during_rampup", "ema_decay_after_rampup"), " → "),
    ("dropout, student / teacher", ("student_dropout", "teacher_dropout"), " / "),
    ("augmentation", ("translate", "flip"), ", "),
)
_NAMES = {
    "max_consistency_weight": "consistency weight",
    "consistency_trust": "trust: MSE (0) to KL (1)",
    "logit_distance_weight": "weight of the logit distance",
    "input_noise": "input noise",
    "translate": "translation, pixels",
    "num_labels": "labels",
    "rampup_steps": "ramp-up, steps",
}
_NO_ABLATION = ("dataset", "num_labels", "num_extra_unlabeled", "phase", "method", "training_steps", "training_epochs")
_DATA = ("dataset", "num_labels")  # Between two of these everything may differ, which would say nothing.
_FEWEST_VALUES = 2


@dataclasses.dataclass(frozen=True)
class Ablation:
    """Runs in which one thing varies.

    Attributes:
        varied: What varies.
        setting: What else distinguishes these runs from those of other ablations; may be empty.
        errors: Errors in percent of the runs, by value, values in ascending order.
    """

    varied: str
    setting: str
    errors: dict[str, list[float]]


def find_ablations(runs: list[Run]) -> list[Ablation]:
    """Returns all sets of runs that differ in one thing only (and their seeds), with two values or more.

    Data, labels, method and length are what tables are about, and no ablation.
    """
    readings = [(run, _reading(run.flags)) for run in runs]
    several = len({tuple(text for text, _ in _data(reading)) for _, reading in readings}) > 1
    names = sorted({name for _, reading in readings for name in reading} - {*_NO_ABLATION, *SEEDS})
    found = []
    for name in names:
        families = {}
        for run, reading in readings:
            rest = tuple(sorted((key, text) for key, (text, _) in reading.items() if key not in (name, *SEEDS)))
            text, order = reading.get(name, ("none", ()))
            families.setdefault(rest, {}).setdefault((order, text), []).append(run.error())
        families = {rest: values for rest, values in families.items() if len(values) >= _FEWEST_VALUES}
        for rest, values in families.items():
            data = _data(dict(rest))
            setting = [f"{data[0]}, {data[1]} labels"] if several else []
            same = [dict(other) for other in families if other != rest and _data(dict(other)) == data]
            setting += [
                f"{_NAMES.get(key, key)} {text}" for key, text in rest if any(other.get(key) != text for other in same)
            ]
            errors = {text: values[order, text] for order, text in sorted(values)}
            found.append(Ablation(_NAMES.get(name, name), ", ".join(setting), errors))
    return found


def _data(reading):
    return [reading[part] for part in _DATA]


def _reading(flags):
    """Flags as texts, with a key to sort by, those that vary together as one."""
    reading = {name: _value(value) for name, value in flags.items()}
    for name, together, between in _TOGETHER:
        if all(part in reading for part in together):
            parts = [reading.pop(part) for part in together]
            same = len({text for text, _ in parts}) == 1
            text = parts[0][0] if same else between.join(text for text, _ in parts)
            reading[name] = (text, (not same, *(order for _, order in parts)))
    return reading


def _value(value):
    if isinstance(value, bool) or value is None:
        return ("on" if value else "off" if value is not None else "none"), (0, float(bool(value)), "")
    if isinstance(value, (int, float)):
        return f"{value:g}", (0, float(value), "")
    return str(value), (1, 0.0, str(value))
