"""How the programs start and how they fail: one sentence on stderr, status 2 for usage, 1 for the rest."""

import contextlib
import importlib
import os
import signal
import sys
import tempfile
import warnings
from collections.abc import Sequence

from keras_mt.errors import ArgumentError
from keras_mt.experiments import commands, extras, flagging
from keras_mt.experiments.errors import DataError, Interrupted, RunError, UsageError, in_flags
from keras_mt.experiments.running import onednn

_LONGEST = 2000
# With which Keras ends each `fit` and `evaluate` before its end.
_CUT_SHORT = ("KERAS_MAX_EPOCHS", "KERAS_MAX_STEPS_PER_EPOCH")


def main(name: str | None = None, arguments: Sequence[str] | None = None) -> None:
    """Runs a program, and exits if that fails.

    Args:
        name: Which one; by default the first argument says it, as in `keras-mt train --help`.
        arguments: The command line after that; by default this process'.
    """
    _open_what_is_closed()
    _write_utf8()
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
        _take_tensorflow()
        extras.require("experiments")
        prepared = commands.prepared(name, arguments)
        os.environ.update(onednn.environment(commands.PROGRAMS[name].onednn(*prepared)))
        with _warnings_as_sentences():
            _imported(name).main(*prepared)
    except UsageError as error:
        _fail(f"error: {error}", 2)
    except ArgumentError as error:
        _fail(f"error: {in_flags(error, commands.flags_of(name))}", 2)
    except (RunError, DataError) as error:
        _fail(f"error: {in_flags(error, commands.flags_of(name))}", 1)
    except BrokenPipeError:  # Who reads stdout has enough, `head` for example.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Or Python complains when it ends.
        sys.exit(128 + signal.SIGPIPE)
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


def _take_tensorflow():
    """The programs are TensorFlow's, and the same flags are the same experiment, however a user has set up Keras."""
    backend = os.environ.get("KERAS_BACKEND") or "tensorflow"
    if backend != "tensorflow":
        raise UsageError(f"KERAS_BACKEND={backend} in the environment: the programs need tensorflow")
    os.environ["KERAS_BACKEND"] = backend
    for name in _CUT_SHORT:
        if os.environ.get(name):
            raise UsageError(
                f"{name}={os.environ[name]} in the environment cuts training and evaluations short: unset it; "
                "--training_steps is the length of a run"
            )
        os.environ.pop(name, None)
    os.environ["KERAS_NNX_ENABLED"] = "false"  # Is JAX's.
    # No folder can be below it: Keras finds no keras.json with another `floatx` or order of axes, and writes none.
    os.environ["KERAS_HOME"] = os.devnull


def _imported(name):
    """Imports a program, and with it TensorFlow, only when it is needed: that takes seconds.

    What TensorFlow says meanwhile, of processors and of drivers that are not there, would stand before the program's
    first word; TF_CPP_MIN_LOG_LEVEL=0 shows it.
    """
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL") in ("0", "1"):
        return importlib.import_module(f"keras_mt.experiments.{name}")
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            return importlib.import_module(f"keras_mt.experiments.{name}")
        except Exception:  # But not Ctrl-C, which explains itself.
            said.seek(0)
            os.write(stderr, said.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


@contextlib.contextmanager
def _warnings_as_sentences():
    """Shows what the library warns of as the programs' own warnings are: once, and without lines of code."""
    shown = set()
    with warnings.catch_warnings():
        as_usual = warnings.showwarning

        def show(message, category, *place, **more):
            if not issubclass(category, UserWarning):
                as_usual(message, category, *place, **more)
            elif str(message) not in shown:
                shown.add(str(message))
                print(f"warning: {message}", file=sys.stderr)

        warnings.showwarning = show
        yield


def _open_what_is_closed():
    """After `>&-` say, or the next file that is opened would be what the program writes to."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # Takes the lowest number that is free.
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - to the end of the process.


def _write_utf8():
    """Writes UTF-8 whatever the locale; names of files that are none as the bytes that they are."""
    for stream, errors in ((sys.stdout, "surrogateescape"), (sys.stderr, "backslashreplace")):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors=errors)


def _fail(sentence, status):
    sentence = " ".join(sentence.split())
    if len(sentence) > _LONGEST:  # It quotes something that is no name.
        sentence = f"{sentence[: _LONGEST // 2]} ... {sentence[-_LONGEST // 2 :]}"
    print(sentence, file=sys.stderr, flush=True)
    sys.exit(status)
