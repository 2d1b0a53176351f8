"""What a program can be told: a frozen dataclass whose fields carry their help, bounds, choices and group."""

import dataclasses
import math
import re
import typing
from collections.abc import Sequence
from typing import Any

from keras_mt.experiments.errors import UsageError


def option(
    group: str,
    default: Any,
    help: str,
    low: float | None = None,
    high: float | None = None,
    *,
    choices: Sequence[str] | None = None,
    words: Sequence[str] | None = None,
    of_the_experiment: bool = True,
    path: bool = False,
) -> Any:
    """Returns a field of a dataclass of options.

    Args:
        group: Heading in the help.
        default: Value if none is given.
        help: A sentence that says what it is.
        low: Smallest number that is allowed.
        high: Largest number that is allowed.
        choices: The texts that are allowed.
        words: What is allowed beside a positive whole number, in a text.
        of_the_experiment: Whether another value makes another experiment.
        path: Whether it is the name of a file or folder, which may begin with `~`.
    """
    about = {"group": group, "help": help, "low": low, "high": high, "choices": choices, "words": words, "path": path}
    return dataclasses.field(default=default, metadata={**about, "of_the_experiment": of_the_experiment})


class Options:
    """The base of such dataclasses: each value is checked when one is made.

    Raises:
        UsageError: If a value is not of its field's type, out of bounds or no choice, naming the flag.
    """

    def __post_init__(self):
        for field in dataclasses.fields(self):
            check_value(field, getattr(self, field.name))


def kind_of(field: dataclasses.Field) -> type:
    """Returns `bool`, `int`, `float`, `str`, or `tuple` of a field that may be given several times."""
    origin = typing.get_origin(field.type)
    if origin is tuple:
        return tuple
    kinds = [kind for kind in typing.get_args(field.type) or (field.type,) if kind is not type(None)]
    return kinds[0]


def is_count(text: str) -> bool:
    """Returns whether a text is a positive whole number as it is written: not 050, which would be another text."""
    return re.fullmatch("[1-9][0-9]{0,17}", text) is not None


def counted(value: str) -> int | str:
    """Returns the number that a text of a field with `words` holds, or the word."""
    return int(value) if is_count(value) else value


def check_value(field: dataclasses.Field, value: Any) -> None:
    """Checks a value of a field.

    Raises:
        UsageError: If it is not of the field's type, out of bounds or no choice, naming the flag.
    """
    about, kind, name = field.metadata, kind_of(field), f"--{field.name}={value}"
    if value is None and field.default is None:
        return
    if not (type(value) is kind or (kind is float and type(value) is int)):
        raise UsageError(f"{name} must be of type {kind.__name__}, not {type(value).__name__}")
    if kind is float and not math.isfinite(value):
        raise UsageError(f"{name} must be a finite number")
    if about["low"] is not None and value < about["low"] or about["high"] is not None and value > about["high"]:
        raise UsageError(f"{name} must be {bounds_of(field)}")
    if about["choices"] and value not in about["choices"]:
        raise UsageError(f"{name} must be one of {', '.join(about['choices'])}")
    if about["words"] and value not in about["words"] and not is_count(value):
        raise UsageError(f"{name} must be a positive number, such as 50, or {' or '.join(about['words'])}")
    for text in (value,) if kind is str else value if kind is tuple else ():
        if not text:
            raise UsageError(f"--{field.name}= is empty; leave it out, or give a value")
        if not _is_printable(text):
            raise UsageError(f"--{field.name}={text!r} must be printable text on one line")


def _is_printable(text):
    try:  # A name that the locale can't decode is judged by its bytes.
        return text.encode("utf-8", "surrogateescape").decode("utf-8").isprintable()
    except UnicodeError:
        return False


def bounds_of(field: dataclasses.Field) -> str:
    """Returns which numbers a field allows, in words; empty if there is no bound."""
    low, high = (None if bound is None else f"{bound:,}" for bound in (field.metadata["low"], field.metadata["high"]))
    if low is not None and high is not None:
        return f"from {low} to {high}"
    return f"at least {low}" if low is not None else f"at most {high}" if high is not None else ""
