"""The command line: flags are defined from the fields of options, parsed into them, and written as a flagfile."""

import dataclasses
import itertools
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags

from keras_mt.experiments.errors import UsageError
from keras_mt.experiments.options import Options, bounds_of, kind_of
from keras_mt.experiments.reading import DamagedFileError, native, read_text

_HELP = ("-h", "-help", "--help", "--helpfull")


@dataclasses.dataclass(frozen=True)
class CommandLine:
    """What a command line says.

    Attributes:
        options: One of each class of options, in the order of the classes.
        given: Names of the flags that are given at all.
        typed: Names of those that are on the command line itself, not in a flagfile.
        rest: What is no flag.
    """

    options: tuple[Any, ...]
    given: frozenset[str]
    typed: frozenset[str]
    rest: tuple[str, ...]


def arguments_of_process() -> list[str]:
    """Returns the arguments this process was started with."""
    return sys.argv[1:]


def asks_for_help(arguments: Sequence[str]) -> bool:
    """Returns whether a command line asks for help; what follows `--` are names of files."""
    flags_alone = itertools.takewhile(lambda argument: argument != "--", arguments)
    return not set(_HELP).isdisjoint(flags_alone)


def parse(classes: Sequence[type[Options]], arguments: Sequence[str]) -> CommandLine:
    """Parses a command line.

    A later flag wins over an earlier one; `--flagfile=FILE` stands for the flags of a file, one a line.

    Args:
        classes: Dataclasses of options whose fields are the flags.
        arguments: The command line without the program.

    Raises:
        UsageError: If it can't be parsed, naming the flag.
    """
    values = flags.FlagValues()
    for options in classes:
        for field in dataclasses.fields(options):
            _define(field, values)
    values.set_gnu_getopt(True)
    arguments = list(arguments)
    expanded = _without_flagfiles(arguments, ())
    _check_values(expanded, values)
    try:
        _, *rest = values(["", *expanded])
    except (flags.Error, ValueError) as error:
        fields = {field.name: field for options in classes for field in dataclasses.fields(options)}
        raise UsageError(_in_words(str(error), fields)) from error
    parsed = tuple(
        options(**{field.name: _value(field, values[field.name].value) for field in dataclasses.fields(options)})
        for options in classes
    )
    names = (argument.lstrip("-").partition("=")[0] for argument in arguments if argument.startswith("-"))
    typed = {name if name in values or not name.startswith("no") else name[2:] for name in names}
    given = {field.name for options in classes for field in dataclasses.fields(options) if values[field.name].present}
    return CommandLine(parsed, frozenset(given), frozenset(typed), tuple(rest))


def as_arguments(values: Mapping[str, Any]) -> list[str]:
    """Returns values of options as arguments, each of which can be a line of a flagfile."""
    arguments = []
    for name, value in values.items():
        if isinstance(value, bool):
            arguments.append(f"--{name}" if value else f"--no{name}")
        elif value is not None:
            arguments.append(f"--{name}={value}")
    return arguments


def as_flagfile(options: Options, without: Iterable[str] = ()) -> list[str]:
    """Returns the lines of a flagfile that holds options, sorted by name."""
    names = sorted({field.name for field in dataclasses.fields(options)} - set(without))
    return as_arguments({name: getattr(options, name) for name in names})


def help_text(classes: Sequence[type[Options]]) -> str:
    """Returns the help of all flags by their groups, in the order of the fields."""
    width = max(40, shutil.get_terminal_size((120, 24)).columns)
    lines, group = [], None
    for field in (field for options in classes for field in dataclasses.fields(options)):
        if field.metadata["group"] != group:
            group = field.metadata["group"]
            lines += ["", f"{group}:"]
        lines += textwrap.wrap(
            _sentence(field), width, initial_indent="  ", subsequent_indent="      ", break_on_hyphens=False
        )
    files = "--flagfile: File of such flags, one a line; flags after it win over those in it."
    lines += ["", *textwrap.wrap(files, width, initial_indent="  ", subsequent_indent="      ")]
    return "\n".join(lines)


