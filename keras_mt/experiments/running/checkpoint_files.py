"""The checkpoints of a run on disk: what each says that it is of, and which of them is read.

Every program that reads one does so through `read_newest`, with the same checks, warnings and refusals.
"""

import dataclasses
import itertools
import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import tensorflow as tf

from keras_mt.experiments.errors import RunError
from keras_mt.experiments.reading import COUNT, STEP, TEXT, TEXTS, DamagedFileError, Kind, optional, read_json

_FORMAT = 4
_RECORD = "experiment.json"
_NEEDED = {"dataset", "method", "seed"}
_FIELDS = {
    "step": COUNT,
    "last_step": STEP,
    "flags": Kind("a table of the run's flags", lambda value: isinstance(value, dict) and set(value) >= _NEEDED),
    # A run that was begun before `content` and `evaluation` were recorded goes on without them.
    "data": {"fingerprint": TEXT, "class_names": TEXTS, "content": optional(TEXT), "evaluation": optional(TEXT)},
}
_DETAILS = {"content": "the training images", "evaluation": "the images to evaluate on"}
_NAMED = 10  # Classes.


@dataclasses.dataclass(frozen=True)
class Identity:
    """What a run is.

    Attributes:
        flags: Names and values of the flags of the experiment.
        class_names: Name of each class of its data.
        data: Fingerprint of its training data; None where they are not at hand.
        last_step: The step it ends at; None where the data are not at hand.
        details: Of its data, see `ImageData`; empty where they are not at hand.
    """

    flags: dict
    class_names: tuple[str, ...]
    data: str | None = None
    last_step: int | None = None
    details: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Found:
    """What was read.

    Attributes:
        step: Of the checkpoint; 0 if there was none.
        damaged: Folders of newer ones that can't be read.
    """

    step: int
    damaged: tuple[Path, ...] = ()


def steps_in(folder: Path) -> list[int]:
    """Returns the steps of all checkpoints in a folder, oldest first."""
    names = [path.name for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []
    return sorted(int(name.removeprefix("step-")) for name in names if re.fullmatch(r"step-[1-9][0-9]{0,17}", name))


def write_record(folder: Path, step: int, identity: Identity) -> None:
    """Writes beside the state of a checkpoint what it is of."""
    data = {"fingerprint": identity.data, "class_names": list(identity.class_names), **identity.details}
    content = {"format": _FORMAT, "step": step, "last_step": identity.last_step, "flags": identity.flags, "data": data}
    (folder / _RECORD).write_text(json.dumps(content), encoding="utf-8")


def read_newest(
    folder: Path, identity: Identity, variables: Mapping[str, Sequence[tf.Variable]], *, all_of_it: bool = True
) -> Found:
    """Reads the newest checkpoint that is whole into variables. Changes nothing on disk.

    Of each damaged one that is newer a warning tells which is used instead.

    Args:
        folder: Where the checkpoints are.
        identity: What they must be of.
        variables: What is read, by the name of its part.
        all_of_it: Whether these are all parts that a checkpoint holds.

    Raises:
        RunError: If there are checkpoints and none can be read, or the newest is of something else.
    """
    damaged = []
    for step in reversed(steps_in(folder)):
        path = folder / f"step-{step}"
        try:
            _check_record(path, step, identity)
            _read_state(path, step, variables, all_of_it)
        except DamagedFileError as error:
            damaged.append((path, str(error).removeprefix(f"{path / _RECORD} is damaged: ")))
            continue
        for lost, reason in damaged:
            print(f"warning: checkpoint {lost} is damaged ({reason}); {path} is used instead", file=sys.stderr)
        return Found(step, tuple(lost for lost, _ in damaged))
    if damaged:
        names = ", ".join(f"{path} ({reason})" for path, reason in damaged)
        raise RunError(f"none of the checkpoints can be read: {names}; put back a copy, or name another --run_dir")
    return Found(0)


def put_aside(path: Path) -> None:
    """Renames a damaged checkpoint to `step-N.damaged`, or `step-N.damaged-2` and so on."""
    for number in itertools.count(1):
        aside = path.with_name(f"{path.name}.damaged" + (f"-{number}" if number > 1 else ""))
        if not aside.exists():
            path.rename(aside)
            return


def _check_record(path, step, identity):
    record = read_json(path / _RECORD, {"format": Kind("a whole number", lambda value: type(value) is int)})
    if record["format"] != _FORMAT:
        raise RunError(f"checkpoint {path} has format {record['format']}; this version reads format {_FORMAT}")
    record = read_json(path / _RECORD, _FIELDS)
    for name, value in identity.flags.items():
        there = record["flags"].get(name, value)
        if str(there) != str(value):  # A flag may have become a number in a later version.
            raise RunError(f"checkpoint {path} is of another experiment: --{name}={there} there, --{name}={value} here")
    if not 0 < record["step"] == step <= record["last_step"]:
        raise DamagedFileError(
            f"it records step {record['step']} of {record['last_step']}, its folder is named after step {step}"
        )
    there, here = tuple(record["data"]["class_names"]), identity.class_names
    if there != here:
        raise RunError(
            f"the data have {_listed(here)} and checkpoint {path} was trained on {_listed(there)}; give it the data "
            "it was trained on, or name another --run_dir"
        )
    if identity.data is not None and record["data"]["fingerprint"] != identity.data:
        raise RunError(
            f"the training data are not those of checkpoint {path}: {record['data']['fingerprint']} there, "
            f"{identity.data} here; give it the same examples and labels, or name another --run_dir"
        )
    for name, here in identity.details.items():
        there = record["data"].get(name, here)
        if there != here:
            raise RunError(
                f"{_DETAILS[name]} are not those of checkpoint {path}: {there} there, {here} here; give it the same "
                "images and labels, or name another --run_dir"
            )
    if identity.last_step is not None and record["last_step"] != identity.last_step:
        raise RunError(
            f"checkpoint {path} is of a run of {record['last_step']} steps, not of {identity.last_step}; name another "
            "--run_dir"
        )


def _listed(names):
    more = ", ..." if len(names) > _NAMED else ""
    return f"{len(names)} classes ({', '.join(names[:_NAMED])}{more})"


def _read_state(path, step, variables, all_of_it):
    state = str(path / "state")
    try:
        reader = tf.train.load_checkpoint(state)
        shapes = reader.get_variable_to_shape_map()
        seen = int(reader.get_tensor(_key("batches_seen", 0)))
    except Exception as error:  # TensorFlow raises many kinds for damaged files, down to `IndexError`.
        raise DamagedFileError(type(error).__name__) from error
    if seen != step:
        raise DamagedFileError(f"its state is that of step {seen}")
    wanted = {_key(name, n): v.shape for name, group in variables.items() for n, v in enumerate(group)}
    other = [key for key, shape in wanted.items() if key not in shapes or not shape.is_compatible_with(shapes[key])]
    if other:
        name = "/".join(other[0].split("/")[:2])
        raise RunError(
            f"checkpoint {path} was written by another version: {name} has the shape {shapes.get(other[0])} there, "
            f"{list(wanted[other[0]])} here; continue it with the version that wrote it, or name another --run_dir"
        )
    try:
        reading = tf.train.Checkpoint(**{name: list(group) for name, group in variables.items()}).read(state)
        if all_of_it:
            reading.assert_consumed()
        else:
            reading.assert_existing_objects_matched().expect_partial()
    except Exception as error:
        raise DamagedFileError(type(error).__name__) from error


def _key(name, number):
    return f"{name}/{number}/.ATTRIBUTES/VARIABLE_VALUE"
