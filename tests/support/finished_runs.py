"""Folders as finished runs leave them, with errors of our choice: for tests of reports."""

import json

from keras_mt.experiments.reporting.published import TABLES
from keras_mt.experiments.reporting.published_settings import settings_of
from keras_mt.experiments.reporting.runs import read_runs

ROW = "step,student_error,teacher_error,student_classification_cost,teacher_classification_cost\n"
BASE = {
    "dataset": "svhn_cropped", "num_labels": "250", "num_extra_unlabeled": 0, "architecture": "convnet13",
    "phase": "test", "translate": 2, "flip": False, "method": "mean_teacher", "width": 1.0, "precision": "float32",
    "seed": 0, "data_seed": 0, "ema_decay_during_rampup": 0.99, "ema_decay_after_rampup": 0.999, "student_dropout": 0.5,
    "teacher_dropout": 0.5, "max_consistency_weight": 1.0, "batch_size": 100,
}  # fmt: skip


def write_run(root, name, student, teacher, step=180_000, data="the original .mat files", top5=None, **flags):
    """A folder as a finished run leaves it, with errors of our choice."""
    folder = root / name
    folder.mkdir(parents=True)
    seed = flags.get("seed", 0)
    flags = {**BASE, **_published({**BASE, **flags}), **flags}
    content = {
        "step": step, "student": {"error": student}, "teacher": {"error": teacher}, "data": data,
        "flags": {**flags, "data_seed": seed},
    }  # fmt: skip
    if top5 is not None:
        content["teacher"]["top5_error"] = top5
    (folder / "results.json").write_text(json.dumps(content))
    (folder / "flags.cfg").write_text("")
    rows = [
        f"{step // 2},{min(2 * student, 100)},{min(2 * teacher, 100)},1.0,0.9",
        f"{step},{student},{teacher},0.5,0.4",
    ]
    (folder / "evaluations.csv").write_text(ROW + "\n".join(rows) + "\n")
    return folder


def _published(flags):
    """What the published experiment of the same place sets."""
    for table in TABLES:
        if place := table.place_of(flags):
            found = settings_of(flags["architecture"], flags["dataset"], place[0], str(flags["num_labels"])) or {}
            return {name: value for name, value in found.items() if name not in table.where}
    return {}


def read(root):
    return read_runs([str(root)])[0]
