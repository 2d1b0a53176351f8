"""results.json: what came of a run, read as what `train` wrote."""

import dataclasses
from pathlib import Path

from keras_mt.experiments.config import Config
from keras_mt.experiments.errors import UsageError
from keras_mt.experiments.options import check_value
from keras_mt.experiments.reading import (
    PERCENT,
    SECONDS,
    STEP,
    TABLE,
    TABLE_OF_TEXTS,
    TEXT,
    DamagedFileError,
    check_fields,
    in_words,
    optional,
    read_json,
)

_ERRORS = {"error": PERCENT, "top5_error": optional(PERCENT)}
_FIELDS = {
    "step": STEP,
    "student": _ERRORS,
    "teacher": _ERRORS,
    "average": optional(TABLE),
    "flags": TABLE,
    "data": optional(TEXT),
    "versions": optional(TABLE_OF_TEXTS),
    "machine": optional(TABLE_OF_TEXTS),
    "seconds_per_step": optional(SECONDS),
    "chance": optional(TABLE),
}
_CHANCE = {"error": PERCENT, "images": STEP}
# Flags without which a result can't be told from others.
_NEEDED = ("dataset", "phase", "num_labels", "method", "width", "batch_size", "precision", "seed", "data_seed")


def published_network(method: str, has_average: bool) -> str:
    """Returns the network whose error is a run's.

    Args:
        method: The method.
        has_average: Whether there is a second average, which predicts.
    """
    return "average" if has_average else "teacher" if method == "mean_teacher" else "student"


def read_results(path: Path) -> dict:
    """Returns the results of a run.

    Raises:
        DamagedFileError: If the file is not as `train` writes it, naming the field.
    """
    results = read_json(path, _FIELDS)
    if "chance" in results:
        check_fields(path, results["chance"], _CHANCE, "chance")
    if "average" in results:
        check_fields(path, results["average"], _ERRORS, "average")
    flags = results["flags"]
    for name in _NEEDED:
        if name not in flags:
            raise DamagedFileError(f"{path} is damaged: flags.{name} is missing")
    for name, value in flags.items():
        if not (value is None or isinstance(value, (int, float)) or TEXT.holds(value)):
            raise DamagedFileError(
                f"{path} is damaged: flags.{name} is {in_words(value)}; text, a number, true or false is needed"
            )
    for field in dataclasses.fields(Config):
        value = flags.get(field.name, field.default)
        if field.metadata["words"] and type(value) is int:  # As earlier versions wrote it.
            value = str(value)
        try:
            check_value(field, value)
        except UsageError as error:
            raise DamagedFileError(f"{path} is damaged: flags: {error}") from error
    return results


def results_of(path: Path, wanted: dict) -> dict | None:
    """Returns the results of an experiment; None if the file is missing, damaged or another experiment's.

    Args:
        path: The file.
        wanted: The experiment's `Config.identity()`. A flag that an earlier version did not know is no difference.
    """
    if not path.exists():
        return None
    try:
        results = read_results(path)
    except DamagedFileError:
        return None
    there = results["flags"]
    return results if all(there.get(name, value) == value for name, value in wanted.items()) else None
