"""What the evaluations CSV of a run says; TensorFlow is not needed to read it."""

import csv
import io
import math
from pathlib import Path

from keras_mt.experiments.reading import DamagedFileError, in_words, read_text

# By what their columns begin with; the second average is not in every run.
NETWORKS = ("student", "teacher", "average")
_NEEDED = ("step", "student_error", "teacher_error")
_REMEDY = "put back what it was, or remove it to lose its rows"


def errors_in_words(row: dict) -> str:
    """Returns the error of each network in a row, such as `student 5.00 %, teacher 4.00 %`."""
    named = [(network, f"{network}_error") for network in NETWORKS]
    return ", ".join(f"{network} {row[name]:.2f} %" for network, name in named if name in row)


def read_rows(path: Path) -> list[dict]:
    """Reads an evaluations CSV; no rows where there is no file.

    Raises:
        RunError: If the file is damaged, naming the row.
    """
    if not path.exists():
        return []
    text = read_text(path)
    if text and not text.endswith("\n"):
        _refuse(path, len(text.splitlines()), "it was cut off")
    rows = []
    try:
        lines = list(csv.reader(io.StringIO(text), strict=True))
    except csv.Error as error:
        raise DamagedFileError(f"{path} is damaged: no CSV ({error}); {_REMEDY}") from error
    header = lines[0] if lines else []
    missing = [name for name in _NEEDED if name not in header]
    if missing:
        _refuse(path, 1, f"column {missing[0]} is missing")
    if len(set(header)) != len(header):
        _refuse(path, 1, "a column is there twice")
    for number, cells in enumerate(lines[1:], 2):
        if len(cells) != len(header):
            _refuse(path, number, f"it has {len(cells)} of {len(header)} columns")
        row = {name: _number(path, number, name, cell) for name, cell in zip(header, cells, strict=True) if cell}
        for name in _NEEDED:
            if name not in row:
                _refuse(path, number, f"{name} is empty")
        if rows and row["step"] <= rows[-1]["step"]:
            _refuse(path, number, f"step {row['step']} comes after step {rows[-1]['step']}")
        rows.append(row)
    return rows


def _number(path, number, name, cell):
    try:
        cell.encode("ascii")  # Python takes the digits of all scripts.
        value = int(cell) if name == "step" else float(cell)
    except ValueError:
        _refuse(path, number, f"{name} is {in_words(cell)}; a number is needed")
    if name == "step":
        good, allowed = value > 0, "a number above 0"
    elif name.endswith("_error"):
        good, allowed = 0 <= value <= 100, "a number from 0 to 100"
    else:
        good, allowed = not math.isnan(value), "a number"
    if not good:
        _refuse(path, number, f"{name} is {cell}; {allowed} is needed")
    return value


def _refuse(path, line, reason):
    raise DamagedFileError(f"{path} is damaged: line {line}: {reason}; {_REMEDY}")
