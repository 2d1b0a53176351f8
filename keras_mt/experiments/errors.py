"""What the programs tell a user in one sentence; `cli` turns each into an exit status."""

import re
import signal
from collections.abc import Container

from keras_mt.errors import ArgumentError


class UsageError(Exception):
    """What was asked for can't be done as it was asked. Status 2."""


class RunError(Exception):
    """The run can't begin or go on. Status 1."""


class DataError(Exception):
    """Data that are missing or damaged. Status 1.

    Its text is one sentence that names arguments in backticks, as those of an `ArgumentError` are: status 2.
    """


def in_flags(error: Exception, flags: Container[str]) -> str:
    """Returns what an error says of arguments in the words of the command line: `--num_labels=13 must be ...`.

    Args:
        error: Any exception.
        flags: Names of the flags; an argument that is none of them is left as it is.
    """
    text = str(error)
    if isinstance(error, ArgumentError) and error.argument in flags:
        after = "" if error.reason.startswith(",") else " "
        text = f"--{error.argument}={error.value}{after}{error.reason}"
    return re.sub(r"`(\w+)((?:=[^`]*)?)`", lambda m: f"--{m[1]}{m[2]}" if m[1] in flags else m[0], text)


class Interrupted(Exception):
    """The run was told to end and is saved. Status 128 plus the signal.

    Args:
        number: The signal.
        step: The step that was saved.
    """

    def __init__(self, number: int, step: int):
        super().__init__(
            f"{signal.Signals(number).name} received: step {step} is finished and saved; the same command continues "
            "from it"
        )
        self.status = 128 + number