def _sentence(field):
    name, about = field.name, field.metadata
    if kind_of(field) is bool:
        return f"--[no]{name}: {about['help']} (default: {'' if field.default else 'no'}{name})"
    allowed = "|".join(about["choices"]) if about["choices"] else bounds_of(field)
    default = "" if field.default in (None, ()) else f"default: {field.default}"
    notes = "; ".join(note for note in (allowed, default) if note)
    return f"--{name}: {about['help']}" + (f" ({notes})" if notes else "")


def _define(field, values):
    kind, about, name = kind_of(field), field.metadata, field.name
    common = {"flag_values": values}
    if kind is bool:
        flags.DEFINE_bool(name, field.default, about["help"], **common)
    elif kind is int:
        flags.DEFINE_integer(name, field.default, about["help"], about["low"], about["high"], **common)
    elif kind is float:
        flags.DEFINE_float(name, field.default, about["help"], about["low"], about["high"], **common)
    elif kind is tuple:
        flags.DEFINE_multi_string(name, list(field.default), about["help"], **common)
    elif about["choices"]:
        flags.DEFINE_enum(name, field.default, about["choices"], about["help"], **common)
    else:
        flags.DEFINE_string(name, field.default, about["help"], **common)


def _in_words(text, fields):
    """What absl says of a value, with what is allowed instead of how it was converted."""
    found = re.match(
        r"flag --(\w+)=(.*?): (?=invalid literal|could not convert|\('Non-boolean|int too|Exceeds)", text, re.DOTALL
    )
    if not found or found[1] not in fields:
        return text.removeprefix("flag ") if text.startswith("flag --") else text
    name, value = found.groups()
    kind = {int: "a whole number", float: "a number", bool: "true or false"}[kind_of(fields[name])]
    return f"--{name}={value} must be {' '.join(part for part in (kind, bounds_of(fields[name])) if part)}"


def _value(field, value):
    if kind_of(field) is tuple:
        return tuple(_expanded(field, text) for text in value)
    return value if value == field.default else _expanded(field, value)


def _expanded(field, text):
    """A value, with the user's folder for `~` if it is a path: the shell leaves `--run_dir=~/x` as it is."""
    if not field.metadata["path"]:
        return text
    path = os.path.expanduser(text)
    if path.startswith("~"):
        user = text[1:].partition("/")[0]
        raise UsageError(f"--{field.name}={text}: there is no user {user!r}; a folder that is called so is ./{text}")
    return path


def _check_values(arguments, values):
    """Checks that no flag that lacks its value takes the next flag for one."""
    remaining = iter(arguments)
    for argument in remaining:
        if argument == "--":
            return
        name, given, _ = argument.lstrip("-").partition("=")
        if not argument.startswith("-"):
            continue
        if name == "undefok":  # absl's own: it would have any mistyped flag do nothing.
            raise UsageError("--undefok is no flag; a flag that is not known is refused")
        if not given and name in values and not values[name].boolean:
            value = next(remaining, "")
            _check_value(name, value, values)


def _check_value(name, value, known=()):
    """Refuses a flag as the value of another one; a value that looks like one can be given behind `=`."""
    if value.startswith("--") or (value.startswith("-") and value[1:].partition("=")[0] in known):
        raise UsageError(f"--{name} lacks its value: {value} follows it; give --{name}=VALUE")


def _without_flagfiles(arguments, opened):
    """The arguments with those of flagfiles in their place.

    absl goes on where a file includes itself, and reads files in the encoding of the locale.
    """
    expanded, remaining = [], iter(arguments)
    for argument in remaining:
        if argument == "--":
            return [*expanded, argument, *remaining]
        name, given, value = argument.partition("=")
        if name not in ("--flagfile", "-flagfile"):
            expanded.append(argument)
            continue
        if not given:
            value = next(remaining, "")
            _check_value("flagfile", value)
        # Those of pathlib raise errors of many kinds: a user without a home, links in a circle.
        file = Path(os.path.expanduser(value))
        path = Path(os.path.realpath(file))
        if path in opened:
            raise UsageError(f"--flagfile={path} includes itself, through {' and '.join(map(str, opened))}")
        try:
            lines = [native(line.strip()) for line in read_text(file).splitlines()]  # A pipe has no path.
        except DamagedFileError as error:
            raise UsageError(f"--flagfile={error}; a file of flags is needed") from error
        lines = [line for line in lines if line and not line.startswith(("#", "//"))]
        expanded += _without_flagfiles(lines, (*opened, path))
    return expanded
