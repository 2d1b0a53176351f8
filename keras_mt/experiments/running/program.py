"""How the programs start and how they fail: one sentence on stderr, 2 for usage, 1 for the rest."""

import sys
from collections.abc import Callable
from pathlib import Path

from absl import flags

from keras_mt.errors import ArgumentError
from keras_mt.experiments.errors import DataError, Interrupted, RunError, UsageError, in_flags

_pictures = []


def pictures() -> list[str]:
    """Returns what followed the flags on the command line."""
    return _pictures


def run(main: Callable[[], None], takes_pictures: bool = False) -> None:
    """Parses the flags of the command line, runs `main`, and exits if that fails.

    Args:
        main: The program.
        takes_pictures: Whether names of pictures may follow the flags.
    """
    if {"-h", "--help", "--helpfull"} & set(sys.argv):
        own, of_experiments = (
            flags.FLAGS.main_module_help(),
            flags.FLAGS.module_help("keras_mt.experiments.running.settings"),
        )
        print(sys.modules["__main__"].__doc__, own, of_experiments, sep="\n")
        print("\n  --flagfile: File of such flags, one a line; those after it on the command line win.")
        return
    try:
        _check_flagfiles(sys.argv[1:], ())
        rest = flags.FLAGS(sys.argv)
        if takes_pictures:
            _pictures.extend(rest[1:])
        elif len(rest) > 1:
            raise UsageError(f"unexpected argument {rest[1]!r}; settings are given as --flag=value")
        main()
    except (flags.Error, UsageError) as error:
        _fail(f"error: {error}", 2)
    except ArgumentError as error:
        _fail(f"error: {in_flags(error, flags.FLAGS)}", 2)
    except (RunError, DataError) as error:
        _fail(f"error: {in_flags(error, flags.FLAGS)}", 1)
    except OSError as error:
        if error.filename is None and error.strerror is None:
            raise
        _fail(f"error: {error.filename or 'file system'}: {error.strerror or error}", 1)
    except Interrupted as error:
        _fail(str(error), error.status)
    except KeyboardInterrupt:
        _fail("interrupted; the same command starts or continues the run", 130)


def _check_flagfiles(arguments, opened):
    """Refuses flagfiles that can't be read or include themselves: absl ignores the latter and goes on."""
    arguments = [argument.strip() for argument in arguments]
    following = [*arguments, ""][1:]
    for argument, next_one in zip(arguments, following, strict=True):
        name, given, value = argument.partition("=")
        if name not in ("--flagfile", "-flagfile"):
            continue
        path = Path(value if given else next_one).expanduser().resolve()
        if path in opened:
            raise UsageError(f"--flagfile={path} includes itself, through {' and '.join(map(str, opened))}")
        try:
            lines = path.read_text().splitlines()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "no text"
            raise UsageError(f"--flagfile={path} can't be read ({reason}); a file of flags is needed") from error
        _check_flagfiles(lines, (*opened, path))


def _fail(sentence, status):
    print(" ".join(sentence.split()), file=sys.stderr, flush=True)
    sys.exit(status)
