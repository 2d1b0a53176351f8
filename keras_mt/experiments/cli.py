"""How the programs start and how they fail: one sentence on stderr, status 2 for usage, 1 for the rest."""

import importlib
import sys
from collections.abc import Sequence

from keras_mt.errors import ArgumentError
from keras_mt.experiments import commands, extras, flagging
from keras_mt.experiments.errors import DataError, Interrupted, RunError, UsageError, in_flags


def main(name: str | None = None, arguments: Sequence[str] | None = None) -> None:
    """Runs a program, and exits if that fails.

    Args:
        name: Which one; by default the first argument says it, as in `keras-mt train --help`.
        arguments: The command line after that; by default this process'.
    """
    try:
        arguments = list(flagging.arguments_of_process() if arguments is None else arguments)
        if name is None:
            if not arguments or flagging.asks_for_help(arguments[:1]):
                print(_overview())
                return
            name = arguments.pop(0)
            if name not in commands.PROGRAMS:
                raise UsageError(f"{name!r} is no program; there are {', '.join(commands.PROGRAMS)}")
        if flagging.asks_for_help(arguments):
            print(commands.help_of(name))
            return
        extras.require("experiments")
        prepared = commands.prepared(name, arguments)
        # Only now: it imports TensorFlow, which takes seconds.
        importlib.import_module(f"keras_mt.experiments.{name}").main(*prepared)
    except UsageError as error:
        _fail(f"error: {error}", 2)
    except ArgumentError as error:
        _fail(f"error: {in_flags(error, commands.flags_of(name))}", 2)
    except (RunError, DataError) as error:
        _fail(f"error: {in_flags(error, commands.flags_of(name))}", 1)
    except OSError as error:
        if error.filename is None and error.strerror is None:
            raise
        _fail(f"error: {error.filename or 'file system'}: {error.strerror or error}", 1)
    except Interrupted as error:
        _fail(str(error), error.status)
    except KeyboardInterrupt:
        _fail("interrupted; the same command starts or continues the run", 130)


def _overview():
    lines = [f"  {name:<9} {program.summary.splitlines()[0]}" for name, program in commands.PROGRAMS.items()]
    return "\n".join(["keras-mt PROGRAM --flag=value ...; keras-mt PROGRAM --help lists its flags.", "", *lines])


def _fail(sentence, status):
    print(" ".join(sentence.split()), file=sys.stderr, flush=True)
    sys.exit(status)
