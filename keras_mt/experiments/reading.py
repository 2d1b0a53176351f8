"""Files that somebody may have changed, cut off or sent: read as what they should be, or refused in a sentence."""

import dataclasses
import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from keras_mt.experiments.errors import RunError

_LARGEST = 64 * 2**20


class DamagedFileError(RunError):
    """A file is not what it should be: its sentence names the file, the field, what was found and what is allowed."""


@dataclasses.dataclass(frozen=True)
class Kind:
    """What a field of a file may be.

    Attributes:
        allowed: It in words.
        holds: Whether a value is of this kind.
        optional: Whether the field may be missing.
    """

    allowed: str
    holds: Callable[[Any], bool]
    optional: bool = False


def _is_number(value):
    return type(value) in (int, float) and math.isfinite(value)


TEXT = Kind("text on one line", lambda value: isinstance(value, str) and value.isprintable())
NUMBER = Kind("a finite number", _is_number)
COUNT = Kind("a whole number of at least 0", lambda value: type(value) is int and value >= 0)
STEP = Kind("a whole number of at least 1", lambda value: type(value) is int and value >= 1)
SECONDS = Kind("a number of at least 0", lambda value: _is_number(value) and value >= 0)
PERCENT = Kind("a number from 0 to 100", lambda value: _is_number(value) and 0 <= value <= 100)
TABLE = Kind("a table", lambda value: isinstance(value, dict))
TEXTS = Kind("a list of texts", lambda value: isinstance(value, list) and all(map(TEXT.holds, value)))
TABLE_OF_TEXTS = Kind(
    "a table of texts", lambda value: isinstance(value, dict) and all(map(TEXT.holds, [*value, *value.values()]))
)

Fields = Mapping[str, "Kind | Fields"]


def optional(kind: Kind) -> Kind:
    """Returns a kind whose field may be missing."""
    return dataclasses.replace(kind, optional=True)


def read_text(path: Path) -> str:
    """Returns a file's text in UTF-8, whatever the locale, without a byte-order mark.

    Raises:
        DamagedFileError: If it can't be read as that, or is larger than 64 MB.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(_LARGEST + 1)  # Its size is not asked for: that of a device is 0, and it may never end.
        if len(content) > _LARGEST:
            raise DamagedFileError(f"{path} can't be read (larger than {_LARGEST >> 20} MB)")
        return content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise DamagedFileError(f"{path} can't be read (no text: byte {error.start} is no UTF-8)") from error
    except OSError as error:
        raise DamagedFileError(f"{path} can't be read ({error.strerror or error})") from error


def read_json(path: Path, fields: Fields) -> dict:
    """Returns the content of a JSON file after checking its fields; others may be there as well.

    Args:
        path: The file.
        fields: What it must hold, by name, nested as it is.

    Raises:
        DamagedFileError: If it holds something else, naming the field.
    """
    text = read_text(path)
    try:
        content = json.loads(text, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise DamagedFileError(f"{path} is damaged: it is nested too deeply") from error
    except ValueError as error:
        raise DamagedFileError(f"{path} is damaged: no JSON ({error})") from error
    check_fields(path, content, fields)
    return content


def check_fields(path: Path | str, content: Any, fields: Fields, place: str = "") -> None:
    """Checks what a file holds, or an environment variable.

    Raises:
        DamagedFileError: Naming the first field that is not as it should be.
    """
    if not isinstance(content, dict):
        raise DamagedFileError(f"{path} is damaged: {place or 'it'} is {in_words(content)}; a table is needed")
    for name, kind in fields.items():
        full = f"{place}.{name}" if place else name
        if name not in content:
            if isinstance(kind, Kind) and kind.optional:
                continue
            raise DamagedFileError(f"{path} is damaged: {full} is missing")
        if isinstance(kind, Mapping):
            check_fields(path, content[name], kind, full)
        elif not kind.holds(content[name]):
            raise DamagedFileError(f"{path} is damaged: {full} is {in_words(content[name])}; {kind.allowed} is needed")


def in_words(value: Any) -> str:
    """Returns a short text of any value."""
    if isinstance(value, (dict, list)):
        return f"a {'table' if isinstance(value, dict) else 'list'} of {len(value)}"
    text = ascii(value) if isinstance(value, str) and not value.isprintable() else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def native(text: str) -> str:
    """Returns text from a UTF-8 file as this process names files by it, whatever the locale."""
    return os.fsdecode(text.encode("utf-8", "surrogateescape"))


def _refuse_constant(name):
    raise ValueError(f"{name} is no number of JSON")
