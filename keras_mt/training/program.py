"""How the programs start and how they fail: one sentence on stderr, 2 for usage, 1 for the rest."""

import sys
from collections.abc import Callable

from absl import flags

from keras_mt.data.errors import DataError, DataRequestError


class UsageError(Exception):
    """What was asked for can't be done as it was asked."""


class RunError(Exception):
    """The run can't begin or go on."""


def run(main: Callable[[], None], argv: list[str] | None = None) -> None:
    """Parses the flags, runs `main`, and exits."""
    argv = sys.argv if argv is None else argv
    if {"-h", "--help", "--helpfull"} & set(argv):
        print(sys.modules["__main__"].__doc__, flags.FLAGS.module_help("keras_mt.training.settings"), sep="\n")
        print("\n  --flagfile: File of such flags, one a line; those after it on the command line win.")
        return
    try:
        rest = flags.FLAGS(argv)
        if len(rest) > 1:
            raise UsageError(f"unexpected argument {rest[1]!r}; settings are given as --flag=value")
        main()
    except (flags.Error, UsageError, DataRequestError) as error:
        _fail(error, 2)
    except (RunError, DataError) as error:
        _fail(error, 1)
    except OSError as error:
        if error.filename is None and error.strerror is None:
            raise
        _fail(f"{error.filename or 'file system'}: {error.strerror or error}", 1)
    except KeyboardInterrupt:
        _fail("interrupted", 130)


def _fail(error, status):
    text = " ".join(str(error).split())
    print(f"error: {text}", file=sys.stderr, flush=True)
    sys.exit(status)
